"""The table of docs/security.md, made of the results and of nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.blocks import with_blocks

from .cases import CASES, REPORTED, applies, title
from .detectors import DETECTORS, TITLES
from .streams import Case

PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
Record = dict[str, Any]


def mean(
    records: Iterable[Record], case: Case, detector: str, seeds: Iterable[int]
) -> float | None:
    """Share alerted, over the seeds; None where one of them is not measured."""
    key = (case.stream, case.name, case.planted, detector)
    found = {
        each["seed"]: each["alerted"]
        for each in records
        if (each["stream"], each["attack"], each["planted"], each["detector"]) == key
    }
    wanted = list(seeds)
    if not wanted or any(seed not in found for seed in wanted):
        return None
    return float(np.mean([found[seed] for seed in wanted]))


def number(value: float | None) -> str:
    if value is None:
        return "?"
    text = f"{value:.2f}"
    return text if text.startswith("1") else text[1:]


def table(results: dict[str, Any], stream: str, seeds: Iterable[int] = REPORTED) -> str:
    """For each attack and detector, what is alerted without it, and with it."""
    records, wanted = results.get("records", []), list(seeds)
    head = "| | " + " | ".join(TITLES[name] for name in DETECTORS) + " |"
    lines = [head, "|---" * (len(DETECTORS) + 1) + "|"]
    for case in CASES:
        if case.stream != stream:
            continue
        cells = []
        for detector in DETECTORS:
            if not applies(case, detector):
                cells.append("")
                continue
            before = mean(records, case.without, detector, wanted)
            after = mean(records, case, detector, wanted)
            cells.append(f"{number(before)} → {number(after)}")
        lines.append(f"| {title(case)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Blocks of the page by name."""
    made = {f"attacks-{name}": table(results, name) for name in ("payments", "nsl", "http")}
    seeds = " and ".join(map(str, REPORTED))
    versions = ", ".join(f"{name} {found}" for name, found in results.get("versions", {}).items())
    made["attacks-versions"] = f"{results.get('date', '?')}; seeds {seeds}; {versions}."
    return made


def filled(text: str, results: dict[str, Any]) -> str:
    """The page with every block between its two comments made anew."""
    return with_blocks(text, tables(results))


def write(results: dict[str, Any]) -> None:
    """Put the tables into the page."""
    PAGE.write_text(filled(PAGE.read_text(), results))
