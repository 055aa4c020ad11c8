"""The journal's records that a shard has still to follow before live work begins."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from stream_detector.events import TopicPartition
from stream_detector.journal import JournalRecord, Range


class JournalReplay:
    """Says which step comes next, and holds each record's end against what came out.

    State: the records that are left, the place in the first of them, a count.

    Attributes:
        records: to follow, in order.
        mismatches: replayed records whose fingerprint came out differently.
    """

    def __init__(self) -> None:
        self.records: deque[JournalRecord] = deque()
        self.mismatches = 0
        self._next_step = 0

    def begin(self, records: Iterable[JournalRecord]) -> None:
        """Follow these; maybe none."""
        self.records = deque(records)
        self._next_step = 0

    @property
    def step(self) -> tuple[Range, ...] | None:
        """The step that comes next; None at the end of a record."""
        steps = self.records[0].steps
        return steps[self._next_step] if self._next_step < len(steps) else None

    def step_done(self) -> None:
        """The step was processed."""
        self._next_step += 1

    def end_record(self, sequence: int, fingerprint: str) -> None:
        """The first record is done; the pipeline's number of events and fingerprint there."""
        record = self.records.popleft()
        self._next_step = 0
        if (record.sequence, record.fingerprint) != (sequence, fingerprint):
            self.mismatches += 1

    def needs(self, source: TopicPartition, fetched: Mapping[TopicPartition, int]) -> bool:
        """Tell whether the step waits for a partition; ``fetched``: positions reached."""
        if not self.records or (step := self.step) is None:
            return False
        return any(each.source == source and fetched[source] < each.end for each in step)
