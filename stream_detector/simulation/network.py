"""Network connections with planted attacks, as records with the fields of KDD Cup 1999.

Beside the 41 fields and ``label`` (``normal`` or the attack's name) an event has what the public
data lack: ``timestamp``, ``src_host`` and ``dst_host``. The statistics over recent connections
are computed from the stream itself, so a flood raises them as a real one does.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.random import Generator

from stream_detector.simulation.connection_statistics import (
    LOOK_BACK_CONNECTIONS,
    LOOK_BACK_MS,
    STATISTICS,
    connection_statistics,
)
from stream_detector.simulation.connections import (
    CONTENT_FIELDS,
    FLAGS,
    HOST_NAMES,
    KINDS,
    MEAN_EVENTS,
    REJECTIONS,
    ROW,
    SERVICES,
    SYN_ERRORS,
    Rows,
    attack_rows,
    normal_rows,
)
from stream_detector.simulation.traffic import DAY_MS, NO_ATTACK, Attack, Generated, Traffic, clock

START_MS = 1_704_067_200_000
"""2024-01-01."""

CONNECTIONS_PER_SECOND = 20.0
"""Mean over a day of the normal traffic."""

WINDOW_MS = 600_000
_QUIET_SHARE_OF_FIRST_WINDOW = 0.2

_FROM_ROWS = ("duration", "src_bytes", "dst_bytes", *CONTENT_FIELDS)
_ALWAYS_ZERO = ("land", "urgent", "num_outbound_cmds", "is_host_login")
# The order of the fields is that of KDD Cup 1999, in which other tools expect them.
_BEFORE_STATISTICS = (
    *("duration", "protocol_type", "service", "flag", "src_bytes", "dst_bytes", "land"),
    *("wrong_fragment", "urgent", "hot", "num_failed_logins", "logged_in", "num_compromised"),
    *("root_shell", "su_attempted", "num_root", "num_file_creations", "num_shells"),
    *("num_access_files", "num_outbound_cmds", "is_host_login", "is_guest_login"),
)
_TEXTS = {"timestamp", "src_host", "dst_host", "protocol_type", "service", "flag", "label"}
FIELDS = ("timestamp", "src_host", "dst_host", *_BEFORE_STATISTICS, *STATISTICS, "label")
_SLOTS = {name: '"%s"' if name in _TEXTS else "%s" for name in FIELDS}
_HUNDREDTHS = [f"{number / 100:.2f}" for number in range(101)]


def generate(
    count: int | None,
    seed: int = 0,
    start_ms: int = START_MS,
    *,
    connections_per_second: float = CONNECTIONS_PER_SECOND,
    attack_share: float = 0.02,
) -> Traffic:
    """Connections in the order of their time, a batch for each ten minutes.

    Args:
        count: events in all; None goes on for ever.
        seed: the same seed and parameters give the same bytes.
        start_ms: milliseconds since 1970 UTC, rounded down to ten minutes.
        connections_per_second: mean over a day of the normal traffic, which is three times as
            dense at noon as at midnight.
        attack_share: share of the events that are planted, over the long run; a flood makes up a
            good part of its minute. The first two minutes have none.
    """
    attacks: list[Attack] = []
    start_ms -= start_ms % WINDOW_MS
    batches = _windows(seed, start_ms, connections_per_second, attack_share, attacks)
    return Traffic(batches, attacks, count)


def _windows(
    seed: int,
    start_ms: int,
    connections_per_second: float,
    attack_share: float,
    attacks: list[Attack],
) -> Iterator[Generated]:
    planted = np.empty(0, dtype=ROW)  # of attacks that go on, at most some minutes' worth
    before = np.empty(0, dtype=ROW)  # what the statistics of the next window look back on
    mean_events = connections_per_second * WINDOW_MS / 1000
    for number in range(10**12):
        random = np.random.default_rng([seed, 2, number])
        window_ms = start_ms + number * WINDOW_MS
        begun = [planted]
        for _ in range(random.poisson(attack_share * mean_events / MEAN_EVENTS)):
            earliest = _QUIET_SHARE_OF_FIRST_WINDOW if number == 0 else 0.0
            begin_ms = window_ms + int(random.uniform(earliest, 1) * WINDOW_MS)
            begun.append(_plant(random, begin_ms, attacks))
        planted = np.concatenate(begun)
        due = planted["time"] < window_ms + WINDOW_MS
        normal = _normal(random, window_ms, mean_events)
        rows = np.concatenate([normal, planted[due]])
        planted = planted[~due]
        rows = rows[np.argsort(rows["time"], kind="stable")]
        if not len(rows):
            continue
        context = np.concatenate([before, rows])
        yield _batch(context, len(before), attacks)
        recent = int(np.searchsorted(context["time"], context["time"][-1] - LOOK_BACK_MS))
        before = context[max(0, min(recent, len(context) - LOOK_BACK_CONNECTIONS)) :]


def _plant(random: Generator, begin_ms: int, attacks: list[Attack]) -> Rows:
    shares = [kind.share for kind in KINDS.values()]
    kind = str(random.choice(list(KINDS), p=shares))
    rows, entity = attack_rows(random, kind, begin_ms)
    rows["attack"] = len(attacks)
    span = int(rows["time"][0]), int(rows["time"][-1])
    attacks.append(Attack(len(attacks), kind, entity, *span, len(rows)))
    return rows


def _normal(random: Generator, window_ms: int, mean_events: float) -> Rows:
    of_day = 2 * np.pi * (window_ms % DAY_MS) / DAY_MS
    # The gamma factor makes some windows busier than their hour.
    mean = mean_events * (1 - 0.5 * np.cos(of_day)) * random.gamma(30, 1 / 30)
    times = window_ms + np.sort(random.integers(0, WINDOW_MS, random.poisson(mean)))
    return normal_rows(random, times)


def _batch(context: Rows, skip: int, attacks: list[Attack]) -> Generated:
    """Events of ``context`` after the first ``skip``, which are there to be looked back on."""
    statistics = connection_statistics(
        context["time"],
        context["source"],
        context["destination"],
        context["service"],
        SYN_ERRORS[context["flag"]],
        REJECTIONS[context["flag"]],
    )
    rows = context[skip:]
    service = rows["service"].tolist()
    source = [HOST_NAMES[host] for host in rows["source"].tolist()]
    attack = rows["attack"].tolist()
    nothing = [0] * len(rows)
    columns: dict[str, Any] = {
        "timestamp": _timestamps(rows),
        "src_host": source,
        "dst_host": [HOST_NAMES[host] for host in rows["destination"].tolist()],
        "protocol_type": [SERVICES[index].protocol for index in service],
        "service": [SERVICES[index].name for index in service],
        "flag": [FLAGS[index] for index in rows["flag"].tolist()],
        "label": ["normal" if a == NO_ATTACK else attacks[a].kind for a in attack],
        **dict.fromkeys(_ALWAYS_ZERO, nothing),
    }
    for name in _FROM_ROWS:
        columns[name] = rows[name].tolist()
    for name, values in statistics.items():
        listed = values[skip:].tolist()
        columns[name] = (
            [_HUNDREDTHS[value] for value in listed] if name.endswith("_rate") else listed
        )
    return Generated(
        slots=_SLOTS,
        columns=columns,
        time_ms=rows["time"].copy(),
        label=(rows["attack"] != NO_ATTACK).astype(np.int8),
        attack=rows["attack"].copy(),
        key=[name.encode() for name in source],
    )


def _timestamps(rows: Rows) -> list[str]:
    # A window of ten minutes lies within one day.
    date = datetime.fromtimestamp(int(rows["time"][0]) / 1000, UTC).date().isoformat()
    of_day = (rows["time"] % DAY_MS).tolist()
    times = clock()
    return [f"{date}T{times[ms // 1000]}.{ms % 1000:03d}Z" for ms in of_day]
