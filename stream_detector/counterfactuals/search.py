"""The fewest changes that make an event ordinary, how far they must go, and whether it is true.

A call of the detector or two as a rule. First comes the lever that explains most, alone: at the end
of its usual range, in the event's own place of its block, with values all over that range beside
it. Where they hold, that is said; else it is taken as far as the way from its usual values to its
own holds, which was scored in the same call, and what is to be said of that is scored likewise
(``claims``). Where one does not do, sets of one, two and three levers are tried at their usual
values, and the smallest is taken as far as it goes. What does not hold is not said.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from stream_detector.counterfactuals.claims import Claim, Ordinary, Setting, rows_beside
from stream_detector.counterfactuals.levers import MOST_CHANGES, Lever
from stream_detector.counterfactuals.variants import Put, Variants

MOST_LEVERS = 6
_MARGIN = 1e-6
"""Part of the threshold that a score must lie below it: scores of a row in another place of a block
differ by less."""
_TARGETS = 2
_PAIRED, _TRIPLED = 3, 3
"""Levers of which two, and three, are tried together at once."""
_STEPS, _FINE_STEPS = 5, 9
"""Of the way of one of many sets, and where there is one lever alone."""

_Shape: TypeAlias = tuple[tuple[int, bool], ...]
"""For each lever how many targets it has, and whether it moves."""


class Effort(NamedTuple):
    """How much is tried: rows that the detector scores for it.

    Attributes:
        search: in the first call, of one lever.
        sets: in the first of several: with the ways of all sets, so that none of them takes a call
            of its own.
        further: where that finds nothing, and for the way of a set that it did not try.
        claim: in the last.
    """

    search: int
    sets: int
    further: int
    claim: int


BLOCKS = Effort(32, 96, 32, 32)
"""For detectors that score whole blocks."""
ROWS = Effort(20, 20, 8, 8)
"""For those whose cost goes by rows."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Some levers at a part of the way from a target to the event's own value.

    Attributes:
        levers: indices, in order.
        target: which of the targets of each.
        step: of ``steps`` on the way; 0 at the targets.
        steps: how many there are.
    """

    levers: tuple[int, ...]
    target: tuple[int, ...]
    step: int = 0
    steps: int = 0


def find_ordinary(
    variants: Variants, levers: Sequence[Lever], threshold: float, effort: Effort
) -> Ordinary | None:
    """The fewest changes that hold; None where none were found that do."""
    if not levers or not math.isfinite(threshold):
        return None
    return _Search(variants, levers, threshold - _MARGIN * abs(threshold), effort).found()


class _Search:
    def __init__(
        self, variants: Variants, levers: Sequence[Lever], bound: float, effort: Effort
    ) -> None:
        self._variants, self._levers = variants, levers
        self._bound, self._effort = bound, effort
        self._shape: _Shape = tuple((len(each.targets), each.moves) for each in levers)
        self._scores: dict[Attempt, float] = {}
        self._ways: dict[tuple[int, int, int], list[float]] = {}

    def found(self) -> Ordinary | None:
        """Look for it."""
        if len(self._levers) == 1:
            ordinary = self._first()
            if ordinary is not None:
                return ordinary
        else:
            self._score(_first_attempts(self._shape, self._effort.sets))
        chosen = self._chosen()
        if chosen is None:
            self._score(self._further_attempts())
            chosen = self._chosen()
        if chosen is None:
            return None
        edge = self._edge(chosen)
        if edge is None:
            self._score(_steps(self._shape, chosen, self._effort.further))
            edge = self._edge(chosen) or chosen
        claimed = self._claim(edge)
        if claimed is None and edge != chosen:
            claimed = self._claim(chosen)
        return claimed

    def _first(self) -> Ordinary | None:
        """What is said where the lever does at the end of what is usual; its way is scored too."""
        lever, own = self._levers[0], self._variants.place
        value = lever.targets[0] if lever.end is None else lever.end
        claim = Claim(self._levers, {0: value}, {0: lever.targets[0]}, self._effort.search // 3)
        attempts = _first_attempts(self._shape, self._effort.search - 1 - claim.count)
        rows = rows_beside(own, claim.count + len(attempts))
        puts = [
            *claim.puts(own, rows[: claim.count]),
            *self._puts(attempts, rows[claim.count :]),
        ]
        scores = self._variants.scores(max(own, len(rows)) + 1, puts)
        of_attempts = scores[rows[claim.count :]].tolist()
        self._scores.update(zip(attempts, of_attempts, strict=True))
        said = claim.outcome(scores.item(own), scores[rows[: claim.count]], self._bound)
        if said is None or (lever.moves and said.changes[0].equals is not None):
            return None  # the way may hold a range
        return said

    def _further_attempts(self) -> list[Attempt]:
        """The best pairs and singles, with one more."""
        at_targets = [each for each in self._scores if each.step == 0]
        attempts: dict[Attempt, None] = {}
        for size in (2, 1):
            of_size = [each for each in at_targets if len(each.levers) == size]
            for best in sorted(of_size, key=lambda each: self._scores[each])[:2]:
                for lever in range(len(self._levers)):
                    if lever not in best.levers:
                        pairs = sorted(zip((*best.levers, lever), (*best.target, 0), strict=True))
                        levers, target = zip(*pairs, strict=True)
                        attempts[Attempt(levers, target)] = None
        return [each for each in attempts if each not in self._scores][: self._effort.further]

    def _setting(self, attempt: Attempt) -> Setting:
        return {
            lever: self._value(lever, target, attempt)
            for lever, target in zip(attempt.levers, attempt.target, strict=True)
        }

    def _value(self, number: int, target: int, attempt: Attempt) -> object:
        lever = self._levers[number]
        if not (lever.moves and attempt.step):
            return lever.targets[target]
        way = self._ways.get((number, target, attempt.steps))
        if way is None:
            way = lever.steps(lever.targets[target], attempt.steps).tolist()
            self._ways[number, target, attempt.steps] = way
        return way[attempt.step - 1]

    def _score(self, attempts: Sequence[Attempt]) -> None:
        if attempts:
            puts = self._puts(attempts, range(len(attempts)))
            scores = self._variants.scores(len(attempts), puts)
            self._scores.update(zip(attempts, scores.tolist(), strict=True))

    def _puts(self, attempts: Sequence[Attempt], rows: Iterable[int]) -> list[Put]:
        """What makes the attempts in the rows."""
        places: dict[int, list[int]] = {}
        values: dict[int, list[object]] = {}
        for row, attempt in zip(rows, attempts, strict=True):
            for lever, target in zip(attempt.levers, attempt.target, strict=True):
                places.setdefault(lever, []).append(row)
                values.setdefault(lever, []).append(self._value(lever, target, attempt))
        return [Put(lever, of_lever, values[lever]) for lever, of_lever in places.items()]

    def _chosen(self) -> Attempt | None:
        """The smallest set that does, without a time where one does without."""
        good = [
            attempt
            for attempt, score in self._scores.items()
            if attempt.step == 0 and score < self._bound
        ]
        return min(good, key=self._dearness, default=None)

    def _dearness(self, attempt: Attempt) -> tuple[bool, int, int]:
        has_time = any(self._levers[lever].site.kind == "time" for lever in attempt.levers)
        return has_time, len(attempt.levers), sum(attempt.levers)

    def _edge(self, chosen: Attempt) -> Attempt | None:
        """How far the way goes on which all holds; None where it has not been tried."""
        if not any(self._levers[lever].moves for lever in chosen.levers):
            return chosen
        way = [
            attempt
            for attempt in self._scores
            if attempt.step and (attempt.levers, attempt.target) == (chosen.levers, chosen.target)
        ]
        if not way:
            return None
        edge = chosen
        for attempt in sorted(way, key=lambda each: each.step):
            if self._scores[attempt] >= self._bound:
                break
            edge = attempt
        return edge

    def _claim(self, edge: Attempt) -> Ordinary | None:
        targets = {
            lever: self._levers[lever].targets[target]
            for lever, target in zip(edge.levers, edge.target, strict=True)
        }
        claim = Claim(self._levers, self._setting(edge), targets, self._effort.claim)
        return claim.judged(self._variants, self._bound)


@functools.lru_cache(maxsize=512)
def _first_attempts(shape: _Shape, room: int) -> tuple[Attempt, ...]:
    count = len(shape)
    singles = [
        Attempt((lever,), (target,))
        for lever, (targets, _) in enumerate(shape)
        for target in range(min(targets, _TARGETS))
    ]
    singles.sort(key=lambda each: (each.levers[0] > 0 and each.target[0], each.levers[0]))
    sets = [
        Attempt(levers, (0,) * size)
        for size, most in ((2, _PAIRED), (MOST_CHANGES, _TRIPLED))
        for levers in itertools.combinations(range(min(count, most)), size)
    ]
    attempts = [*singles[: room // 3], *sets[: room // 4]]
    for attempt in [*singles, *sets]:
        steps = _steps(shape, attempt, _STEPS if count > 1 else _FINE_STEPS)
        if len(attempts) + len(steps) > room:
            break
        attempts += steps
    return tuple(attempts)


def _steps(shape: _Shape, attempt: Attempt, count: int) -> list[Attempt]:
    """The way from the targets to the event's own values, without its ends."""
    if not any(shape[lever][1] for lever in attempt.levers):
        return []
    return [Attempt(attempt.levers, attempt.target, step, count) for step in range(1, count + 1)]
