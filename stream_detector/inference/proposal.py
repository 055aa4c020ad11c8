"""From a sample of events to a proposal for a configuration, each choice with its reason. No I/O.

Everything is a guess that a person can read and change: what is left out says why.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stream_detector.events import Float64, Int64
from stream_detector.inference.judgements import (
    ABOUT_LABEL_WORDS,
    AMOUNT_WORDS,
    CODE_WORDS,
    ENTITY_WORDS,
    ID_WORDS,
    LABEL_WORDS,
    MEASURE_WORDS,
    PASSING_WORDS,
    PORT_WORDS,
    TIME_WORDS,
    common_values,
    half_lives,
    is_boolean,
    label_score,
    leak_reason,
    missing_rule,
    normal_values,
    range_of,
    readable_duration,
    subject_rank,
)
from stream_detector.inference.profiles import Profile, profiles_of

_LEAST_LABEL_SCORE = 3
_LEAST_REPEATS = 1.2
_MOST_COLUMNS = 16
_LONGEST_CATEGORY = 200
_DAY_MS = 86_400_000
_UNUSABLE_NAME = re.compile(r"\$\{|[\ud800-\udfff]|.{201}", re.DOTALL)
"""A reference to the environment, half a surrogate pair, more than the model takes."""

_LATE_DAYS = 30

Entry = tuple[dict[str, Any], str]
"""A piece of configuration and the comment beside it."""


@dataclass(slots=True)
class Proposal:
    """What the sample suggests; the parts of a configuration, with comments."""

    event: dict[str, Any] = field(default_factory=dict)
    features: list[Entry] = field(default_factory=list)
    windows: list[Entry] = field(default_factory=list)
    labels: dict[str, Any] | None = None
    suppression: dict[str, Any] | None = None
    left_out: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def infer(events: Sequence[Mapping[str, Any]], as_text: bool) -> Proposal:
    """Propose a configuration.

    Args:
        events: the sample, at least one event, in order.
        as_text: whether numbers are written as text (CSV); in JSON a number in quotes is text.
    """
    return _Inference(profiles_of(events, as_text), len(events)).run()


class _Inference:
    """Takes roles away from the fields one after the other; what is left becomes features.

    State: the fields without a role yet, the proposal so far, and what was found for later steps.
    """

    def __init__(self, profiles: list[Profile], count: int) -> None:
        self._open = {profile.name: profile for profile in profiles}
        self._count = count
        self._proposal = Proposal()
        self._truth: Float64 | None = None
        self._span_seconds = float(count)  # rows of a file without a time count as one a second

    def run(self) -> Proposal:
        """All steps; their order matters."""
        self._drop_unreadable()
        self._find_label()
        self._find_time()
        self._drop_constant()
        self._drop_leaks()
        self._find_id()
        self._drop_repeated()
        keys = self._find_keys()
        self._make_features()
        self._make_windows(keys)
        return self._proposal

    def _leave_out(self, name: str, reason: str) -> None:
        del self._open[name]
        self._proposal.left_out.append((name, reason))

    def _drop_unreadable(self) -> None:
        for name, profile in list(self._open.items()):
            parts = name.split(".")
            inside = {".".join(parts[:depth]) for depth in range(1, len(parts))}
            if "" in parts or _UNUSABLE_NAME.search(name):
                del self._open[name]
                reason = "has a name that a configuration cannot hold"
                self._proposal.left_out.append((name[:200], reason))
            elif inside & set(self._open):
                self._leave_out(name, "lies inside a field that is also a plain value")
            elif profile.kind == "list":
                self._leave_out(name, "holds lists")
            elif profile.kind == "empty":
                self._leave_out(name, "is always missing")
            elif profile.kind == "mixed":
                self._leave_out(name, "mixes numbers and text")

    # --- roles --------------------------------------------------------------------------------

    def _find_label(self) -> None:
        best = max(self._open.values(), key=label_score, default=None)
        if best is None or label_score(best) < _LEAST_LABEL_SCORE:
            return
        labels: dict[str, Any] = {"field": best.name}
        if best.binary:
            positive = [str(value).lower() in ("1", "1.0", "true") for value in best.values]
        else:
            negative = normal_values(best) or (["0"] if "0" in best.counts else [])
            if not negative:
                self._leave_out(best.name, "looks like the label; which of its values are normal?")
                return
            labels["negative"] = negative
            positive = [str(value) not in negative for value in best.values]
        self._truth = np.where([v is None for v in best.values], np.nan, positive)
        self._proposal.labels = labels
        self._proposal.warnings.append(
            f"{best.name} looks like the label ({np.nanmean(self._truth):.2%} of the sample "
            "anomalous): it is no feature, but learnt from or compared with late"
        )
        del self._open[best.name]

    def _find_time(self) -> None:
        candidates = [
            profile
            for profile in self._open.values()
            if (profile.kind == "text" or profile.words & TIME_WORDS)
            and profile.complete
            and profile.moments is not None
        ]
        candidates.sort(key=lambda profile: not profile.words & TIME_WORDS)
        for place, profile in enumerate(candidates):
            assert profile.moments is not None
            if place:
                self._leave_out(profile.name, f"is another time; {candidates[0].name} is taken")
            elif self._in_order(profile.name, profile.moments[1]):
                pattern, times = profile.moments
                self._proposal.event["time"] = {"field": profile.name, "format": pattern}
                self._span_seconds = max(1.0, float(times.max() - times.min()) / 1000)
                del self._open[profile.name]
            else:
                self._leave_out(profile.name, "is a time, but the events are not in its order")
        for name, profile in list(self._open.items()):
            if (
                profile.words & TIME_WORDS
                and profile.kind == "number"
                and profile.integers
                and (profile.words <= TIME_WORDS or profile.grows)
            ):
                self._leave_out(name, "is named like a time but holds none that can be read")

    def _in_order(self, name: str, times: Int64) -> bool:
        late_ms = np.maximum.accumulate(times) - times
        late_share = float((late_ms > _LATE_DAYS * _DAY_MS).mean())
        backwards = float((np.diff(times) < 0).mean()) if len(times) > 1 else 0.0
        if late_share > 0.2:  # noqa: PLR2004 - a share that no lateness explains
            self._proposal.warnings.append(
                f"{late_share:.0%} of the events are more than {_LATE_DAYS} days behind {name}'s "
                "newest: sort the data by it, then run init again; without it the record's "
                "timestamp (in a file: one row a second) counts"
            )
            return False
        if late_share:
            days = 2 * int(late_ms.max() / _DAY_MS + 1)
            self._proposal.event["max_behind"] = f"{days}d"
        if backwards > 0.3:  # noqa: PLR2004 - half of the steps go back in a shuffled file
            self._proposal.warnings.append(
                f"{backwards:.0%} of the events are older than the one before: a shuffled file? "
                "Windows need the order of time"
            )
        return True

    def _drop_constant(self) -> None:
        for name, profile in list(self._open.items()):
            if profile.distinct == 1 and profile.complete:
                value = next(iter(profile.counts))
                self._leave_out(name, f"is always {value[:40]!r} in the sample")

    def _drop_leaks(self) -> None:
        if self._truth is None:
            return
        for name, profile in list(self._open.items()):
            about = profile.words & LABEL_WORDS or profile.words <= ABOUT_LABEL_WORDS - CODE_WORDS
            if about:
                self._leave_out(name, "is named like the label: it may tell the answer")
            elif reason := leak_reason(profile, self._truth):
                self._leave_out(name, reason)

    def _find_id(self) -> None:
        unique = [
            profile
            for profile in self._open.values()
            if profile.distinct == self._count > 1 and (profile.kind == "text" or profile.integers)
        ]
        named = [profile for profile in unique if profile.words & ID_WORDS]
        for profile in unique:
            if named and profile is named[0]:
                self._proposal.event["id"] = profile.name
                del self._open[profile.name]
            elif profile.kind == "text" or profile.words & ENTITY_WORDS:
                self._leave_out(profile.name, "differs in every event")

    def _drop_repeated(self) -> None:
        seen: dict[tuple[Any, ...], str] = {}
        for name, profile in list(self._open.items()):
            first = seen.setdefault(tuple(profile.values), name)
            if first != name:
                self._leave_out(name, f"always equals {first} in the sample")
            elif profile.kind == "number" and profile.grows:
                self._leave_out(name, "only ever grows: it counts, and tells the model the date")

    def _find_keys(self) -> list[Profile]:
        """Fields whose values have a history; at most two, subjects before objects."""
        keys = []
        for name, profile in list(self._open.items()):
            if profile.words & PORT_WORDS and not profile.words & MEASURE_WORDS:
                self._leave_out(name, "is a port: it tells who talks to whom, not how")
                continue
            entity = profile.words & ENTITY_WORDS and not profile.words & MEASURE_WORDS
            if not entity or not (profile.kind == "text" or profile.integers):
                continue
            if profile.repeats < _LEAST_REPEATS:
                self._leave_out(name, "hardly ever repeats in the sample")
            elif profile.words & PASSING_WORDS or not profile.complete:
                self._leave_out(name, "is an identity, not a quantity")
            else:
                keys.append(profile)
                del self._open[name]
        keys.sort(key=subject_rank)
        for profile in keys[2:]:
            self._proposal.left_out.append((profile.name, "is an identity; two windows are enough"))
        return keys[:2]

    # --- features and windows -----------------------------------------------------------------

    def _make_features(self) -> None:
        for name, profile in list(self._open.items()):
            feature: dict[str, Any]
            code = profile.words & CODE_WORDS and profile.integers
            if is_boolean(profile):
                feature = {"boolean": name} | missing_rule(profile)
                self._proposal.features.append((feature, common_values(profile)))
            elif profile.kind == "number" and not (code and profile.distinct <= _MOST_COLUMNS):
                feature = {"numeric": name}
                if profile.skewed:
                    feature["transform"] = "log"
                feature |= missing_rule(profile)
                self._proposal.features.append((feature, range_of(profile)))
            else:
                self._add_category(profile)
        if "time" in self._proposal.event:
            for part in ("hour_of_day", "day_of_week"):
                self._proposal.features.append(({"time": part}, "UTC; see utc_offset"))

    def _add_category(self, profile: Profile) -> None:
        feature: dict[str, Any] = {"categorical": profile.name}
        if max(map(len, profile.counts)) > _LONGEST_CATEGORY:
            self._leave_out(profile.name, "holds long text")
            return
        if profile.distinct <= _MOST_COLUMNS:
            feature["size"] = next(size for size in (4, 8, 16, 32) if size > profile.distinct)
        elif profile.repeats >= 4:  # noqa: PLR2004 - else nearly all values are rare
            # As columns, so many values would outvote everything else.
            feature["encoding"] = "rarity"
            feature["size"] = next((s for s in (64, 256) if s > 2 * profile.distinct), 1024)
        else:
            self._leave_out(profile.name, "differs in nearly every event")
            return
        self._proposal.features.append((feature, common_values(profile)))

    def _make_windows(self, keys: list[Profile]) -> None:
        amount = self._amount()
        for profile in keys:
            seconds = self._span_seconds * profile.distinct / self._count
            window: dict[str, Any] = {"key": profile.name, "half_lives": half_lives(seconds)}
            if amount is not None:
                window["value"] = amount
            window["compute"] = ["count", "time_since_last"]
            if amount is not None:
                window["compute"] = ["count", "mean", "deviation", "time_since_last"]
            comment = f"{profile.distinct:,} in the sample, each every {readable_duration(seconds)}"
            self._proposal.windows.append((window, comment))
        if keys:
            self._proposal.suppression = {"key": keys[0].name, "period": "1h"}

    def _amount(self) -> str | None:
        """The numeric field that windows sum up; one that is never missing."""
        numeric = [
            feature["numeric"]
            for feature, _ in self._proposal.features
            if "numeric" in feature and "missing" not in feature
        ]
        for words in AMOUNT_WORDS:
            for name in numeric:
                if self._open[name].words & words:
                    return str(name)
        return None
