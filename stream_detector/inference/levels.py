"""Which number is worth a monitor of its level, and what of it. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from stream_detector.inference.choices import FEW_VALUES, is_money
from stream_detector.inference.judgements import AMOUNT_WORDS, CODE_WORDS
from stream_detector.inference.keys import ID_WORDS
from stream_detector.inference.profiles import Profile

_LOAD_WORDS = AMOUNT_WORDS[2] | frozenset({"octets", "packets", "pkts"})
_LASTING_WORDS = frozenset(
    {"duration", "latency", "elapsed", "ms", "millis", "milliseconds", "dauer", "runtime"}
)
_DERIVED_WORDS = frozenset(
    {"s", "sec", "per", "rate", "ratio", "pct", "percent"}
    | {"avg", "mean", "std", "var", "max", "min"}
)
"""What is computed of an amount already: sums and means of it say nothing."""

_MOST_MISSING = 0.1
_OF_ONE_VALUE = 0.9

SEVERAL_VALUES = 30.0
"""Values that a bucket should have: a mean of few is all chance."""


class Level(NamedTuple):
    """A number to watch: its field, what of it, and what that is in words."""

    field: str
    compute: Literal["sum", "mean"]
    about: str


def level_of(numbers: Sequence[Profile]) -> Level | None:
    """The number most worth a monitor: money, then a load, then how long something takes.

    Of money the mean: how many payments there are a monitor of rates says. Of loads the sum, since
    a few large ones are what matters.
    """
    fit = [each for each in numbers if _fit(each)]
    for each in fit:
        if is_money(each):
            return Level(each.name, "mean", f"what {each.name} comes to in the mean, an amount")
    for each in fit:
        if each.words & _LOAD_WORDS and float(each.finite.min()) >= 0:
            return Level(each.name, "sum", f"the sum of {each.name}, a load")
    for each in fit:
        if each.words & _LASTING_WORDS and float(each.finite.min()) >= 0:
            return Level(each.name, "mean", f"{each.name} in the mean, how long something takes")
    return None


def _fit(profile: Profile) -> bool:
    """Tell whether a number measures: no code, no name, no figure of others, no near-constant."""
    if profile.kind != "number" or profile.distinct <= FEW_VALUES:
        return False
    if profile.words & (CODE_WORDS | ID_WORDS | _DERIVED_WORDS):
        return False
    if profile.missing_share > _MOST_MISSING or profile.grows or not len(profile.finite):
        return False
    middle = float(np.median(profile.finite))
    return float(np.mean(profile.finite == middle)) < _OF_ONE_VALUE
