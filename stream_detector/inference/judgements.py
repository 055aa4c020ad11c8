"""Judgements on a single field, from its profile and the words of its name. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.units import format_duration
from stream_detector.events import Float64
from stream_detector.inference.profiles import SMALL_SHARE, Profile


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NORMAL_WORDS = _words("normal benign legit legitimate genuine ok none negative good background no")
LABEL_WORDS = _words(
    "label class target fraud fraudulent anomaly anomalous outlier attack malicious "
    "intrusion failure chargeback"
)
ABOUT_LABEL_WORDS = _words(
    "scenario flagged difficulty verdict category cat type kind reason severity"
)
ENTITY_WORDS = _words(
    "id ip addr address host user customer client account card terminal device sensor "
    "machine merchant station name mac imei vehicle session flow uuid guid"
)
SUBJECT_WORDS = (
    "customer",
    "account",
    "card",
    "user",
    "client",
    "device",
    "sensor",
    "src",
    "source",
)
PASSING_WORDS = _words("flow session transaction uuid guid request")
MEASURE_WORDS = _words(
    "bytes byts count cnt num rate pkts pkt len length size duration time amount "
    "balance mean avg std max min tot total level temperature speed"
)
ID_WORDS = _words("id uuid guid key ref reference number")
PORT_WORDS = _words("port sport dport ports")
CODE_WORDS = _words("code type category status zip mcc protocol proto")
TIME_WORDS = _words("time timestamp datetime date ts at when step")
AMOUNT_WORDS = (
    _words("amount amt price payment cost"),
    _words("value total sum"),
    _words("bytes byts size"),
)


MOST_LABELS = 64
_LEAKING_AUC = 0.99
_LEAKING_SHARE = 0.995
_LEAST_OF_A_CLASS = 10
_HALF_LIVES_SECONDS = (10, 60, 600, 3600, 21_600, 86_400, 604_800, 2_592_000)


def label_score(profile: Profile) -> int:
    """How much a field looks like the label: from 3 on it does."""
    words = profile.words - {"is"}
    score = 2 if profile.binary else 0
    if profile.kind == "text" and not profile.binary:
        score += 3 if normal_values(profile) and profile.distinct <= MOST_LABELS else 0
    elif not profile.binary and not (profile.integers and profile.distinct <= MOST_LABELS):
        return 0
    if words & LABEL_WORDS:
        score += (2 if profile.binary else 3) if words <= LABEL_WORDS else 1
    elif profile.binary:
        return 0
    if words & ABOUT_LABEL_WORDS:
        score -= 2
    return score


def normal_values(profile: Profile) -> list[str]:
    """Values whose word says that nothing is wrong."""
    return [value for value in profile.counts if value.strip(". ").lower() in NORMAL_WORDS]


def leak_reason(profile: Profile, truth: Float64) -> str | None:
    """Why a field seems to hold the answer, or None. ``truth``: 1, 0, NaN unknown."""
    known = np.isfinite(truth)
    if profile.kind == "number":
        known &= np.isfinite(profile.numbers)
    positive = truth[known] == 1
    anomalous = float(positive.mean()) if len(positive) else 0.0
    if min(positive.sum(), (~positive).sum()) < _LEAST_OF_A_CLASS:
        return None
    if profile.kind == "text":
        right = _share_told_by_value(
            [v for v, k in zip(profile.values, known, strict=True) if k], positive
        )
        if right >= _LEAKING_SHARE and min(anomalous, 1 - anomalous) >= 4 * (1 - right):
            return f"its values tell the label in {right:.1%} of the sample: known in time?"
        return None
    values = profile.numbers[known]
    area = _area_under_curve(values, positive)
    if max(area, 1 - area) >= _LEAKING_AUC:
        return f"alone nearly gives the label (AUC {max(area, 1 - area):.3f}): known in time?"
    if profile.binary and anomalous <= 0.2:  # noqa: PLR2004 - else it is no surprise
        ones = values == 1
        if ones.sum() >= 5 and positive[ones].all():  # noqa: PLR2004 - fewer are chance
            return "is 1 only where the label says anomalous: part of the label?"
    return None


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
    """Whether a field is read as true or false for good."""
    if not profile.binary or profile.distinct < 2:  # noqa: PLR2004 - both values
        return False
    if profile.true_false:
        return True
    # A rare 1 may well be a counter whose first 2 is still to come.
    often = min(profile.counts.values()) >= SMALL_SHARE * profile.present
    return profile.integers and often and not profile.words & MEASURE_WORDS


def missing_rule(profile: Profile) -> dict[str, str]:
    """``missing`` of a feature, where the sample lacks values."""
    if profile.complete:
        return {}
    return {"missing": "indicator" if profile.missing_share >= SMALL_SHARE else "mean"}


def subject_rank(profile: Profile) -> int:
    """Smaller for whoever acts (a customer) than for what is acted on (a terminal)."""
    ranks = [rank for rank, word in enumerate(SUBJECT_WORDS) if word in profile.words]
    return min(ranks, default=len(SUBJECT_WORDS))


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
    low, middle, high = np.quantile(profile.finite, [0, 0.5, 1]).tolist()
    text = f"{low:g} to {high:g}, median {middle:g}"
    bad = profile.present - len(profile.finite)
    return text + (f"; {bad} of {profile.present} are no numbers and get rejected" if bad else "")


def common_values(profile: Profile) -> str:
    """Comment on a category."""
    shown = ", ".join(value[:30] for value, _ in profile.counts.most_common(3))
    more = profile.distinct - 3
    return shown + (f" and {more} more" if more > 0 else "")
