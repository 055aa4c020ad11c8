"""The features and windows that are made of a field, as pieces of a configuration. No I/O."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from stream_detector.cells import NumberFormat, read_number_column
from stream_detector.inference.judgements import (
    AMOUNT_WORDS,
    half_lives,
    missing_rule,
    readable_duration,
)
from stream_detector.inference.profiles import Profile
from stream_detector.parameters import UNREADABLE

FEW_VALUES = 16
"""Values of a category that may each have a column."""

_LONGEST_CATEGORY = 200
_LEAST_REPEATS = 4
_LARGEST_TABLE = 1024


def unusable_reason(profile: Profile, fields: Collection[str]) -> str | None:
    """Why nothing can be made of a field, whatever it means; None where something can.

    ``fields``: the names of all fields.
    """
    parts = profile.name.split(".")
    inside = {".".join(parts[:depth]) for depth in range(1, len(parts))}
    if not profile.name or _UNUSABLE_NAME.search(profile.name):
        return "has a name that no configuration can hold: a quote, a control character, too long"
    if inside & set(fields):
        return "lies inside a field that is also a plain value"
    return _KINDS.get(profile.kind)


_UNUSABLE_NAME = re.compile(r"\$\{|[\ud800-\udfff]|.{201}|" + UNREADABLE.pattern, re.DOTALL)
"""A reference to the environment, half a surrogate pair, what no struct may be called, more than
the model takes."""

_KINDS = {
    "list": "holds lists, of which [0], [-1] and [count] behind its name can be features",
    "empty": "is always missing",
    "mixed": "mixes values with objects",
}


def numeric_feature(profile: Profile) -> dict[str, Any]:
    """The feature of a field of numbers."""
    feature: dict[str, Any] = {"numeric": profile.name}
    if profile.distinct > 1 and profile.skewed:
        feature["transform"] = "log"
    return feature | missing_rule(profile)


def category_feature(profile: Profile) -> dict[str, Any] | str:
    """The feature of a field of words; a reason where there is none."""
    feature: dict[str, Any] = {"categorical": profile.name}
    if max(map(len, profile.counts)) > _LONGEST_CATEGORY:
        return "holds long text"
    if profile.distinct == 1:
        return feature | {"encoding": "rarity", "size": FEW_VALUES}
    if profile.distinct <= FEW_VALUES:
        return feature | {"size": next(size for size in (4, 8, 16, 32) if size > profile.distinct)}
    if profile.repeats < _LEAST_REPEATS:  # nearly all values are rare
        return "differs in nearly every event"
    # As columns, so many values would outvote everything else.
    size = next((size for size in (64, 256) if size > 2 * profile.distinct), _LARGEST_TABLE)
    return feature | {"encoding": "rarity", "size": size}


def window_of(
    profile: Profile, amount: str | None, seconds: float, *, slow: bool = False
) -> tuple[dict[str, Any], str]:
    """The window of a key, and the comment beside it.

    Args:
        profile: the key.
        amount: the number whose history it keeps besides; None: no number.
        seconds: between two events of one key, on average.
        slow: whether somebody may raise the number little by little: the comment says what helps.
    """
    window: dict[str, Any] = {"key": profile.name, "half_lives": half_lives(seconds)}
    if amount is not None:
        window["value"] = amount
    window["compute"] = ["count", "time_since_last"]
    if amount is not None:
        window["compute"] = ["count", "mean", "deviation", "time_since_last"]
    comment = f"{profile.distinct:,} in the sample, each every {readable_duration(seconds)}"
    if slow:
        comment += "; add `baseline` to `compute` where one may be raised little by little"
    return window, comment


def amount_of(numeric: Sequence[Profile]) -> str | None:
    """The number that windows keep a history of, among those that vary and are never missing."""
    for words in AMOUNT_WORDS:
        for profile in numeric:
            if profile.words & words:
                return profile.name
    return numeric[0].name if len(numeric) == 1 else None


def is_money(profile: Profile) -> bool:
    """Tell whether a number is named like money, which somebody may raise little by little."""
    return bool(profile.words & AMOUNT_WORDS[0])


def spelling_of(numeric: Sequence[Profile]) -> dict[str, Any]:
    """Return what `event` says of how numbers are written, and of further words for missing.

    One spelling for all where there is but one and no number reads otherwise under it.
    """
    section: dict[str, Any] = {}
    fields: dict[str, dict[str, Any]] = {}
    formats = [each.column.format for each in numeric if each.column.format.as_config()]
    common = formats[0] if formats and all(one == formats[0] for one in formats) else None
    if common is not None and all(_reads_alike(each, common) for each in numeric):
        section["numbers"] = common.as_config()
    else:
        for each in numeric:
            if said := each.column.format.as_config():
                fields[each.name] = {"numbers": said}
    for each in numeric:
        if each.missing_words:
            fields.setdefault(each.name, {})["missing_values"] = list(each.missing_words)
    return section | ({"fields": fields} if fields else {})


def _reads_alike(profile: Profile, spelling: NumberFormat) -> bool:
    column = read_number_column(profile.values, None, profile.missing_words, spelling)
    return bool(np.array_equal(column.values, profile.column.values, equal_nan=True))
