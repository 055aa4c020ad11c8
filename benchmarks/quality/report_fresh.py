"""The tables of the streams that nobody had looked at (``fresh``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import fresh
from .found import Figures, figures, number, title
from .intervals import Interval, paired
from .parts import OURS

ENSEMBLES = tuple(OURS)
NOT_MEASURED = "Not measured in this run."
LOST = 10
"""Streams in the table of losses."""


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Blocks of the page by name."""
    auc, ap = (figures(results, "fresh", kind, "whole") for kind in ("auc", "ap"))
    halves = fresh.halves()
    made = {
        f"fresh-{half.replace(' ', '-')}": against(auc, ap, streams)
        for half, streams in halves.items()
    }
    made["fresh-kinds"] = kinds(auc, ap, halves)
    made["fresh-seeds"] = seeds(auc, ap, halves)
    made["fresh-lost"] = lost(auc)
    made["fresh-streams"] = by_stream(auc, results)
    return made


def against(auc: Figures, ap: Figures, streams: Sequence[str]) -> str:
    """Means of one half, and both ensembles minus each with a bootstrap interval."""
    if not all(
        each in row for name in ENSEMBLES for each in streams for row in [auc.get(name, {})]
    ):
        return NOT_MEASURED
    heads = [f"{name} minus it" for name in ENSEMBLES]
    cells = ["", "ROC AUC", *heads, "average precision", *heads]
    lines = ["| " + " | ".join(cells) + " |", "|---" * len(cells) + "|"]
    for detector in auc:
        whole = all(stream in auc[detector] for stream in streams)
        if not whole or ", seed " in detector:
            continue  # failures() says what is missing, seeds() has the others
        cells = [title(detector)]
        for found in (auc, ap):
            cells.append(number(mean(found[detector], streams)))
            for ours in ENSEMBLES:
                cells.append("" if ours == detector else str(ahead(found, ours, detector, streams)))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def kinds(auc: Figures, ap: Figures, halves: Mapping[str, Sequence[str]]) -> str:
    """Means of each half, of sets without an order and of series apart."""
    groups = {
        f"{half}, {name} ({len(streams)})": streams
        for half, every in halves.items()
        for name, is_series in (("no order", False), ("in time", True))
        if (streams := [stream for stream in every if fresh.ordered(stream) == is_series])
    }
    lines = ["| | " + " | ".join(groups) + " |", "|---" * (len(groups) + 1) + "|"]
    for detector in auc:
        if ", seed " in detector or not all(each in auc[detector] for each in fresh.NAMES):
            continue
        cells = [
            " / ".join(number(mean(found[detector], streams)) for found in (auc, ap))
            for streams in groups.values()
        ]
        lines.append(f"| {title(detector)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else NOT_MEASURED


def mean(row: Mapping[str, float], streams: Sequence[str]) -> float:
    return float(np.mean([row[stream] for stream in streams]))


def ahead(found: Figures, ours: str, theirs: str, streams: Sequence[str]) -> Interval:
    """The mean difference on some streams and its interval."""
    return paired(*([found[name][stream] for stream in streams] for name in (ours, theirs)))


def seeds(auc: Figures, ap: Figures, halves: Mapping[str, Sequence[str]]) -> str:
    """Both ensembles by seed and half, ROC AUC / average precision; then means of the seeds."""
    runs = {
        ours: [name for name in auc if name.partition(", seed ")[0] == ours] for ours in ENSEMBLES
    }
    every = [stream for streams in halves.values() for stream in streams]
    if not all(
        stream in auc[name] for names in runs.values() for name in names for stream in every
    ):
        return NOT_MEASURED
    if not all(runs.values()):
        return NOT_MEASURED
    parts = {**halves, "both": every}
    lines = ["| | " + " | ".join(parts) + " |", "|---" * (len(parts) + 1) + "|"]
    for names in runs.values():
        for name in names:
            cells = [
                " / ".join(number(mean(found[name], streams)) for found in (auc, ap))
                for streams in parts.values()
            ]
            head = name if ", seed " in name else f"{name}, seed 0"
            lines.append(f"| {head} | " + " | ".join(cells) + " |")
    for kind, found in (("ROC AUC", auc), ("average precision", ap)):
        middle = {
            ours: {stream: mean_of_seeds(found, names, stream) for stream in every}
            for ours, names in runs.items()
        }
        cells = [str(ahead(middle, *ENSEMBLES, streams)) for streams in parts.values()]
        lines.append(f"| {kind}, {' minus '.join(ENSEMBLES)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean_of_seeds(found: Figures, names: Sequence[str], stream: str) -> float:
    return float(np.mean([found[name][stream] for name in names]))


def lost(auc: Figures) -> str:
    """Streams where the best of all others leads the adaptive ensemble by most."""
    ours = auc.get(ENSEMBLES[0], {})
    rivals = {name: row for name, row in auc.items() if name.partition(",")[0] not in ENSEMBLES}
    if not rivals or not ours:
        return NOT_MEASURED
    best = {
        stream: max(
            (name for name in rivals if stream in rivals[name]),
            key=lambda name: rivals[name][stream],
        )
        for stream in ours
        if any(stream in row for row in rivals.values())
    }
    gaps = {stream: rivals[name][stream] - ours[stream] for stream, name in best.items()}
    half = {stream: name for name, streams in fresh.halves().items() for stream in streams}
    lines = ["| stream | half | adaptive_ensemble | ensemble | best of the others | lost |"]
    lines.append("|---" * 6 + "|")
    for stream in sorted(gaps, key=gaps.__getitem__, reverse=True)[:LOST]:
        winner = best[stream]
        pair = [number(auc.get(name, {}).get(stream)) for name in ENSEMBLES]
        cells = [short(stream), half[stream], *pair]
        cells += [f"{title(winner)} {number(rivals[winner][stream])}", number(gaps[stream])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_stream(auc: Figures, results: dict[str, Any]) -> str:
    """Every stream with its size and the ROC AUC of every detector, seed 0."""
    detectors = [name for name in auc if ", seed " not in name]
    if not detectors:
        return NOT_MEASURED
    sizes = {
        record["set"]: (record["rows"], record["columns"])
        for record in results["records"]
        if record["part"] == "fresh" and "columns" in record
    }
    heads = ["stream", "rows", "columns", *map(title, detectors)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for half, streams in fresh.halves().items():
        lines.append(f"| *{half}* |" + " |" * (len(heads) - 1))
        for stream in streams:
            rows, columns = sizes.get(stream, (0, 0))
            cells = [short(stream), f"{rows:,}", str(columns)]
            cells += [number(auc[name].get(stream)) for name in detectors]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def short(stream: str) -> str:
    return stream.removeprefix(fresh.PREFIX)
