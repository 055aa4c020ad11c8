"""What is to be said of an event, scored in its own place, with values all over the range named."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_detector.counterfactuals.levers import Lever
from stream_detector.counterfactuals.variants import Put, Variants
from stream_detector.events import Float64

_SPREAD = (0.7548776662466927, 0.5698402909980532, 0.3247179572447460)
"""Powers of the inverse of the plastic number: multiples of them, modulo 1, fill a box evenly
(Roberts 2018, "The unreasonable effectiveness of quasirandom sequences")."""

Setting: TypeAlias = Mapping[int, Any]
"""A value for each of some levers, by their index."""
_Ends: TypeAlias = dict[int, Any]
"""By lever the other end of the range that begins at its value; None: that of what was seen."""


@dataclass(frozen=True, slots=True)
class Change:
    """A lever and what is said of it: one value, or a range that is open to one side or none."""

    lever: Lever
    equals: Any = None
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True)
class Ordinary:
    """What would have made the event ordinary.

    Attributes:
        changes: at most three.
        score: what the event has with them.
    """

    changes: tuple[Change, ...]
    score: float


class Claim:
    """A setting of levers that is to be said, with the ranges that may be named for it.

    With one number that moves, the range goes from its value away from the event's own to the end
    of what was seen, or as far as all values tried on the way hold, if that is past what is usual.
    With several it is a box: to the ends of what was seen, or else to what is usual.
    """

    def __init__(
        self, levers: Sequence[Lever], setting: Setting, targets: Setting, room: int
    ) -> None:
        """Lay out what is to be tried.

        Args:
            levers: of the event.
            setting: the value of each lever that is changed.
            targets: what is usual of each of them.
            room: variants to score, at most.
        """
        self._levers, self._setting, self._targets = levers, setting, targets
        self._moving = [number for number in setting if levers[number].moves]
        self._ranges: list[tuple[_Ends, dict[int, Float64]]] = []
        if len(self._moving) == 1:
            number = self._moving[0]
            self._ranges = [({}, {number: self._line(number, room - 1)})]
        elif self._moving:
            seen = {number: self._end_of_seen(number) for number in self._moving}
            usual = {number: targets[number] for number in self._moving}
            self._ranges = [
                (dict.fromkeys(self._moving), self._box(seen, (room - 1) // 2)),
                (usual, self._box(usual, (room - 1) // 2)),
            ]

        self._tried = {
            number: np.concatenate([values[number] for _, values in self._ranges])
            for number in self._moving
        }
        self.count = len(self._tried[self._moving[0]]) if self._moving else 0

    def judged(self, variants: Variants, bound: float) -> Ordinary | None:
        """Score it; None where it does not hold in the event's own place.

        Args:
            variants: of the event.
            bound: what scores must lie below.
        """
        others = rows_beside(variants.place, self.count)
        scores = variants.scores(
            max(self.count, variants.place) + 1, self.puts(variants.place, others)
        )
        return self.outcome(scores.item(variants.place), scores[others], bound)

    def puts(self, own: int, others: NDArray[np.intp]) -> list[Put]:
        """What is to be scored: the setting in the row ``own``, what is tried in ``others``."""
        puts = [
            Put(number, [own], value)
            if number in self._tried
            else Put(number, [own, *others], value)
            for number, value in self._setting.items()
        ]
        return puts + [Put(number, others, values) for number, values in self._tried.items()]

    def outcome(self, score: float, scores: Float64, bound: float) -> Ordinary | None:
        """What may be said; None where the event's own row, which has ``score``, does not hold."""
        if not score < bound:
            return None
        ends = self._ends(scores < bound)
        return Ordinary(tuple(self._change(number, ends) for number in self._setting), score)

    def _ends(self, held: NDArray[np.bool_]) -> _Ends:
        """The ends of the ranges that may be named."""
        begin = 0
        for ends, values in self._ranges:
            number = self._moving[0]
            of_range = held[begin : begin + len(values[number])]
            begin += len(of_range)
            if len(self._moving) == 1:
                return self._end_of_line(number, values[number], of_range)
            if of_range.all():
                return ends
        return {}

    def _end_of_line(self, number: int, values: Float64, held: NDArray[np.bool_]) -> _Ends:
        if held.all():
            return {number: None}
        run = int(np.argmin(held))
        if not run:
            return {}
        last, edge = values.item(run - 1), self._setting[number]
        return {number: last} if abs(last - edge) >= abs(self._targets[number] - edge) else {}

    def _change(self, number: int, ends: _Ends) -> Change:
        lever, value = self._levers[number], self._setting[number]
        end = ends.get(number, value)
        if end == value:
            return Change(lever, equals=value)
        if lever.actual > value:
            return Change(lever, at_least=end, at_most=value)
        return Change(lever, at_least=value, at_most=end)

    def _line(self, number: int, room: int) -> Float64:
        """Values from the edge to the farther end of what was seen, in this order."""
        lever, edge, end = self._levers[number], self._setting[number], self._end_of_seen(number)
        if lever.whole and abs(end - edge) <= room:
            steps: Float64 = np.arange(1.0, abs(end - edge) + 1)
            values: Float64 = edge + math.copysign(1.0, end - edge) * steps
            return values
        return lever.values(edge, end, np.arange(1, room + 1) / room)

    def _end_of_seen(self, number: int) -> float:
        """The end of what was seen that lies away from the event's own value."""
        lever = self._levers[number]
        return lever.low if lever.actual > self._setting[number] else lever.high

    def _box(self, ends: _Ends, room: int) -> dict[int, Float64]:
        """Corners of the box from the setting to ``ends``, and points in it."""
        points = _points(len(self._moving), room)
        return {
            number: self._levers[number].values(self._setting[number], ends[number], parts)
            for number, parts in zip(self._moving, points, strict=True)
        }


def rows_beside(own: int, count: int) -> NDArray[np.intp]:
    """(count,) the first rows but for ``own``."""
    rows = np.arange(count)
    return rows + (rows >= own)


@functools.lru_cache(maxsize=16)
def _points(count: int, room: int) -> tuple[Float64, ...]:
    """(room,) parts of the way along each of some sides of a box: its corners first."""
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=count))[1:])
    inside = (0.5 + np.arange(room - len(corners))[:, None] * np.array(_SPREAD[:count])) % 1.0
    return tuple(np.concatenate([corners, inside]).T.copy())
