"""Mistakes that lie between the sections: no single model can see them.

Everything here works on plain data that may be wrong in any way, so that these mistakes are found
together with those of the models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from stream_detector.cells.times import NAMED_FORMATS
from stream_detector.config.loading.diagnostics import Path, format_path, suggestion
from stream_detector.config.loading.document import Document
from stream_detector.config.models.config import FEATURE_KINDS, NOTHING_TO_SEE, needs_labels
from stream_detector.detectors.registry import BUILT_IN


def check_document(document: Document) -> None:
    """Report all that is found to ``document``."""
    if not isinstance(document.data, dict):
        return
    _check_presence(document)
    uses = list(_field_uses(document))
    _check_leaks(document, uses)
    _check_roles(document, uses)
    _check_feature_repeats(document)
    _check_window_repeats(document)
    _check_ranges(document)
    _check_time_format(document)
    _check_labels(document)
    _check_columns(document, uses)


@dataclass(frozen=True, slots=True)
class _Use:
    """A field that is read, and as what: a window's ``key`` tells whose history an event is."""

    field: str
    path: Path
    role: Literal["number", "flag", "category", "key", "id", "time", "label"]


def _entries(document: Document, *path: str) -> list[Any]:
    entries = document.get(*path)
    return entries if isinstance(entries, list) else []


def _field_uses(document: Document) -> Iterator[_Use]:
    def use(
        role: Literal["number", "flag", "category", "key", "id", "time", "label"],
        *path: str | int,
    ) -> Iterator[_Use]:
        name = document.get(*path)
        if isinstance(name, str) and name:
            yield _Use(name, path, role)

    for index in range(len(_entries(document, "features"))):
        yield from use("number", "features", index, "numeric")
        yield from use("flag", "features", index, "boolean")
        yield from use("category", "features", index, "categorical")
        for kind in ("difference", "ratio"):
            for position in (0, 1):
                yield from use("number", "features", index, kind, position)
    for index in range(len(_entries(document, "windows"))):
        yield from use("key", "windows", index, "key")
        yield from use("number", "windows", index, "value")
        yield from use("category", "windows", index, "distinct_of")
    # Not a key: ports and codes are numbers by which alerts may well be grouped.
    yield from use("category", "suppression", "key")
    for index in range(len(_entries(document, "incidents", "fields"))):
        yield from use("category", "incidents", "fields", index)
    yield from use("id", "event", "id")
    yield from use("time", "event", "time", "field")
    for index in range(len(_entries(document, "event", "time", "fields"))):
        yield from use("time", "event", "time", "fields", index)
    yield from use("label", "labels", "field")


def _check_presence(document: Document) -> None:
    if not document.get("features") and not document.get("windows"):
        document.report((), NOTHING_TO_SEE)


def _check_leaks(document: Document, uses: list[_Use]) -> None:
    labels = {use.field for use in uses if use.role == "label"}
    ids = {use.field for use in uses if use.role == "id"}
    for use in uses:
        shown = document.shown(use.path)
        if use.role in ("label", "id", "time"):
            continue
        if use.field in labels:
            document.report(use.path, f"{shown} is the label; the model would be told the answer")
        if use.field in ids and use.role in ("number", "flag"):
            message = f"{shown} is event.id, a name; as a number it tells the model nothing"
            document.report(use.path, message)


def _check_roles(document: Document, uses: list[_Use]) -> None:
    first: dict[tuple[str, str], _Use] = {}
    for use in uses:
        first.setdefault((use.field, use.role), use)
    clashes = (
        ("number", "key", "as a number and as a key; what groups events is no quantity"),
        ("flag", "key", "as true/false and as a key"),
        ("number", "flag", "as a number and as true/false"),
    )
    for (field, role), use in first.items():
        for one, other, what in clashes:
            if role == one and (field, other) in first:
                elsewhere = document.place(first[field, other].path)
                where = f"line {elsewhere.line}" if elsewhere.line else elsewhere.source
                message = f"{document.shown(use.path)} is used {what} ({where})"
                document.report(use.path, message)


def _report_repeat(document: Document, path: Path, first: Path, what: str) -> None:
    place = document.place(first)
    where = f" (line {place.line})" if place.line is not None else ""
    document.report(path, f"{what} as {format_path(first)}{where}")


def _check_feature_repeats(document: Document) -> None:
    seen: dict[str, Path] = {}
    for index, feature in enumerate(_entries(document, "features")):
        if not isinstance(feature, dict):
            continue
        # `missing`, `range` and `size` change how a feature is read, not what it says.
        variants = {
            "transform": feature.get("transform", "none"),
            "encoding": feature.get("encoding", "one_hot"),
            "utc_offset": feature.get("utc_offset", 0),
        }
        given = [(kind, feature[kind]) for kind in FEATURE_KINDS if kind in feature]
        if not given:
            continue
        path: Path = ("features", index)
        first = seen.setdefault(repr((given, variants)), path)
        if first != path:
            _report_repeat(document, path, first, "the same feature")


def _check_window_repeats(document: Document) -> None:
    seen: dict[str, Path] = {}
    for index, window in enumerate(_entries(document, "windows")):
        if not isinstance(window, dict):
            continue
        for list_name, what in (("half_lives", "half-life"), ("compute", "statistic")):
            entries = window.get(list_name)
            if isinstance(entries, list):
                check_repeats(document, ("windows", index, list_name), f"the same {what}")
        statistics, half_lives = window.get("compute"), window.get("half_lives")
        if not isinstance(statistics, list) or not isinstance(half_lives, list):
            continue
        for statistic in dict.fromkeys(map(repr, statistics)):
            value = window.get("distinct_of" if "distinct" in statistic else "value")
            of = None if statistic in ("'count'", "'time_since_last'") else value
            for half_life in dict.fromkeys(map(repr, half_lives)):
                span = None if statistic == "'time_since_last'" else half_life
                identity = repr((window.get("key"), of, statistic, span))
                first = seen.setdefault(identity, ("windows", index))
                if first != ("windows", index):
                    _report_repeat(document, ("windows", index), first, f"the same {statistic}")


def check_repeats(document: Document, path: Path, what: str) -> None:
    """Report entries of the list at ``path`` that stand there twice; ``what`` names them."""
    seen: dict[str, Path] = {}
    for position, entry in enumerate(document.get(*path)):
        if entry is None:
            continue
        here = (*path, position)
        first = seen.setdefault(repr(entry), here)
        if first != here:
            _report_repeat(document, here, first, what)


def _check_ranges(document: Document) -> None:
    seen: dict[str, tuple[Any, Path]] = {}
    for index in range(len(_entries(document, "features"))):
        path: Path = ("features", index, "range")
        limits = document.get(*path)
        if not isinstance(limits, list) or len(limits) != 2:  # noqa: PLR2004 - low and high
            continue
        low, high = limits
        if isinstance(low, int | float) and isinstance(high, int | float) and low >= high:
            document.report(path, "the low end must lie below the high end")
        name = document.get("features", index, "numeric")
        other, first = seen.setdefault(repr(name), (limits, path))
        if other != limits:
            _report_repeat(document, path, first, "another range of the same field")


def _check_time_format(document: Document) -> None:
    path = ("event", "time", "format")
    pattern = document.get(*path)
    if not isinstance(pattern, str) or pattern in NAMED_FORMATS:
        return
    message = None
    if "%" not in pattern:
        referred = document.place(path).referred
        hint = "" if referred else suggestion(pattern, NAMED_FORMATS)
        message = f"expected {', '.join(NAMED_FORMATS)} or a strptime pattern{hint}"
    else:
        try:
            datetime.strptime("", pattern)  # noqa: DTZ007 - only the pattern is looked at
        except (re.error, IndexError):
            message = "this is no strptime pattern"
        except ValueError as error:
            # Without a mistake in the pattern the complaint is that "" does not match it.
            if "does not match" not in str(error):
                message = "this is no strptime pattern"
    if message is not None:
        document.report(path, f"{message} (got {document.shown(path)})")


def _check_labels(document: Document) -> None:
    if document.get("labels", "positive") is not None:
        if document.get("labels", "negative") is not None:
            document.report(("labels", "negative"), "give one of positive and negative")
    elif document.get("labels") is None:
        kind = document.get("detector", "kind")
        own = BUILT_IN.get(kind) if isinstance(kind, str) else None
        if own is not None and own.detector.labels == "needed":
            document.report(("detector", "kind"), needs_labels(own.kind))


def _check_columns(document: Document, uses: list[_Use]) -> None:
    columns = document.get("event", "columns")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        return
    check_repeats(document, ("event", "columns"), "the same column")
    for use in uses:
        # A nested field is a column of its whole name, or inside one that holds JSON.
        outer = use.field.partition(".")[0].partition("[")[0]
        if use.field not in columns and outer not in columns and not use.field.startswith("@"):
            referred = document.place(use.path).referred
            hint = "" if referred else suggestion(use.field, columns)
            message = f"{document.shown(use.path)} is not among event.columns{hint}"
            document.report(use.path, message)
