"""Results of a search for parameters: for the terminal, as comments of a file, as JSON."""

from __future__ import annotations

import json
import math
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from stream_detector import __version__
from stream_detector.evaluation.paired_comparison import Comparison, Estimate
from stream_detector.evaluation.search_space import changes
from stream_detector.evaluation.tuning import FOLDS, RUNGS, Trial, Tuning
from stream_detector.report.comparison_table import (
    NAMES,
    described,
    difference,
    estimates,
    how_resampled,
)
from stream_detector.visible import visible

_SHOWN = 5
_LABEL_WIDTH = 30
_FIRST_LINE = "stream-detector tune"
_LAST_LINE = "(end of what tune has found)"
_EVIDENCE = re.compile(
    rf"^# {_FIRST_LINE} .*\n(?:#.*\n)*?# {re.escape(_LAST_LINE)}\n", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Data:
    """The file that was searched on.

    Attributes:
        name: without its directory.
        size_bytes: of the file.
        fingerprint: BLAKE2b of its bytes.
        events: accepted ones.
        label: field of the label.
        limit: ``--limit``, if it was given.
    """

    name: str
    size_bytes: int
    fingerprint: str
    events: int
    label: str
    limit: int | None


def summary(result: Tuning, data: Data) -> str:
    """Return what the terminal shows."""
    return "\n".join([*_lines(result, data), "", "detector:", *_section(result)])


def comments(result: Tuning, data: Data, how: str) -> str:
    """The evidence as lines of comment, to stand before the section."""
    now = datetime.now(UTC).date().isoformat()
    libraries = f"NumPy {version('numpy')}, scikit-learn {version('scikit-learn')}"
    lines = [
        f"{_FIRST_LINE} {how}, {now}; version {__version__},",
        f"Python {platform.python_version()}, {libraries}.",
        *_lines(result, data),
    ]
    lines.append(_LAST_LINE)
    return "".join(f"# {visible(line)}".rstrip() + "\n" for line in lines)


def without_evidence(text: str) -> str:
    """A configuration without the evidence that an earlier search has left in it."""
    return _EVIDENCE.sub("", text)


def as_json(result: Tuning, data: Data, seed: int) -> dict[str, Any]:
    """All of it as JSON values."""
    search, confirmation, held_out = result.parts
    return {
        "better": result.better,
        "reason": result.reason,
        "criterion": result.criterion,
        "detector": result.detector.model_dump(),
        "changed": changes(result.original.detector, result.detector),
        "seed": seed,
        "data": {
            "name": data.name,
            "size_bytes": data.size_bytes,
            "blake2b": data.fingerprint,
            "events": data.events,
            "label": data.label,
            "limit": data.limit,
        },
        "parts": {"search": search, "confirmation": confirmation, "held_out": held_out},
        "original": _trial(result.original),
        "best": _trial(result.best) if result.best is not None else None,
        "confirmation": _comparison(result.confirmation),
        "held_out": _comparison(result.held_out),
        "trials": [_trial(trial) for trial in result.trials],
        "versions": {
            "stream-detector": __version__,
            "python": platform.python_version(),
            "numpy": version("numpy"),
            "scikit-learn": version("scikit-learn"),
        },
    }


def _lines(result: Tuning, data: Data) -> list[str]:
    limit = f", its first {data.limit:,} records" if data.limit is not None else ""
    finished = sum(trial.finished for trial in result.trials)
    folds = f"folds {FOLDS // 2 + 1} to {FOLDS}"
    outcome = "new parameters" if result.better else "the original is kept"
    lines = [
        f"data: {data.name}{limit}, {data.size_bytes:,} bytes,",
        f"BLAKE2b {data.fingerprint}",
        f"{data.events:,} events, label {data.label}; criterion: {NAMES[result.criterion]}",
        f"{len(result.trials)} candidates tried, {finished} of them on the whole search part",
        "",
        f"result: {outcome}: {result.reason}",
        *_changed(result),
        "",
        f"search part, {result.parts[0]:,} events: mean of {folds}, used to choose",
        *(_standing(trial) for trial in _best(result)),
    ]
    if result.confirmation is not None:
        title = "confirmation part, {:,} events: decides once between the two"
        lines += _compared(title, result.parts[1], result.confirmation, result.criterion)
    title = "held-out part, {:,} events: never used to choose"
    lines += _compared(title, result.parts[2], result.held_out, None)
    if result.better and _disagrees(result):
        lines += ["", "Beware: the held-out part says that the original is better."]
    return lines


def _changed(result: Tuning) -> list[str]:
    before = result.original.detector.model_dump()
    return [
        f"  {name}: {json.dumps(before[name])} -> {json.dumps(value)}"
        for name, value in changes(result.original.detector, result.detector).items()
    ]


def _best(result: Tuning) -> list[Trial]:
    """The original and the best of those that went through all of the search part."""
    finished = [trial for trial in result.trials if trial.finished and trial.figures[-1] > -1]
    finished.sort(key=lambda trial: (-trial.figures[-1], trial.number))
    return [result.original, *finished[:_SHOWN]]


def _standing(trial: Trial) -> str:
    name = f"trial {trial.number}" if trial.number else "original"
    changed = ", ".join(f"{key}: {json.dumps(value)}" for key, value in trial.changed.items())
    return f"  {name:<10}{trial.figures[-1]:.4f}  {changed}".rstrip()


def _compared(title: str, events: int, compared: Comparison, only: str | None) -> list[str]:
    lines = ["", title.format(events), how_resampled(compared)]
    names = ("original", "best candidate")
    for figure in compared.figures[0]:
        if only is not None and figure != only:
            continue
        lines.append(f"  {NAMES[figure]}")
        lines += [
            f"    {name:<{_LABEL_WIDTH}}{_limits(figures[figure])}"
            for name, figures in zip(names, compared.figures, strict=False)
        ]
        lines += [
            f"    {'difference':<{_LABEL_WIDTH}}{difference(values[figure])}"
            for values in compared.differences.values()
        ]
    return lines


def _limits(value: Estimate) -> str:
    if value.low is None or value.high is None:
        return f"{value.value:>8.4f}   -"
    return f"{value.value:>8.4f}   {value.low:.4f} to {value.high:.4f}"


def _disagrees(result: Tuning) -> bool:
    values = result.held_out.differences.get((1, 0), {})
    value = values.get(result.criterion)
    return value is not None and value.verdict == "worse"


def _section(result: Tuning) -> list[str]:
    return [
        f"  {name}: {value if name == 'kind' else json.dumps(value)}"
        for name, value in result.detector.model_dump().items()
    ]


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "changed": trial.changed,
        "figures": dict(zip(map(str, RUNGS), map(_finite, trial.figures), strict=False)),
        "folds": [_finite(value) for value in trial.folds],
    }


def _comparison(compared: Comparison | None) -> dict[str, Any] | None:
    if compared is None:
        return None
    result = {**described(compared), "original": estimates(compared.figures[0])}
    if len(compared.figures) > 1:
        result["best"] = estimates(compared.figures[1])
        result["difference"] = estimates(compared.differences[1, 0], verdict=True)
    return result


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
