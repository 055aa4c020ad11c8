"""Comparison of several runs as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stream_detector.evaluation.paired_comparison import Comparison, Estimate

NAMES = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "precision_at_100_per_day": "precision of each day's top 100",
}
_WIDTH = 53
_OWN_WIDTH = 24
_NAME_LIMIT = 21
_OTHERS = {
    "alerts": "alerts",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "events_per_second": "events/s",
}


def as_json(
    comparison: Comparison, paths: Sequence[str], results: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """All of it as JSON values; each configuration's own figures stand under ``figures``."""
    return {
        **described(comparison),
        "configurations": [
            {"path": path, "figures": dict(result), "estimates": estimates(figures)}
            for path, result, figures in zip(paths, results, comparison.figures, strict=True)
        ],
        "differences": [
            {"of": paths[later], "against": paths[earlier], **estimates(values, verdict=True)}
            for (later, earlier), values in comparison.differences.items()
        ],
    }


def described(comparison: Comparison) -> dict[str, Any]:
    """Describe what was compared and how it was resampled, as JSON values."""
    return {
        "events": comparison.events,
        "positives": comparison.positives,
        "left_out": comparison.left_out,
        "bootstrap": {
            "resamples": comparison.resamples,
            "units": comparison.units,
            "count": comparison.unit_count,
            "mean_block": round(comparison.mean_block, 3),
        },
    }


def estimates(values: Mapping[str, Estimate], *, verdict: bool = False) -> dict[str, Any]:
    """Figures with their limits as JSON values."""
    return {
        name: {**asdict(value), **({"verdict": value.verdict} if verdict else {})}
        for name, value in values.items()
    }


def as_table(
    comparison: Comparison, paths: Sequence[str], results: Sequence[Mapping[str, Any]]
) -> str:
    """Figures of each run and differences of each pair, one line each."""
    counted = (
        f"{comparison.events:,} events with a label, {comparison.positives:,} of them positive; "
        f"{comparison.left_out:,} left out"
    )
    lines = [counted, how_resampled(comparison)]
    names = shown_names(paths)
    for figure in comparison.figures[0]:
        lines += ["", f"{NAMES[figure]:<{_WIDTH}}  figure   95 % interval"]
        for name, figures in zip(names, comparison.figures, strict=True):
            lines.append(f"  {name:<{_WIDTH - 2}}{_figure(figures[figure])}")
        for (later, earlier), values in comparison.differences.items():
            name = f"{names[later]} against {names[earlier]}"
            lines.append(f"  {name:<{_WIDTH - 2}}{difference(values[figure])}")
    header = "".join(f"{name:>11}" for name in _OTHERS.values())
    lines += ["", f"{'each by itself':<{_OWN_WIDTH}}{header}"]
    for name, result in zip(names, results, strict=True):
        cells = "".join(_cell(result[other]) for other in _OTHERS)
        lines.append(f"  {name:<{_OWN_WIDTH - 2}}{cells}")
    return "\n".join(lines)


def how_resampled(comparison: Comparison) -> str:
    """Describe the intervals in one line."""
    if not comparison.resamples:
        return "no intervals: too few events, or labels of one class only"
    units = "days" if comparison.units == "days" else "stretches"
    return (
        f"intervals: {comparison.resamples:,} resamples of {comparison.unit_count:,} {units}, "
        f"in blocks of {comparison.mean_block:.1f} on average"
    )


def shown_names(paths: Sequence[str]) -> list[str]:
    """The files' names, or the whole paths where two have one name; cut at the left if long."""
    names = [Path(path).name for path in paths]
    if len(set(names)) < len(names):
        names = list(paths)
    return [name if len(name) <= _NAME_LIMIT else "…" + name[1 - _NAME_LIMIT :] for name in names]


def difference(value: Estimate) -> str:
    """A difference with sign, limits and verdict."""
    text = f"{value.value:>+8.4f}"
    if value.low is None or value.high is None:
        return f"{text}   -"
    return f"{text}   {value.low:+.4f} to {value.high:+.4f}   {value.verdict}"


def _figure(value: Estimate) -> str:
    text = f"{value.value:>8.4f}"
    if value.low is None or value.high is None:
        return f"{text}   -"
    return f"{text}   {value.low:.4f} to {value.high:.4f}"


def _cell(value: float | None) -> str:
    if value is None:
        return f"{'-':>11}"
    return f"{value:>11,.4f}" if isinstance(value, float) else f"{value:>11,}"
