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
from stream_detector.monitors.history import (
    LARGEST_UNREST,
    LEAST_DISPERSION,
    QUIET_BUCKETS,
    KeyHistory,
)
from stream_detector.tail import RunningTail

CLIP = 3.0
"""What lies farther off than so many deviations teaches only as much as these (Farrington et al.
1996, "A statistical algorithm for the early detection of outbreaks", reweight past outbreaks)."""

OTHERS_EVENTS = 10.0
"""Events by which the pace of the others is drawn towards 1."""

OUTLIER = 3.5
"""Deviations from which on a key has no part in the pace of the others."""

OTHERS_KEYS = 4.0
"""Keys of ordinary unrest by which the unrest of the others is drawn towards 1."""

UNREST_HALF_LIFE = 3.0
"""Buckets after which the unrest of the others counts half."""

GROWN = 1.0
"""Deviations by which an incident has to grow to be alerted again before it is over."""

UNREST_WIDTHS = 3
"""Shortest widths whose deviations are unrest."""

LEAST_EXPECTED = 0.3
"""Events that are expected at least: the first event of a quiet night is no incident."""

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
        pace: what the other keys did, as a multiple of what was expected of them; 1 without any.
    """

    feature: str
    actual: float
    expected: float
    low: float
    high: float
    pace: float

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
        """Actual beside expected, and what the others did."""
        return {
            "actual": self.actual,
            "expected": self.expected,
            "pace_of_others": self.pace,
        }


@dataclass(frozen=True, slots=True)
class _Best:
    """The width of each key that deviates most.

    Attributes:
        score: (keys,) its deviations, of a wanted side.
        place: (keys,) which width it is.
        calm: (keys,) root of the unrest of the others.
        expected_of: for each width, (keys,) what was to be expected.
        paces: for each width, (keys,) the pace of the others.
    """

    score: Float64
    place: Int64
    calm: Float64
    expected_of: Sequence[Float64]
    paces: Sequence[Float64]


def _residual(actual: Float64, expected: Float64, whole: NDArray[np.bool_]) -> Float64:
    """(keys,) what counts deviate by, of variance 1 where they are of chance; 0 but for whole."""
    rooted = np.sqrt(np.maximum(expected, LEAST_EXPECTED) + 0.375)
    residual: Float64 = np.where(whole, 2 * (np.sqrt(actual + 0.375) - rooted), 0.0)
    return residual


class Deviations:
    """Holds the last buckets of keys against what is usual. State: the tail of the scores.

    Attributes:
        judged: what the shortest width was held against last, to be looked at; None before that.
    """

    def __init__(self, config: BucketMonitorConfig) -> None:
        self.config = config
        self._bucket_ms = round(config.bucket * 1000)
        self._widths = sorted(set(config.widths))
        self._spreads = 1 - 0.5 ** (config.bucket / config.half_life)
        self._calms = 0.5 ** (1 / UNREST_HALF_LIFE)
        self._tail = RunningTail()
        self.judged: Judged | None = None

    def find(self, history: KeyHistory, end_ms: int, key_of: Callable[[int], str]) -> list[Finding]:
        """What the last buckets show, the key that is first in the alphabet first.

        Args:
            history: of the keys, with the bucket that has just closed; its dispersions and unrest
                are learnt.
            end_ms: end of that bucket.
            key_of: gives the key of a row.
        """
        rows = len(history)
        best, place = np.zeros(rows), np.zeros(rows, dtype=np.int64)
        restless = np.zeros(rows)
        calm = self._calm(history)
        expected_of: list[Float64] = []
        paces: list[Float64] = []
        for index, width in enumerate(self._widths):
            whole = history.run >= width
            actual = history.actual[:, -width:].sum(axis=1)
            usual = history.expected[:, -width:].sum(axis=1)
            root = np.sqrt(history.dispersion[:, index])
            pace = self._pace(actual, usual, whole)
            plain = _residual(actual, usual * pace, whole) / root
            # A key with an incident of its own would make the others look unusual.
            ordinary = whole & (np.abs(plain) < OUTLIER)
            if self.config.population and not ordinary[whole].all():
                pace = self._pace(actual, usual, ordinary)
                plain = _residual(actual, usual * pace, whole) / root
            expected_of.append(np.maximum(usual * pace, LEAST_EXPECTED))
            if not index:
                self.judged = Judged(expected_of[0], root * calm)
            paces.append(pace)
            if index < UNREST_WIDTHS:
                restless = np.maximum(restless, np.minimum(plain * plain, LARGEST_UNREST))
            score = self._of_side(plain / calm)
            better = score > best
            best, place = np.where(better, score, best), np.where(better, index, place)
            self._learn_dispersion(history, index, plain, whole)
        history.unrest = self._calms * history.unrest + (1 - self._calms) * restless
        return self._decide(history, _Best(best, place, calm, expected_of, paces), end_ms, key_of)

    def root(self, history: KeyHistory) -> Float64:
        """(keys,) what deviations of the shortest width would be divided by now."""
        root: Float64 = np.sqrt(history.dispersion[:, 0]) * self._calm(history)
        return root

    def _of_side(self, deviations: Float64) -> Float64:
        side = self.config.side
        if side == "both":
            return np.abs(deviations)
        return np.maximum(deviations if side == "high" else -deviations, 0.0)

    def _pace(self, actual: Float64, usual: Float64, whole: NDArray[np.bool_]) -> Float64:
        """(keys,) what the others did, over what was usual for them.

        Sums are exact (``fsum``), so that they do not depend on which row a key has.
        """
        if not self.config.population:
            return np.ones(len(actual))
        all_actual = math.fsum(actual[whole].tolist())
        all_usual = math.fsum(usual[whole].tolist())
        mine_actual, mine_usual = np.where(whole, actual, 0.0), np.where(whole, usual, 0.0)
        others = np.maximum(all_usual - mine_usual, 0.0) + OTHERS_EVENTS
        pace: Float64 = (all_actual - mine_actual + OTHERS_EVENTS) / others
        return pace

    def _calm(self, history: KeyHistory) -> Float64:
        """(keys,) root of the unrest of all others, at least 1."""
        rows = len(history.unrest)
        if not self.config.population:
            return np.ones(rows)
        scored = history.run > self._widths[0]
        total, count = math.fsum(history.unrest[scored].tolist()), int(scored.sum())
        mine = np.where(scored, history.unrest, 0.0)
        others = np.maximum(count - scored.astype(float), 0.0) + OTHERS_KEYS
        calm: Float64 = np.sqrt(np.maximum((total - mine + OTHERS_KEYS) / others, 1.0))
        return calm

    def _learn_dispersion(
        self, history: KeyHistory, index: int, plain: Float64, whole: NDArray[np.bool_]
    ) -> None:
        spread = history.dispersion[:, index]
        clipped = np.clip(plain, -CLIP, CLIP)
        moved = spread + self._spreads * (clipped * clipped * spread - spread)
        history.dispersion[:, index] = np.where(whole, np.maximum(moved, LEAST_DISPERSION), spread)

    def _decide(
        self, history: KeyHistory, best: _Best, end_ms: int, key_of: Callable[[int], str]
    ) -> list[Finding]:
        """Findings of the keys that begin an incident; scores are learnt."""
        threshold, share = self.threshold, self._share
        exceeded = best.score >= threshold
        begun = exceeded & (history.quiet >= QUIET_BUCKETS)
        begun |= exceeded & (best.score >= history.told + GROWN)
        history.told = np.where(begun, best.score, history.told)
        history.quiet = np.where(exceeded, 0.0, np.minimum(history.quiet + 1, QUIET_BUCKETS))
        found = []
        for row in np.flatnonzero(begun).tolist():
            index = int(best.place[row])
            width, expected = self._widths[index], float(best.expected_of[index][row])
            reach = (
                threshold
                * float(np.sqrt(history.dispersion[row, index]))
                * float(best.calm[row])
                / 2
            )
            root = math.sqrt(expected + 0.375)
            found.append(
                Deviation(
                    feature="events",
                    key=key_of(row),
                    start_ms=end_ms - width * self._bucket_ms,
                    end_ms=end_ms,
                    actual=int(history.actual[row, -width:].sum()),
                    expected=expected,
                    low=max(max(root - reach, 0.0) ** 2 - 0.375, 0.0),
                    high=(root + reach) ** 2 - 0.375,
                    pace=float(best.paces[index][row]),
                    score=float(best.score[row]),
                    threshold=threshold,
                    rarity=1 / self._tail.share_above(float(best.score[row])),
                    share=share,
                )
            )
        # In an order that no row number has a part in.
        self._tail.learn(np.sort(best.score[history.run >= self._widths[0]]))
        return sorted(found, key=lambda finding: finding.key)

    @property
    def _share(self) -> float | None:
        """The share of the buckets of a key that may be alerted."""
        budget = self.config.budget
        if budget is None or budget.per_second is None:
            return None
        return min(budget.per_second * self.config.bucket, 0.5)

    @property
    def threshold(self) -> float:
        """Deviations from which on an alert is raised."""
        share = self._share
        if share is None or self._tail.size < _FROM_SCORES:
            return self.config.deviations
        return max(self._tail.quantile(share), LEAST_THRESHOLD)

    def state(self) -> State:
        """The tail of the scores."""
        return self._tail.state()

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where it is no tail of scores."""
        self._tail.restore(state)
        self.judged = None
