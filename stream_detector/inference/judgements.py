"""Judgements on a single field, from its profile and the words of its name. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.cells import parse_boolean
from stream_detector.events import Float64
from stream_detector.inference.keys import MEASURE_WORDS
from stream_detector.inference.labels import MOST_LABELS
from stream_detector.inference.profiles import SMALL_SHARE, Profile
from stream_detector.units import format_duration


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CODE_WORDS = _words("code type category status zip mcc protocol proto")
AMOUNT_WORDS = (
    _words("amount amt price payment cost betrag preis montant importe"),
    _words("value total sum wert"),
    _words("bytes byts size"),
)


_LEAKING_AUC = 0.99
"""A number that tells the label so well is a score where it is a share, and else may be what is
looked for: the amounts of frauds."""

_LEAKING_SHARE = 0.995
_LEAST_OF_A_CLASS = 10
_HALF_LIVES_SECONDS = (10, 60, 600, 3600, 21_600, 86_400, 604_800, 2_592_000)


def leak_reason(profile: Profile, truth: Float64) -> str | None:
    """Why a field seems to hold the answer, or None. ``truth``: 1, 0, NaN unknown."""
    known = np.isfinite(truth)
    if profile.kind == "number":
        known &= np.isfinite(profile.numbers)
    positive = truth[known] == 1
    anomalous = float(positive.mean()) if len(positive) else 0.0
    if min(positive.sum(), (~positive).sum()) < _LEAST_OF_A_CLASS:
        return None
    if profile.kind != "number" or profile.distinct <= MOST_LABELS:
        right = _share_told_by_value(
            [v for v, k in zip(profile.values, known, strict=True) if k], positive
        )
        if right >= _LEAKING_SHARE and min(anomalous, 1 - anomalous) >= 4 * (1 - right):
            return f"its values tell the label in {right:.1%} of the sample: known in time?"
    if profile.kind != "number":
        return None
    values = profile.numbers[known]
    area = separation(profile, truth)
    if area >= _LEAKING_AUC and float(values.min()) >= 0 and float(values.max()) <= 1:
        return f"is a share that alone nearly gives the label (AUC {area:.3f}): a score?"
    if profile.binary and anomalous <= 0.2:  # noqa: PLR2004 - else it is no surprise
        ones = values == 1
        if ones.sum() >= 5 and positive[ones].all():  # noqa: PLR2004 - fewer are chance
            return "is 1 only where the label says anomalous: part of the label?"
    return None


def separation(profile: Profile, truth: Float64) -> float:
    """Return the ROC AUC of a number alone for the label, either way; .5 for few events."""
    known = np.isfinite(truth) & np.isfinite(profile.numbers)
    positive = truth[known] == 1
    if min(positive.sum(), (~positive).sum()) < _LEAST_OF_A_CLASS:
        return 0.5
    area = _area_under_curve(profile.numbers[known], positive)
    return max(area, 1 - area)


def tells(profile: Profile, truth: Float64) -> bool:
    """Tell whether a number alone nearly gives the label."""
    return separation(profile, truth) >= _LEAKING_AUC


def _share_told_by_value(values: Sequence[Any], positive: NDArray[np.bool_]) -> float:
    """Share of the events whose label is the more common one among those of their value."""
    counts: dict[Any, list[int]] = {}
    for value, label in zip(values, positive.tolist(), strict=True):
        counts.setdefault(value, [0, 0])[label] += 1
    if len(counts) > MOST_LABELS:
        return 0.0
    return sum(max(pair) for pair in counts.values()) / len(values)


def _area_under_curve(values: Float64, positive: NDArray[np.bool_]) -> float:
    """ROC AUC of the values, ties counting half (Mann-Whitney)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    ones = int(positive.sum())
    return float(
        (mean_rank[place][positive].sum() - ones * (ones + 1) / 2) / ones / (len(values) - ones)
    )


def is_boolean(profile: Profile) -> bool:
    """Tell whether a field can be read as true or false."""
    if profile.true_false:
        return profile.kind != "number"
    if profile.distinct != 2:  # noqa: PLR2004 - both values
        return False
    if {parse_boolean(value) for value in profile.counts} != {0.0, 1.0}:
        return False
    if profile.kind != "number":
        return True
    # A rare 1 may well be a counter whose first 2 is still to come.
    often = min(profile.counts.values()) >= SMALL_SHARE * profile.present
    return profile.whole and often and not profile.words & MEASURE_WORDS


def missing_rule(profile: Profile) -> dict[str, str]:
    """``missing`` of a feature, where the sample lacks values."""
    if profile.complete:
        return {}
    return {"missing": "indicator" if profile.missing_share >= SMALL_SHARE else "mean"}


def half_lives(seconds_between: float) -> list[str]:
    """A short and a long one, for a key whose events lie this far apart on average."""
    chosen = []
    for events in (3, 20):
        long_enough = [one for one in _HALF_LIVES_SECONDS if one >= events * seconds_between]
        chosen.append(format_duration(long_enough[0] if long_enough else _HALF_LIVES_SECONDS[-1]))
    return list(dict.fromkeys(chosen))


def readable_duration(seconds: float) -> str:
    """Seconds in the unit that suits."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.3g} seconds"


def range_of(profile: Profile) -> str:
    """Comment on a number."""
    if profile.distinct == 1:
        return (
            f"always {next(iter(profile.counts))[:40]} in the sample: the first other is evidence"
        )
    low, middle, high = np.quantile(profile.finite, [0, 0.5, 1]).tolist()
    text = f"{low:g} to {high:g}, median {middle:g}"
    bad = profile.column.unreadable_count
    if bad:
        shown = ", ".join(map(repr, profile.column.unreadable[:3]))
        text += f"; {bad} of {profile.present} are no numbers and get rejected: {shown}"
    return text


def common_values(profile: Profile) -> str:
    """Comment on a category."""
    shown = ", ".join(value[:30] for value, _ in profile.counts.most_common(3))
    if profile.distinct == 1:
        return f"always {shown} in the sample: the first other is evidence"
    more = profile.distinct - 3
    return shown + (f" and {more} more" if more > 0 else "")
