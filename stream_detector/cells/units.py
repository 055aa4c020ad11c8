"""Money and units around the numbers of a column: which there are, and the numbers without them."""

from __future__ import annotations

import re
from collections import Counter

from stream_detector.cells.numbers import CURRENCIES

_FAMILIES: tuple[tuple[bool, dict[str, float]], ...] = (
    (False, {"%": 1}),
    (False, {"‰": 1}),
    (True, {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}),
    (False, {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}),
    (False, {"thousand": 1e3, "million": 1e6, "billion": 1e9}),
    (False, {"Tsd.": 1e3, "Mio": 1e6, "Mio.": 1e6, "Mrd": 1e9, "Mrd.": 1e9}),
    (True, {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}),
    (True, {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}),
    (True, {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}),
    (False, {"bytes": 1, "byte": 1, "Bytes": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}),
    (True, {"bps": 1, "kbps": 1e3, "Kbps": 1e3, "Mbps": 1e6, "Gbps": 1e9}),
    (True, {"bit/s": 1, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9}),
    (True, {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600}),
    (True, {"ns": 1e-9, "us": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}),
    (False, {"msec": 1e-3, "sec": 1, "secs": 1, "mins": 60, "hrs": 3600}),
    (
        False,
        {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "day": 86400, "hour": 3600},
    ),
    (False, {"s": 1, "m": 60, "h": 3600, "d": 86400}),
    (False, {"W": 1, "kW": 1e3, "MW": 1e6, "GW": 1e9}),
    (False, {"Wh": 1, "kWh": 1e3, "MWh": 1e6, "GWh": 1e9}),
    (False, {"mV": 1e-3, "V": 1, "kV": 1e3}),
    (False, {"µA": 1e-6, "mA": 1e-3, "A": 1, "kA": 1e3}),
    (False, {"Hz": 1, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}),
    (False, {"mm": 1e-3, "cm": 1e-2, "m": 1, "km": 1e3}),
    (False, {"mg": 1e-3, "g": 1, "kg": 1e3}),
    (False, {"ml": 1e-3, "l": 1, "L": 1}),
    (False, {"Pa": 1, "hPa": 1e2, "mbar": 1e2, "kPa": 1e3, "bar": 1e5}),
)
"""Units that occur together in a column, with their sizes; and whether one of them makes the others
likely to come: a slow answer is written in seconds where all others are in milliseconds."""

_ALONE = frozenset(
    (
        *("°C", "°F", "°", "℃", "psi", "PSI", "rpm", "RPM", "bpm", "ppm", "ppb", "dB", "dBm"),
        *("lx", "mph", "km/h", "kph", "m/s", "m³/h", "m3/h", "l/min", "mmHg", "mg/dL", "mmol/L"),
        *("µg/m³", "kg/m³", "lb", "lbs", "oz", "in", "ft", "yd", "mi", "gal", "px", "pcs", "Nm"),
        *("pkts", "packets", "items", "req/s", "VA", "kVA", "kJ", "Ω", "B/s", "kB/s", "KB/s"),
        *("MB/s", "pkt/s", "1/min", "/min", "/s", "yrs", "years"),
    )
)
"""Units that are dropped where the whole column has the same one."""

_ENOUGH = 3
_COMMON = 0.05
_BOUND = re.compile(r"(?P<sign><=|>=|[<>≤≥~≈]) ?(?=[\d.,+-])")
_TAIL = re.compile(
    r"(?P<body>[-+.,\d][\d.,' _-]*?(?:[eE][+-]?\d+)?)\s*"
    r"(?P<unit>[^\d\s.,()+'_-][^\d()]{0,14}|m[³3]/h)"
)


def without_units(
    cells: list[str],
) -> tuple[list[str], tuple[tuple[str, float], ...], list[str]]:
    """The cells without money, units and brackets; the units; what to say about them."""
    money: Counter[str] = Counter()
    tails: Counter[str] = Counter()
    bodies = []
    bounds: Counter[str] = Counter()
    for cell in cells:
        body = cell
        if (bound := _BOUND.match(body)) is not None:
            bounds[bound["sign"]] += 1
            body = body[bound.end() :]
        if body[:1] == "(" and body[-1:] == ")":
            body = "-" + body[1:-1].strip()
        body = _without_money(body, money)
        found = _TAIL.fullmatch(body)
        if found is not None and any(map(str.isdigit, found["body"])):
            tails[found["unit"].strip()] += 1
            bodies.append((found["body"].strip(), found["unit"].strip(), body))
        else:
            bodies.append((body, "", body))
    units, notes = _units_of(tails, cells)
    if not units and len(tails) > 1:  # a few cells of another kind say nothing of the rest
        often = Counter({word: n for word, n in tails.items() if n >= _COMMON * len(cells)})
        units, notes = _units_of(often, cells)
    known = {word for word, _ in units}
    plain = [body if not unit or unit in known else whole for body, unit, whole in bodies]
    plain = [_front_sign(body) for body in plain]
    if bounds:
        units += tuple((sign, 1.0) for sign in sorted(bounds))
        shown = ", ".join(sorted(bounds))
        notes.append(f"bounds ({shown} in {bounds.total():,} cells) are read as the number itself")
    if len(money) > 1:
        shown = ", ".join(sorted(money))
        notes.append(f"amounts in several currencies ({shown}) are read as plain numbers")
    return plain, units, notes


def _without_money(body: str, money: Counter[str]) -> str:
    sign = ""
    if body[:1] in ("-", "+") and not body[1:2].isdigit():
        sign, body = body[0], body[1:].lstrip()
    for word in _MONEY:
        before = body.startswith(word)
        if not before and not body.endswith(word):
            continue
        rest = body[len(word) :].lstrip() if before else body[: -len(word)].rstrip()
        if rest and (rest[0] if before else rest[-1]) in "0123456789.,-+":
            money[word] += 1
            return sign + rest
    return sign + body


_MONEY = sorted(CURRENCIES, key=lambda word: -len(word))


def _front_sign(body: str) -> str:
    return "-" + body[:-1].rstrip() if body[-1:] == "-" and body[:1].isdigit() else body


def _units_of(
    tails: Counter[str], cells: list[str]
) -> tuple[tuple[tuple[str, float], ...], list[str]]:
    if not tails:
        return (), []
    found, count = set(tails), len(cells)
    share = tails.total() / count
    some = "" if tails.total() == count else f" in {tails.total():,} of {count:,} cells"
    for whole, family in _FAMILIES:
        if found <= family.keys() and (whole or len(found) > 1 or share < 1):
            kept = family if whole else {word: family[word] for word in sorted(found)}
            shown = ", ".join(f"'1 {word}' as {family[word]:g}" for word in sorted(found))
            said = f"units are read{some}: {shown}"
            return tuple(kept.items()), [said]
    if len(found) == 1:
        (word,) = found
        known = word in _ALONE or any(word in family for _, family in _FAMILIES)
        # A word of one's own, behind a blank in every cell, is a unit too.
        if known or (
            share == 1 and count >= _ENOUGH and all(c.endswith(" " + word) for c in cells)
        ):
            return ((word, 1.0),), [f"the unit {word!r} is dropped{some}"]
    return (), []
