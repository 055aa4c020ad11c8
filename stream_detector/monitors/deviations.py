"""Deviations of keys from what is usual, over several widths, and which of them are findings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.events import Float64, Int64, State
from stream_detector.monitors.bands import Judged
from stream_detector.monitors.base import Finding
from stream_detector.monitors.buckets import BucketMonitorConfig
from stream_detector.monitors.days import Day
from stream_detector.monitors.history import (
    LARGEST_UNREST,
    LEAST_DISPERSION,
    QUIET_BUCKETS,
    KeyHistory,
)
from stream_detector.monitors.scales import OTHERS_KEYS, Compared, Scale, group_sums
from stream_detector.tail import RunningTail

CLIP = 3.0
"""What lies farther off than so many deviations teaches only as much as these (Farrington et al.
1996, "A statistical algorithm for the early detection of outbreaks", reweight past outbreaks)."""

UNREST_HALF_LIFE = 3.0
"""Buckets after which the unrest of the others counts half."""

GROWN = 1.0
"""Deviations by which an incident has to grow to be alerted again before it is over."""

LARGEST_DEVIATION = 1e6
"""Deviations beyond count as these: what is alerted is the same, and sums stay finite."""

UNREST_WIDTHS = 3
"""Shortest widths whose deviations are unrest."""

LEAST_THRESHOLD = 3.0
"""Deviations below which nothing is alerted, whatever the budget."""

_FROM_SCORES = 2000


@dataclass(frozen=True, slots=True)
class Deviation(Finding):
    """Too many or too few in the buckets that have just closed.

    Attributes:
        feature: what was counted or measured.
        actual: of it in these buckets.
        expected: what was to be expected, at the others' pace.
        low: lower end of the band in which no alert is raised.
        high: upper end of it.
        others: what it is called what the other keys did.
        pace: what they did, as a multiple of what was expected of them; 1 without any.
        calendar: what calendars say of these buckets; None: nothing.
    """

    feature: str
    actual: float
    expected: float
    low: float
    high: float
    others: str
    pace: float
    calendar: str | None

    def reasons(self) -> list[dict[str, Any]]:
        """One: the number beside its band."""
        signed = self.score if self.actual > self.expected else -self.score
        return [
            {
                "feature": self.feature,
                "value": self.actual,
                "share": 1.0,
                "deviations": signed,
                "usual": [self.low, self.high],
            }
        ]

    def details(self) -> dict[str, Any]:
        """Actual beside expected, what the others did, and the calendar's word."""
        return {
            "actual": self.actual,
            "expected": self.expected,
            self.others: self.pace,
            **({} if self.calendar is None else {"calendar": self.calendar}),
        }


@dataclass(frozen=True, slots=True)
class Closing:
    """What is known of a bucket that has just closed.

    Attributes:
        end_ms: its end.
        key_of: gives the key of a row.
        groups: (keys,) equal where keys are held against one another; None: all are.
        day: what calendars say of it.
        words: gives what calendars say of a stretch of time and a key.
    """

    end_ms: int
    key_of: Callable[[int], str]
    groups: Int64 | None
    day: Day
    words: Callable[[int, int, str], str | None]


@dataclass(frozen=True, slots=True)
class _Best:
    """The width of each key that deviates most.

    Attributes:
        score: (keys,) its deviations, of a wanted side.
        place: (keys,) which width it is.
        calm: (keys,) root of the unrest of the others.
        compared: for each width, the buckets beside what is usual.
    """

    score: Float64
    place: Int64
    calm: Float64
    compared: Sequence[Compared]


class Deviations:
    """Holds the last buckets of keys against what is usual. State: the tail of the scores.

    Attributes:
        judged: what the shortest width was held against last, to be looked at; None before that.
    """

    def __init__(self, config: BucketMonitorConfig, scale: Scale) -> None:
        """``scale``: on which buckets are held against what is usual."""
        self.config, self._scale = config, scale
        self._bucket_ms = round(config.bucket * 1000)
        self._widths = sorted(set(config.widths))
        self._spreads = 1 - 0.5 ** (config.bucket / config.half_life)
        self._calms = 0.5 ** (1 / UNREST_HALF_LIFE)
        self._tail = RunningTail()
        self.judged: Judged | None = None
        self._last: tuple[list[Float64], list[Compared]] = ([], [])

    def find(self, history: KeyHistory, closing: Closing) -> list[Finding]:
        """What the last buckets show, the key that is first in the alphabet first.

        Args:
            history: of the keys, with the bucket that has just closed; its dispersions and unrest
                are learnt.
            closing: what is known of that bucket.
        """
        rows = len(history)
        best, place = np.zeros(rows), np.zeros(rows, dtype=np.int64)
        restless = np.zeros(rows)
        calm = self._calm(history, closing.groups)
        compared: list[Compared] = []
        scores: list[Float64] = []
        for index, width in enumerate(self._widths):
            whole = (history.run >= width) & ~closing.day.muted
            root = np.sqrt(history.dispersion[:, index])
            one = self._scale.compare(history, width, whole, root, closing.groups)
            plain = np.clip(one.plain / root, -LARGEST_DEVIATION, LARGEST_DEVIATION)
            compared.append(one)
            if not index:
                self.judged = Judged(one.expected, root * calm)
            if index < UNREST_WIDTHS:
                restless = np.maximum(restless, np.minimum(plain * plain, LARGEST_UNREST))
            score = self._of_side(plain / calm)
            scores.append(np.where(one.whole, score, np.inf))
            better = score > best
            best, place = np.where(better, score, best), np.where(better, index, place)
            self._learn_dispersion(history, index, plain, one.whole & ~closing.day.unlearnt)
        self._last = (scores, compared)
        history.count_judged(compared[0].whole)
        history.unrest = self._calms * history.unrest + (1 - self._calms) * restless
        return self._decide(history, _Best(best, place, calm, compared), closing)

    def is_back(self, row: int, width: int) -> bool:
        """Tell whether the last buckets of a key, so many, were as usual when they were judged.

        Below half of what was expected is not: at night, when next to nothing is, nobody knows.
        """
        scores, compared = self._last
        index = self._widths.index(width) if width in self._widths else 0
        if index >= len(scores) or row >= len(scores[index]):
            return False
        actual, expected = compared[index].actual[row], compared[index].expected[row]
        return bool(scores[index][row] < self.threshold and actual >= expected / 2 and expected)

    def root(self, history: KeyHistory, groups: Int64 | None) -> Float64:
        """(keys,) what deviations of the shortest width would be divided by now."""
        root: Float64 = np.sqrt(history.dispersion[:, 0]) * self._calm(history, groups)
        return root

    def _of_side(self, deviations: Float64) -> Float64:
        side = self.config.side
        if side == "both":
            return np.abs(deviations)
        return np.maximum(deviations if side == "high" else -deviations, 0.0)

    def _calm(self, history: KeyHistory, groups: Int64 | None) -> Float64:
        """(keys,) root of the unrest of all others, at least 1."""
        if not self.config.population:
            return np.ones(len(history))
        scored = history.run > self._widths[0]
        mine = np.where(scored, history.unrest, 0.0)
        total = group_sums(mine, scored, groups)
        count = group_sums(scored.astype(float), scored, groups)
        others = np.maximum(count - scored, 0.0) + OTHERS_KEYS
        calm: Float64 = np.sqrt(np.maximum((total - mine + OTHERS_KEYS) / others, 1.0))
        return calm

    def _learn_dispersion(
        self, history: KeyHistory, index: int, plain: Float64, whole: NDArray[np.bool_]
    ) -> None:
        spread = history.dispersion[:, index]
        clipped = np.clip(plain, -CLIP, CLIP)
        weight = history.dispersion_weight(self._spreads)
        moved = spread + weight * (clipped * clipped * spread - spread)
        history.dispersion[:, index] = np.where(whole, np.maximum(moved, LEAST_DISPERSION), spread)

    def _decide(self, history: KeyHistory, best: _Best, closing: Closing) -> list[Finding]:
        """Findings of the keys that begin an incident; scores are learnt."""
        threshold = self.threshold
        exceeded = best.score >= threshold
        begun = exceeded & (history.quiet >= QUIET_BUCKETS)
        begun |= exceeded & (best.score >= history.told + GROWN)
        history.told = np.where(begun, best.score, history.told)
        history.quiet = np.where(exceeded, 0.0, np.minimum(history.quiet + 1, QUIET_BUCKETS))
        found = [
            self._finding(history, best, row, threshold, closing)
            for row in np.flatnonzero(begun).tolist()
        ]
        # In an order that no row number has a part in.
        scored = (history.run >= self._widths[0]) & ~closing.day.muted
        self._tail.learn(np.sort(best.score[scored]))
        return sorted(found, key=lambda finding: finding.key)

    def _finding(
        self, history: KeyHistory, best: _Best, row: int, threshold: float, closing: Closing
    ) -> Deviation:
        """What was found of the key in a row."""
        index = int(best.place[row])
        width, compared = self._widths[index], best.compared[index]
        root = math.sqrt(float(history.dispersion[row, index])) * float(best.calm[row])
        expected, score = float(compared.expected[row]), float(best.score[row])
        low, high = self._scale.band(history, row, width, expected, threshold * root)
        actual = float(compared.actual[row])
        key = closing.key_of(row)
        start_ms = closing.end_ms - width * self._bucket_ms
        return Deviation(
            feature=self._scale.feature,
            key=key,
            start_ms=start_ms,
            end_ms=closing.end_ms,
            actual=int(actual) if self._scale.feature == "events" else actual,
            expected=expected,
            low=low,
            high=high,
            others=self._scale.others,
            pace=float(compared.others[row]),
            calendar=closing.words(start_ms, closing.end_ms, key),
            score=score,
            threshold=threshold,
            rarity=1 / self._tail.share_above(score),
            share=self._share,
        )

    @property
    def _share(self) -> float | None:
        """The share of the buckets of a key that may be alerted."""
        budget = self.config.budget
        return None if budget is None else budget.share_of(1, self.config.bucket)

    @property
    def threshold(self) -> float:
        """Deviations from which on an alert is raised."""
        share = self._share
        if share is None or self._tail.size < _FROM_SCORES:
            return self.config.limit
        return max(self._tail.quantile(share), LEAST_THRESHOLD)

    def state(self) -> State:
        """The tail of the scores."""
        return self._tail.state()

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where it is no tail of scores."""
        self._tail.restore(state)
        self.judged = None
