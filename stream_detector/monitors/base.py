"""What every monitor declares, is given and gives: its settings, columns of events, findings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.calendars import NO_CALENDARS, CalendarConfig, Calendars
from stream_detector.events import Float64, Int64, State
from stream_detector.monitors.bands import Bands, MonitorFigures
from stream_detector.monitors.conditions import ConditionConfig
from stream_detector.parameters import FieldName, Model
from stream_detector.tables.keys import KeyTable
from stream_detector.tables.lookups import Lookups

NO_KEYS: Mapping[str, Any] = {}


class MonitorConfig(Model):
    """Settings that every monitor has.

    A subclass gives ``kind`` as a ``Literal`` with a default; its docstring begins what the
    reference says of it.
    """

    told: ClassVar[frozenset[str]] = frozenset()
    """Settings that only say which findings are alerted: states fit whatever they are."""

    kind: str
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,64}$")] = Field(
        description="Name of the monitor; appears in alerts."
    )
    key: FieldName | None = Field(
        None, description="Field by whose values events are counted; without it, all together."
    )
    where: Annotated[list[ConditionConfig], Field(min_length=1, max_length=16)] | None = Field(
        None,
        description="Conditions that an event must meet, all of them, to be counted. Time goes on "
        "with the others, too.",
    )

    calendars: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=16)] = Field(
        default_factory=list,
        description="Names of `calendars` that it goes by; of several that say what to expect the "
        "first counts.",
    )

    def check_calendar(self, calendar: CalendarConfig) -> None:
        """Refuse a calendar that asks for what such a monitor does not do, with ``ValueError``."""
        if "learning" in calendar.skip or calendar.expect is not None or calendar.like is not None:
            raise ValueError(
                f"monitors: {self.kind} goes by calendars with `skip: [alert]` alone; "
                f"{calendar.name} asks for more"
            )

    @property
    def text_fields(self) -> tuple[str, ...]:
        """Fields that the monitor reads as text, its key and those of ``where`` among them."""
        own = () if self.key is None else (self.key,)
        return own + tuple(each.field for each in self.where or () if each.reads_text)

    @property
    def number_fields(self) -> tuple[str, ...]:
        """Fields that the monitor reads as numbers, those of ``where`` among them."""
        return tuple(each.field for each in self.where or () if each.reads_number)

    def counted(self, events: MonitorEvents) -> MonitorEvents:
        """Leave the events as they are, but for which of them count: those that ``where`` names."""
        if self.where is None:
            return events
        met = [each.holds(events.text, events.numbers) for each in self.where]
        return replace(events, counted=np.logical_and.reduce(met))


@dataclass(frozen=True, slots=True)
class MonitorEvents:
    """Events as columns, in the order of processing; read by the monitors of a configuration.

    Attributes:
        times_ms: (events,) time of each.
        marks_ms: (events,) the stream's watermark after each; negative while nobody knows it.
        partitions: (events,) topic and partition of each, as ``TopicPartition``, dtype object.
        text: columns of the fields read as text, by field: lists of str, or None where missing.
        numbers: (events,) columns of the fields read as numbers, by field; NaN where missing.
        counted: (events,) which of them the monitor counts; None: all. Time goes on with all.
        lookups: of the keys that others have looked up, or will.
    """

    times_ms: Int64
    marks_ms: Int64
    partitions: NDArray[np.object_] = field(default_factory=lambda: np.empty(0, dtype=object))
    text: Mapping[str, Sequence[str | None]] = field(default_factory=lambda: NO_KEYS)
    numbers: Mapping[str, Float64] = field(default_factory=lambda: NO_KEYS)
    counted: NDArray[np.bool_] | None = None
    lookups: Lookups | None = None

    def keys(self, name: str | None) -> Sequence[str | None] | None:
        """The column of keys, None where an event has none or is not counted.

        Where a monitor takes all events together: empty texts, or no column where all are counted.
        """
        if self.counted is None:
            return None if name is None else self.text[name]
        column = repeat("") if name is None else self.text[name]
        return [
            key if counts else None
            for key, counts in zip(column, self.counted.tolist(), strict=False)
        ]

    def without_key(self, name: str | None, first: int = 0) -> int:
        """How many events from a row on are to be counted and have no key."""
        if name is None or None not in self.text[name]:
            return 0
        missing = [row for row, key in enumerate(self.text[name]) if key is None and row >= first]
        return len(missing) if self.counted is None else int(self.counted[missing].sum())

    def __len__(self) -> int:
        return len(self.times_ms)


@dataclass(frozen=True, slots=True)
class Finding(ABC):
    """Something that a monitor has found, about a key and a stretch of event time.

    Attributes:
        key: the key; empty where all events are taken together.
        start_ms: beginning of the stretch of event time looked at.
        end_ms: its end.
        score: how far it is from the usual, larger is stranger.
        threshold: the score from which on an alert is raised.
        rarity: one in how many of what the monitor judges has such a score.
        share: the share of it that may be alerted; None without a budget.
    """

    key: str
    start_ms: int
    end_ms: int
    score: float
    threshold: float
    rarity: float
    share: float | None

    @property
    def distinction(self) -> str:
        """What tells it from another of the same key and start; the last part of the alert's id."""
        return ""

    @abstractmethod
    def reasons(self) -> list[dict[str, Any]]:
        """Entries of the alert's ``reasons``, the one that weighs most first; at least one.

        Each has ``feature``, ``value`` and ``share``, and where they say something ``deviations``
        (signed), ``usual`` (the band) and ``text`` (a sentence).
        """

    @abstractmethod
    def details(self) -> dict[str, Any]:
        """What the alert's ``monitor`` says beside name, field, key, start and end."""


class Monitor(ABC):
    """Watches a stream of events, by key or all together.

    Results hang on the events, their order and the watermarks alone, never on how the stream is
    cut into calls. What is remembered is bounded by the settings.

    Attributes:
        config: its settings.
        without_key: events that had no key, and were not counted.
        closed: buckets, or what else it judges at a time, closed since it was built or restored.
        watcher: called at the end of each, with that and with what was found; no part of the state.
        uncounted: events that were counted, or waited for their time, when the watermark was set
            back, and count no more.
        skipped: stretches (buckets, say) within a very long silence that were passed over.
        calendars: what days are others than usual; no part of the state.
        unusable: events that had a key, and were not counted or judged for want of another field.
        muted: findings left out because of a calendar, since it was built; no part of the state. A
            monitor that mutes itself has none in the first place.
        follows: whether it says in ``returned`` when what it has found is over.
        returned: rows of the events of the last call (0 of a tick) and the keys that were back with
            each, in the order of the rows; no part of the state.
    """

    Config: ClassVar[type[MonitorConfig]]
    mutes_itself: ClassVar[bool] = False
    """Whether it goes by its calendars itself; else what it finds in their times is left out."""
    finds_lasting: ClassVar[bool] = False
    """Whether what it finds goes on until the key is back; else a finding is about one event."""

    config: MonitorConfig
    _keys: KeyTable
    without_key: int
    closed: int = 0
    watcher: Callable[[int, Sequence[Finding]], None] | None = None
    uncounted: int = 0
    skipped: int = 0
    calendars: Calendars = NO_CALENDARS
    unusable: int = 0
    muted: int = 0
    follows: bool = False
    returned: Sequence[tuple[int, str]] = ()

    @abstractmethod
    def take(self, events: MonitorEvents) -> list[tuple[int, list[Finding]]]:
        """Take events in.

        Returns:
            For each event with which something was found its row and that, rows ascending.
        """

    @abstractmethod
    def tick(self, mark_ms: int) -> list[Finding]:
        """Time has come to ``mark_ms`` without an event; what that shows."""

    @property
    @abstractmethod
    def due_ms(self) -> int | None:
        """The first time at which a tick would change anything; None where none would."""

    @abstractmethod
    def restart(self, mark_ms: int) -> None:
        """Go on at ``mark_ms``: the watermark had been wrong and lies before what was counted."""

    @property
    def keys(self) -> int:
        """Keys remembered."""
        return len(self._keys)

    @property
    def evicted(self) -> int:
        """Keys forgotten for want of room."""
        return self._keys.evicted

    @property
    def judged(self) -> int:
        """Keys of which so much is known that something can be said of them."""
        return self.keys

    def figures(self) -> MonitorFigures:
        """Return what is looked at from outside; changes nothing."""
        return MonitorFigures(
            self.closed,
            self.keys,
            self.judged,
            self.evicted,
            self.without_key + self.unusable,
            self.muted,
        )

    def heaviest(self, count: int) -> list[str]:
        """Return the keys with most of what is counted of late, the first of them first.

        Empty where there is nothing to be drawn.
        """
        del count
        return []

    def bands(self, keys: Sequence[str], buckets: int) -> Bands | None:
        """Return what keys did in the last buckets beside what was expected; changes nothing.

        Args:
            keys: those not remembered are left out.
            buckets: at most so many, as far as the memory reaches.

        Returns:
            None where nothing is counted in buckets.
        """
        del keys, buckets
        return None

    def known_of(self, key: str) -> list[str]:
        """Return what is known of a key in sentences, where it is not drawn; changes nothing.

        Empty where nothing is remembered of it. Texts of events stand in them as they came.
        """
        del key
        return []

    @abstractmethod
    def state(self) -> State:
        """Everything that events have changed."""

    @abstractmethod
    def restore(self, state: State, mark_ms: int) -> None:
        """Take the state in; ``mark_ms`` is the watermark that goes with it.

        Raises ``StateMismatchError`` where it is none of such a monitor.
        """
