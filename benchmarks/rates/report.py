"""The tables of docs/monitors.md, made of the results and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.blocks import with_blocks

from .departures import KINDS, PLANTS
from .measure import ELSEWHERE, REPORTED, title

PAGE = Path(__file__).resolve().parents[2] / "docs" / "monitors.md"
Record = dict[str, Any]
COMPARED = ("ours", "ours-calendar", "prophet", "seasonal-z", "forest", "forest-grade", "z")
KIND_TITLES = {
    "silence": "silent 3 h",
    "half": "half for 8 h",
    "double": "doubled 3 h",
    "leak": "a quarter less for 5 days",
    "night": "12 at night",
}


def of(results: dict[str, Any], method: str, draws: Sequence[int]) -> list[Record]:
    """The records of a method on all of these draws; none where one is not measured."""
    found = {r["draw"]: r for r in results.get("records", []) if r["method"] == method}
    return [found[draw] for draw in draws] if all(draw in found for draw in draws) else []


def spread(values: Sequence[float]) -> str:
    """The median, and from where to where."""
    middle = f"{float(np.median(values)):g}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):g} to {max(values):g})"


def comparison(results: dict[str, Any], draws: Sequence[int] = REPORTED) -> str:
    """Found of all plants, by method and budget; a row for each that is measured on all draws."""
    heads = ("1 false", ".25 false", "1 false, holidays spared", ".25 false, holidays spared")
    lines = [f"| found of {PLANTS}, median of {len(draws)} draws | " + " | ".join(heads) + " |"]
    lines.append("|---" * (len(heads) + 1) + "|")
    for method in COMPARED:
        if not (records := of(results, method, draws)):
            continue
        cells = [
            spread([record[calendar][budget]["found"] for record in records])
            for calendar in ("plain", "calendar")
            for budget in ("1", "0.25")
        ]
        lines.append(f"| {title(method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def kinds(results: dict[str, Any], budget: str, draws: Sequence[int] = REPORTED) -> str:
    """Found of each kind over all draws, and the median of the hours that it took."""
    names = dict.fromkeys(KINDS)
    heads = [
        f"{KIND_TITLES[kind]}, of {KINDS.count(kind) * len(draws) * PLANTS // len(KINDS)}"
        for kind in names
    ]
    lines = [f"| at {budget.lstrip('0')} false | " + " | ".join(heads) + " |"]
    lines.append("|---" * (len(heads) + 1) + "|")
    for method in COMPARED:
        if not (records := of(results, method, draws)):
            continue
        cells = []
        for kind in names:
            found = sum(record["plain"][budget]["kinds"][kind] for record in records)
            hours = [
                record["plain"][budget]["hours"][kind]
                for record in records
                if kind in record["plain"][budget]["hours"]
            ]
            after = f" after {np.median(hours):.1f} h" if hours else ""
            cells.append(f"{found}{after}")
        lines.append(f"| {title(method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ours(results: dict[str, Any]) -> str:
    """What a user gets who sets no threshold by hand, and the doublings of ``side: high``."""
    made = []
    if records := of(results, "ours-high", REPORTED):
        found = [record["plain"]["1"]["kinds"]["double"] for record in records]
        made.append(f"- Doubled, with `side: high`, of 9 at 1 false: {spread(found)}.")
    if records := of(results, "ours", REPORTED):
        found = [record["as_it_comes"]["found"] for record in records]
        false = [round(record["as_it_comes"]["false"], 2) for record in records]
        made.append(
            f"- With every alert of `deviations: 3`, whatever they are: {spread(found)} found, "
            f"{spread(false)} false."
        )
    return "\n".join(made) or "Not measured."


def elsewhere(results: dict[str, Any]) -> str:
    """Draws that nobody had looked at, of those methods that were run on them."""
    lines = [f"| draws {', '.join(map(str, ELSEWHERE))} | 1 false | .25 false |", "|---|---|---|"]
    for method in COMPARED:
        if records := of(results, method, ELSEWHERE):
            cells = [
                spread([record["plain"][budget]["found"] for record in records])
                for budget in ("1", "0.25")
            ]
            lines.append(f"| {title(method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Blocks of the page by name."""
    versions = ", ".join(f"{name} {found}" for name, found in results.get("versions", {}).items())
    return {
        "rates": comparison(results),
        "rates-kinds": f"{kinds(results, '1')}\n\n{kinds(results, '0.25')}",
        "rates-ours": ours(results),
        "rates-elsewhere": elsewhere(results),
        "rates-versions": f"{results.get('date', '?')}; {versions}.",
    }


def filled(text: str, results: dict[str, Any]) -> str:
    """The page with every block between its two comments made anew."""
    return with_blocks(text, tables(results))


def write(results: dict[str, Any]) -> None:
    """Put the tables into the page."""
    PAGE.write_text(filled(PAGE.read_text(), results))
