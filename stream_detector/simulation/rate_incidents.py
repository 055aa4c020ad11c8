"""Incidents of rate planted into traffic: events of a key that fall out, or come twice.

An event that is left is as it was, and no label says anything: only how many there are is unusual.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_detector.simulation.traffic import Attack, Generated, Traffic

Kind: TypeAlias = Literal["rate_silence", "rate_half", "rate_double"]

_KINDS: tuple[tuple[Kind, float], ...] = (
    ("rate_silence", 3.0),
    ("rate_half", 8.0),
    ("rate_double", 3.0),
)
"""Kinds with their length in hours, which is cut where the stream is short."""

_QUIET_SHARE = 0.4
"""Share of the stream that has none: what is usual is learnt there."""

_LEAST_SHARE = 0.03
"""Share of the events that a key must have for its incidents to be more than chance."""

_HOUR_MS = 3_600_000


class RateIncidents(Iterator[Generated]):
    """Traffic with incidents of rate in its later part.

    State: that of the traffic, and what was planted so far.

    Attributes:
        planted: as the plan of attacks has them; ``events`` is how many fell out or were added.
    """

    def __init__(
        self,
        traffic: Traffic,
        count: int,
        span_ms: int,
        field: str | None,
        *,
        seed: int = 0,
        numbered: str | None = None,
    ) -> None:
        """Plant ``count`` incidents.

        Args:
            traffic: the stream, from its beginning.
            count: how many.
            span_ms: event time that the stream takes, about.
            field: whose values are the keys; None: all events together.
            seed: the same seed and traffic give the same bytes.
            numbered: field that numbers the events, so that no two have the same.
        """
        self.planted: list[Attack] = []
        self._traffic, self._field, self._numbered = traffic, field, numbered
        self._count, self._span_ms = count, span_ms
        self._random = np.random.default_rng([seed, 7])
        self._due: list[tuple[Attack, str]] = []
        self._events = 0
        self._begun = False

    @property
    def attacks(self) -> list[Attack]:
        """What the traffic itself has planted, and then what was planted here."""
        mine = (attack for attack in self.planted if attack.events)
        return [*self._traffic.attacks, *mine]

    def __iter__(self) -> RateIncidents:
        return self

    def __next__(self) -> Generated:
        while not len(batch := self._changed(next(self._traffic))):
            pass  # all of it fell out
        return batch

    def _changed(self, batch: Generated) -> Generated:
        """Return what is left of a batch, and what comes twice."""
        if not self._begun:
            self._begun = True
            self._plan(batch)
        times = np.ones(len(batch), dtype=np.int64)
        for number, (attack, key) in enumerate(self._due):
            if batch.time_ms[-1] < attack.start_ms or batch.time_ms[0] >= attack.end_ms:
                continue
            inside = (batch.time_ms >= attack.start_ms) & (batch.time_ms < attack.end_ms)
            changed = self._change(attack.kind, inside & self._of(batch, key), times)
            self.planted[number] = replace(
                self.planted[number], events=self.planted[number].events + changed
            )
        return self._numbers(batch if (times == 1).all() else _repeated(batch, times))

    def _plan(self, first: Generated) -> None:
        """Draw when and whom, as the first events say who there is."""
        random = self._random
        begin_ms = int(first.time_ms[0])
        quiet_ms = int(_QUIET_SHARE * self._span_ms)
        slot_ms = (self._span_ms - quiet_ms) // max(self._count, 1)
        keys = self._keys(first)
        for number in range(self._count):
            kind, hours = _KINDS[number % len(_KINDS)]
            length = min(int(hours * _HOUR_MS), slot_ms // 2)
            start = begin_ms + quiet_ms + number * slot_ms
            start += int(random.integers(0, max(slot_ms - length, 1)))
            key = str(random.choice(keys)) if keys else ""
            entity = f"{self._field} {key}" if self._field is not None else "all events"
            attack = Attack(number, kind, entity, start, start + length, 0)
            self._due.append((attack, key))
            self.planted.append(attack)

    def _keys(self, first: Generated) -> list[str]:
        if self._field is None:
            return []
        counts = Counter(map(str, first.columns[self._field]))
        heavy = [key for key, n in counts.items() if n >= _LEAST_SHARE * len(first)]
        return sorted(heavy) or [counts.most_common(1)[0][0]]

    def _of(self, batch: Generated, key: str) -> NDArray[np.bool_]:
        if self._field is None:
            return np.ones(len(batch), dtype=bool)
        return np.array([str(value) == key for value in batch.columns[self._field]], dtype=bool)

    def _change(self, kind: str, chosen: NDArray[np.bool_], times: NDArray[np.int64]) -> int:
        """Say how often each event comes; returns how many were changed."""
        rows = np.flatnonzero(chosen)
        if kind == "rate_half":
            rows = rows[self._random.random(len(rows)) < 0.5]  # noqa: PLR2004 - half of them
        times[rows] = 2 if kind == "rate_double" else 0
        return len(rows)

    def _numbers(self, batch: Generated) -> Generated:
        """Number the events anew, as they are written."""
        first, self._events = self._events, self._events + len(batch)
        if self._numbered is None:
            return batch
        numbers = range(first, first + len(batch))
        return replace(batch, columns={**batch.columns, self._numbered: numbers})


def _repeated(batch: Generated, times: NDArray[np.int64]) -> Generated:
    rows = np.repeat(np.arange(len(batch)), times)
    listed = rows.tolist()
    return Generated(
        slots=batch.slots,
        columns={name: [column[row] for row in listed] for name, column in batch.columns.items()},
        time_ms=batch.time_ms[rows],
        label=batch.label[rows],
        attack=batch.attack[rows],
        key=[batch.key[row] for row in listed],
    )
