"""What was found of the planted incidents, and how much else, at a budget of false incidents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .departures import DAY, KEYS, MINUTES, Plant

BUDGETS = (1.0, 0.25)
"""False incidents a key and four weeks."""

BURN_IN = 59 * DAY
AFTER = 60
"""Minutes after an incident in which it may still be found."""

MERGED = 360
"""Minutes within which false alerts of a key are one incident."""

STORMS = frozenset((38, 39, 40, 66, 67))
HOLIDAYS = frozenset(
    (0, 20, 48, 146, 147, 184, 185, 243, 244, 331, 332, 333, 334, 357, 358, 359, 360, 364)
)
"""Days of the year about the federal holidays of the United States, where a calendar is known."""

Line = tuple[str, int, float]
"""Key, minute of the year and score of something found."""


class Scorer:
    """Scores what was found of some plants; ``calendar`` spares the holidays."""

    def __init__(self, plants: Iterable[Plant], lines: Iterable[Line], calendar: bool) -> None:
        self._plants = list(plants)
        spared = np.array(sorted(STORMS | (HOLIDAYS if calendar else frozenset())))
        self._minutes: dict[str, np.ndarray] = {}
        self._scores: dict[str, np.ndarray] = {}
        self._ordinary: dict[str, np.ndarray] = {}
        found = sorted(lines)
        for key in KEYS:
            own = [(minute, score) for each, minute, score in found if each == key]
            minutes = np.array([minute for minute, _ in own], dtype=int)
            ordinary = (minutes >= BURN_IN) & ~np.isin(minutes // DAY, spared)
            for plant in self._plants:
                if plant.key == key:
                    # What a leak has taught is unlearnt for two days, the other kinds for one.
                    end = plant.begin + plant.length + (2 if plant.kind == "leak" else 1) * DAY
                    ordinary &= ~((minutes >= plant.begin) & (minutes < end))
            self._minutes[key], self._ordinary[key] = minutes, ordinary
            self._scores[key] = np.array([score for _, score in own])

    def false(self, threshold: float) -> float:
        """False incidents a key and four weeks."""
        count = 0
        for key in KEYS:
            wrong = self._ordinary[key] & (self._scores[key] >= threshold)
            minutes = self._minutes[key][wrong]
            count += bool(len(minutes)) + int(np.count_nonzero(np.diff(minutes) > MERGED))
        return count / ((MINUTES - BURN_IN) / DAY / 28 * len(KEYS))

    def delays(self, threshold: float) -> dict[str, list[int | None]]:
        """For each kind, minutes after which each plant was found; None where it was not."""
        table: dict[str, list[int | None]] = {}
        for plant in self._plants:
            minutes = self._minutes[plant.key]
            hits = minutes[
                (self._scores[plant.key] >= threshold)
                & (minutes >= plant.begin)
                & (minutes <= plant.begin + plant.length + AFTER)
            ]
            table.setdefault(plant.kind, []).append(
                int(hits[0]) - plant.begin if len(hits) else None
            )
        return table

    def threshold(self, budget: float) -> float:
        """The lowest score whose false incidents stay within the budget."""
        levels = np.unique(np.concatenate([self._scores[key] for key in KEYS]))
        low, high = 0, len(levels)
        while low < high:
            middle = (low + high) // 2
            if self.false(float(levels[middle])) <= budget:
                high = middle
            else:
                low = middle + 1
        return float(levels[low]) if low < len(levels) else float("inf")

    def at(self, threshold: float) -> dict[str, Any]:
        """``found``, ``false``, and of each kind the number found and the median delay in hours."""
        found = {
            kind: [delay for delay in delays if delay is not None]
            for kind, delays in self.delays(threshold).items()
        }
        return {
            "found": sum(map(len, found.values())),
            "false": round(self.false(threshold), 3),
            "kinds": {kind: len(delays) for kind, delays in found.items()},
            "hours": {k: round(float(np.median(d)) / 60, 2) for k, d in found.items() if d},
        }


def score(plants: Iterable[Plant], lines: Iterable[Line], *, calendar: bool) -> dict[str, Any]:
    """For each budget, what is found at the lowest threshold that keeps it."""
    scorer = Scorer(plants, lines, calendar)
    return {f"{budget:g}": scorer.at(scorer.threshold(budget)) for budget in BUDGETS}
