"""Search for the label, and for its values that say that something is wrong. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream_detector.config.models.labels import LabelsConfig
from stream_detector.decoding import read_label
from stream_detector.events import Float64
from stream_detector.inference.profiles import Profile


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LABEL_WORDS = _words(
    "label labels class target fraud fraudulent anomaly anomalous anomalies outlier attack attacks "
    "malicious malware intrusion failure failed chargeback abnormal truth "
    "betrug anomalie anomal angriff klasse störung stoerung ausfall fraude etiqueta clase"
)
"""Words in the name of a field that holds the answer, in the languages that were met."""

ABOUT_LABEL_WORDS = _words(
    "scenario flagged difficulty verdict category cat type kind reason severity score probability"
)
"""Words of a field that is about the label, as its kind or its reason, and not the label."""

_FILLING_WORDS = _words("is the has was any tx txn transaction ground normal binary y")
_STRONG_NORMAL = _words(
    "normal benign legit legitimate genuine background healthy regular nominal nonfraud "
    "nonfraudulent"
)
_NORMAL = _STRONG_NORMAL | _words(
    "ok okay none negative neg good clean valid safe passed pass no n false f 0 non nein gut nie"
)
_ANOMALOUS = _words(
    "fraud fraudulent attack attacks anomaly anomalous anomalies abnormal malicious malware bad "
    "faulty fault failure failed fail broken outlier intrusion suspicious error nok illicit "
    "illegal alarm chargeback positive pos yes y true t 1 ja oui si sí betrug angriff fehler "
    "störung stoerung ausfall anomalie fraude schlecht invalid"
)
_NOT = _words("no not non nicht kein keine keinen pas sin sem un")
_GENERIC = _words("no n false f 0 yes y true t 1 nein ja oui non si sí")

MOST_LABELS = 64
LEAST_SCORE = 3
_RARE_SHARE = 0.3
_NAMELESS = re.compile(r"(f|column_?|col_?|c|_c|x|v|unnamed: ?)\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LabelGuess:
    """Meaning of a field as the label.

    Attributes:
        labels: the section of the configuration.
        truth: (events,) 1 anomalous, 0 normal, NaN missing.
        told: what was taken for anomalous, for people.
        sure: whether words said so; else it is the rarer of two values.
    """

    labels: dict[str, Any]
    truth: Float64
    told: str
    sure: bool


def meaning(value: str) -> bool | None:
    """Tell whether a label's value means anomalous (True) or normal (False); None: no word says.

    >>> meaning("Not Fraud"), meaning("DoS attack"), meaning("BENIGN."), meaning("B")
    (False, True, False, None)
    """
    text = re.sub(r"[\W_]+", " ", value).strip().casefold()
    text = text.removesuffix(" 0") if text in ("0 0", "1 0") else text
    words = text.split()
    if not words:
        return None
    if len(words) > 1 and words[0] in _NOT:
        rest = meaning(" ".join(words[1:]))
        return None if rest is None else not rest
    if text in _NORMAL:
        return False
    if text in _ANOMALOUS or any(word in _ANOMALOUS - _GENERIC for word in words):
        return True
    for start in ("non", "not"):
        if text.startswith(start) and text.removeprefix(start) in _ANOMALOUS:
            return False
    return False if words[0] in _STRONG_NORMAL else None


def label_score(profile: Profile) -> int:
    """Return how much a field looks like the label: from ``LEAST_SCORE`` on it does."""
    words = profile.leaf_words - _FILLING_WORDS
    named = 0
    if words & LABEL_WORDS:
        named = 2 if words <= LABEL_WORDS else 1
    elif profile.leaf_words == {"y"}:
        named = 1
    score = named + _values_score(profile, named=named > 0)
    if words & ABOUT_LABEL_WORDS:
        score -= 2
    return score


def _values_score(profile: Profile, *, named: bool) -> int:
    values = list(profile.counts)
    if profile.distinct > MOST_LABELS or not values or profile.kind in ("list", "empty"):
        return 0 if profile.kind != "number" else -3
    if profile.kind == "number" and not profile.whole:
        return -3
    if profile.distinct <= 2:  # noqa: PLR2004 - a yes and a no
        return 2 if named else _score_of_words(profile)
    if profile.kind == "number":
        return 1 if named else 0
    return max(1 if named else 0, _score_of_words(profile))


def _score_of_words(profile: Profile) -> int:
    """3 where the values alone say that they are a label: one of them is the normal case."""
    if profile.kind != "text" or profile.distinct < 2:  # noqa: PLR2004 - both kinds
        return 0
    words = {word for value in profile.counts for word in re.findall(r"[^\W_]+", value.casefold())}
    if not words & _STRONG_NORMAL:
        return 0
    wrong = any(meaning(value) for value in profile.counts)
    return 3 if wrong or _NAMELESS.fullmatch(profile.name) else 0


def guess_label(profile: Profile) -> LabelGuess | None:
    """Return the meaning of the label's values; None where nothing says which are normal."""
    meanings = {value: meaning(value) for value in profile.counts}
    normal = [value for value, wrong in meanings.items() if wrong is False]
    if profile.distinct <= 2:  # noqa: PLR2004 - a yes and a no
        return _guess_of_two(profile, meanings)
    if not normal:
        return None
    if profile.kind == "number":
        normal = [value for value in normal if float(value) == 0]
    told = f"all but {', '.join(map(repr, normal[:3]))}"
    return _guess(profile, {"negative": normal}, told, sure=True)


def _guess_of_two(profile: Profile, meanings: dict[str, bool | None]) -> LabelGuess | None:
    values = list(meanings)
    wrong = [value for value in values if meanings[value] is True]
    right = [value for value in values if meanings[value] is False]
    sure = bool(wrong or right) and len(wrong) < 2 and len(right) < 2  # noqa: PLR2004 - or both alike
    if not sure:
        if len(values) < 2:  # noqa: PLR2004 - one value that says nothing
            return None
        rarer = min(values, key=profile.counts.__getitem__)
        if profile.counts[rarer] > _RARE_SHARE * profile.present:
            return None
        wrong, right = [rarer], [value for value in values if value != rarer]
    else:
        wrong = wrong or [value for value in values if value not in right]
        right = right or [value for value in values if value not in wrong]
    told = repr(wrong[0]) if wrong else f"all but {right[0]!r}"
    plain = _section_of(profile.name, {})
    if all(read_label(value, plain) == 1 for value in wrong) and all(
        read_label(value, plain) == 0 for value in right
    ):
        section: dict[str, Any] = {}
    elif right and right[0].strip(". ").casefold() not in _GENERIC and (sure or not wrong):
        section = {"negative": right}
    elif wrong:
        section = {"positive": wrong}
    else:
        section = {"negative": right}
    return _guess(profile, section, told, sure=sure)


def _guess(profile: Profile, section: dict[str, Any], told: str, *, sure: bool) -> LabelGuess:
    labels = _section_of(profile.name, section)
    truth = np.array([read_label(value, labels) for value in profile.values], dtype=np.float64)
    return LabelGuess({"field": profile.name, **section}, truth, told, sure)


def _section_of(name: str, section: dict[str, Any]) -> LabelsConfig:
    return LabelsConfig.model_validate({"field": name, "delay": "1h", **section})


def ask(profile: Profile) -> str:
    """The question to a person where the values of what looks like the label say nothing."""
    values: Sequence[str] = [value[:30] for value, _ in profile.counts.most_common(3)]
    return (
        "looks like the label, but its values do not say which is normal: set labels: "
        f"{{ field: {profile.name[:60]}, positive: [...] }} with those of {', '.join(values)} "
        "that are anomalous"
    )
