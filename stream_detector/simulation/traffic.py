"""Interface of the traffic generators: batches of columns, and the plan of what was planted."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.events import Int64

NO_ATTACK = -1
DAY_MS = 86_400_000
DAY_SECONDS = 86_400


@functools.cache
def clock() -> list[str]:
    """HH:MM:SS of each second of a day; made when first asked for, since every command imports."""
    return [f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(DAY_SECONDS)]


@dataclass(frozen=True, slots=True)
class Attack:
    """Something planted: what a detector should find.

    Attributes:
        id: number of the attack, from 0, as in ``Generated.attack``.
        kind: for example ``stolen_card`` or ``portsweep``.
        entity: whom it concerns, for example ``CUSTOMER_ID 17``.
        start_ms: event time of its first event.
        end_ms: event time of its last event.
        events: number of its events.
    """

    id: int
    kind: str
    entity: str
    start_ms: int
    end_ms: int
    events: int


@dataclass(slots=True)
class Generated:
    """A batch of events as columns, in the order of their time.

    Attributes:
        slots: for each field how it is written, a printf slot; a quoted one for text. The texts
            of the generators need no escaping.
        columns: for each field its values.
        time_ms: event time, milliseconds since 1970 UTC.
        label: int8, 1 where the event is part of an attack.
        attack: id of the ``Attack``, ``NO_ATTACK`` for normal traffic. Not in the event.
        key: what the record of each event is keyed by.
    """

    slots: Mapping[str, str]
    columns: Mapping[str, Sequence[Any]]
    time_ms: Int64
    label: NDArray[np.int8]
    attack: Int64
    key: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.time_ms)

    def take(self, rows: slice) -> Generated:
        """The events at ``rows``."""
        return Generated(
            slots=self.slots,
            columns={name: column[rows] for name, column in self.columns.items()},
            time_ms=self.time_ms[rows],
            label=self.label[rows],
            attack=self.attack[rows],
            key=self.key[rows],
        )

    def json_lines(self) -> list[bytes]:
        """Each event as a JSON object, without a line feed."""
        members = ",".join(f'"{name}":{slot}' for name, slot in self.slots.items())
        return self._format("{" + members + "}")

    def csv_lines(self) -> list[bytes]:
        """Each event as a row of CSV, without a line feed; ``csv_header`` names the columns."""
        return self._format(",".join(slot.strip('"') for slot in self.slots.values()))

    def csv_header(self) -> bytes:
        """Names of the columns of ``csv_lines``."""
        return ",".join(self.slots).encode()

    def _format(self, template: str) -> list[bytes]:
        columns = [self.columns[name] for name in self.slots]
        return [(template % row).encode() for row in zip(*columns, strict=True)]


class Traffic(Iterator[Generated]):
    """Batches of generated events, and what was planted in them so far.

    State: that of the generator, and ``attacks``, which grows by one small object an attack; an
    attack stands there before the first batch that holds one of its events is returned. With a
    ``count`` the last attacks may be cut off.
    """

    def __init__(
        self, batches: Iterator[Generated], attacks: Sequence[Attack], count: int | None
    ) -> None:
        self.attacks = attacks
        self._batches = batches
        self._left = count

    def __iter__(self) -> Traffic:
        return self

    def __next__(self) -> Generated:
        if self._left == 0:
            raise StopIteration
        batch = next(self._batches)
        if self._left is not None:
            if len(batch) > self._left:
                batch = batch.take(slice(0, self._left))
            self._left -= len(batch)
        return batch
