"""The journal's records that a shard has still to follow before live work begins."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from stream_detector.events import TopicPartition
from stream_detector.journal import JournalRecord, Range


class JournalReplay:
    """Says which step comes next, and holds each record's end against what came out.

    State: the records that are left, the place in the first of them (steps and ticks), a count.

    Attributes:
        records: to follow, in order.
        mismatches: replayed records whose fingerprint came out differently.
    """

    def __init__(self) -> None:
        self.records: deque[JournalRecord] = deque()
        self.mismatches = 0
        self._next_step = self._next_tick = 0

    def begin(self, records: Iterable[JournalRecord]) -> None:
        """Follow these; maybe none."""
        self.records = deque(records)
        self._next_step = self._next_tick = 0

    @property
    def step(self) -> tuple[Range, ...] | None:
        """The step that comes next; None at the end of a record."""
        steps = self.records[0].steps
        return steps[self._next_step] if self._next_step < len(steps) else None

    @property
    def tick_ms(self) -> int | None:
        """The time of the tick that comes before the next step; None where none does."""
        ticks = self.records[0].ticks
        if self._next_tick < len(ticks) and ticks[self._next_tick][0] <= self._next_step:
            return ticks[self._next_tick][1]
        return None

    @property
    def calendars(self) -> str | None:
        """The calendars that are in use from here on; None where they stay as they are."""
        record = self.records[0]
        if self._next_step or self._next_tick:
            return None
        # A state that began with none does not go by those that there are now.
        return "" if record.calendars is None and record.number == 1 else record.calendars

    def tick_done(self) -> None:
        """Event time has gone on to the tick."""
        self._next_tick += 1

    def step_done(self) -> None:
        """The step was processed."""
        self._next_step += 1

    def end_record(self, sequence: int, fingerprint: str) -> None:
        """The first record is done; the pipeline's number of events and fingerprint there."""
        record = self.records.popleft()
        self._next_step = self._next_tick = 0
        if (record.sequence, record.fingerprint) != (sequence, fingerprint):
            self.mismatches += 1

    def needs(self, source: TopicPartition, fetched: Mapping[TopicPartition, int]) -> bool:
        """Tell whether the step waits for a partition; ``fetched``: positions reached."""
        if not self.records or (step := self.step) is None:
            return False
        return any(each.source == source and fetched[source] < each.end for each in step)
