"""Unwritten work of a shard in slices: a commit is one slice or several, one after another.

A slice ends at a place that is chosen while the shard works, with the state's fingerprint as of
there. So a commit that was too large for its time can be cut without asking what was computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from stream_detector.commits.alert_times import AlertTimes
from stream_detector.connectors.base import Commit
from stream_detector.events import TopicPartition
from stream_detector.journal import JournalAct, JournalRecord, Range, encode
from stream_detector.merge import Step
from stream_detector.messages import Outgoing, size_bytes

SLICE_BYTES = 256 * 1024
"""Under a producer quota of 20 kB/s half the default transaction timeout is enough for twice it."""

COMMIT_BYTES = 8 * 1024 * 1024
"""More of what waits than this is not committed at once, nor does the shard go on working."""

RANGE_BYTES = 300
SLICE_RANGES = 500
COMMIT_RANGES = 2000
"""A commit's journal record stays well below the 1 MiB that brokers take: a range takes less than
300 bytes, topics' names being at most 249 long."""

RELEASE_EVENTS = 1024
RELEASE_BYTES = SLICE_BYTES
"""So much is processed at once where many messages come of it: a slice is larger than its bound by
what comes of this at most."""

QUIET_TIMES = 4
"""So many times as much at once where hardly any message came of what was processed last: smaller
pieces cost up to a tenth more. Of the first ones that are not quiet more comes at once."""


Messages: TypeAlias = Mapping[str, Sequence[Outgoing]]
"""What is to be written, by what it is: a key of ``KafkaConfig.output_topics``."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of a shard's work.

    Attributes:
        messages: by what they are (``alerts``, say), those in event order.
        record: the journal's, with state as of the slice's end; its number is not known yet.
        offsets: next offset to process of each partition, after the slice.
        size_bytes: of the messages.
        times: when its events' alerts were decided on.
    """

    messages: Messages
    record: JournalRecord
    offsets: Mapping[TopicPartition, int]
    size_bytes: int
    times: Sequence[AlertTimes] = ()

    @property
    def ranges(self) -> int:
        """Number of ranges in the journal's record; what else it holds counts by its length."""
        schemas = sum(len(stored) for _, stored in self.record.schemas) // RANGE_BYTES
        record = self.record
        ranges = sum(map(len, record.steps)) + len(record.lost) + len(record.ticks)
        settings = len((record.calendars or "") + (record.incidents or "")) // RANGE_BYTES
        # Quotes within an act are escaped in the record.
        acts = sum(1 + 2 * len(act.text.encode()) // RANGE_BYTES for act in record.acts)
        return ranges + schemas + settings + acts + len(record.refused)


def release_bounds(sequence: int, partitions: int, *, quiet: bool) -> tuple[int, int]:
    """Return how many events, and bytes of records, to process at once.

    Whole chunks as far as may be: what is scored of a chunk in two parts is computed twice.

    Args:
        sequence: events processed; chunks end at multiples of theirs, a power of two.
        partitions: of the shard: as many ranges may come of it.
        quiet: whether hardly anything came of what was processed last.
    """
    times = QUIET_TIMES if quiet and partitions <= SLICE_RANGES else 1
    events = RELEASE_EVENTS * times
    left = events - sequence % events
    return (left if 2 * left > events else left + events), RELEASE_BYTES * times


class Backlog:
    """Work of a shard that is done and not written.

    State: closed slices, the open one's messages, and whether hardly any were added last.
    """

    def __init__(self) -> None:
        self.quiet = False
        self._messages: defaultdict[str, list[Outgoing]] = defaultdict(list)
        self._times: list[AlertTimes] = []
        self._closed: list[Slice] = []
        self.open_bytes = 0
        self.total_bytes = 0
        self.ranges = 0

    def add(self, messages: Messages, times: Sequence[AlertTimes] = ()) -> None:
        """Messages of what was just done; ``times`` of the events' alerts among them."""
        new = 0
        self._times += times
        for kind, some in messages.items():
            self._messages[kind] += some
            new += total_bytes(some)
        self.open_bytes += new
        self.total_bytes += new
        self.quiet = new * QUIET_TIMES < SLICE_BYTES

    def release_bounds(self, sequence: int, partitions: int) -> tuple[int, int]:
        """``release_bounds`` after what was added last."""
        return release_bounds(sequence, partitions, quiet=self.quiet)

    def slice_full(self, open_ranges: int) -> bool:
        """Tell whether the open slice, with so many ranges, is to be closed."""
        return self.open_bytes >= SLICE_BYTES or open_ranges >= SLICE_RANGES

    def commit_full(self, open_ranges: int) -> bool:
        """Tell whether all that waits fills a commit."""
        return self.total_bytes >= COMMIT_BYTES or self.ranges + open_ranges >= COMMIT_RANGES

    def close(self, record: JournalRecord, offsets: Mapping[TopicPartition, int]) -> None:
        """End the open slice."""
        closed = Slice(self._messages, record, offsets, self.open_bytes, self._times)
        self._closed.append(closed)
        self.ranges += closed.ranges
        self._messages, self._times, self.open_bytes = defaultdict(list), [], 0

    def take(self) -> list[Slice]:
        """All closed slices, once."""
        taken, self._closed = self._closed, []
        self.total_bytes, self.ranges = self.open_bytes, 0
        return taken


def journal_ranges(
    steps: Iterable[Step], journaled: dict[TopicPartition, int]
) -> tuple[tuple[Range, ...], ...]:
    """The journal's form of steps, each from where the one before has ended: ``journaled``."""
    taken: list[tuple[Range, ...]] = []
    for step in steps:
        ranges = tuple(
            Range(source, journaled[source], end)
            for source, end in sorted(step.items())
            if end > journaled[source]
        )
        journaled.update({r.source: r.end for r in ranges})
        if ranges:
            taken.append(ranges)
    return tuple(taken)


def total_bytes(messages: Collection[Outgoing]) -> int:
    """An upper bound of what the client sends of them."""
    return sum(map(size_bytes, messages))


def fitting(slices: Sequence[Slice]) -> int:
    """Return how many of the first slices fit a commit's bounds: one at the least."""
    size = ranges = 0
    for count, one in enumerate(slices):
        size += one.size_bytes
        ranges += one.ranges
        if count and (size > COMMIT_BYTES or ranges > COMMIT_RANGES):
            return count
    return len(slices)


def composed(slices: Sequence[Slice], number: int, topics: Mapping[str, str]) -> Commit:
    """Compose one commit of slices that follow one another (at least one).

    Args:
        slices: what it holds.
        number: of the journal's record.
        topics: as ``KafkaConfig.output_topics``; messages without one are left out.
    """
    last = slices[-1]
    record = replace(
        last.record,
        number=number,
        steps=tuple(step for one in slices for step in one.record.steps),
        lost=tuple(lost for one in slices for lost in one.record.lost),
        schemas=tuple(schema for one in slices for schema in one.record.schemas),
        refused=tuple(refusal for one in slices for refusal in one.record.refused),
        ticks=tuple(_ticks(slices)),
        acts=tuple(_acts(slices)),
        # They are others after a start alone: of the slices of a commit, the first says so.
        calendars=slices[0].record.calendars,
        incidents=slices[0].record.incidents,
    )
    messages = [
        (topic, [message for one in slices for message in one.messages.get(kind, ())])
        for kind, topic in topics.items()
    ]
    return Commit(messages, encode(record), last.offsets)


def _ticks(slices: Sequence[Slice]) -> Iterator[tuple[int, int]]:
    """Give the ticks of slices, with the steps of all of them counted through."""
    before = 0
    for one in slices:
        for after, time_ms in one.record.ticks:
            yield before + after, time_ms
        before += len(one.record.steps)


def _acts(slices: Sequence[Slice]) -> Iterator[JournalAct]:
    """Give the acts of slices likewise, and with the ticks counted through."""
    steps = ticks = 0
    for one in slices:
        for act in one.record.acts:
            yield act._replace(steps=steps + act.steps, ticks=ticks + act.ticks)
        steps += len(one.record.steps)
        ticks += len(one.record.ticks)
