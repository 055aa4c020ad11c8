"""A source and an output for running the daemon inside one process, without a broker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stream_detector.connectors.base import Commit, Fetched, Rebalance
from stream_detector.errors import ConnectorError
from stream_detector.events import Record, TopicPartition
from stream_detector.messages import Outgoing


class EmbeddedSource:
    """Partitions fed by a generator; assigned all at once, from offset 0.

    State: the next poll's records (one batch of the generator), offsets, the committed ones.
    """

    def __init__(self, partitions: int, batches: Iterable[Mapping[int, Sequence[Record]]]) -> None:
        """``batches`` yields, for each poll, the records of each partition in offset order."""
        self._batches: Iterator[Mapping[int, Sequence[Record]]] = iter(batches)
        self._partitions = [TopicPartition("events", p) for p in range(partitions)]
        self._ends = dict.fromkeys(self._partitions, 0)
        everything = frozenset(self._partitions)
        self._rebalance: Rebalance | None = Rebalance(everything, everything, lost=False)
        self._paused: set[TopicPartition] = set(self._partitions)
        self._committed: dict[TopicPartition, int] = {}
        self._exhausted = False

    def poll(self, timeout_seconds: float) -> list[Fetched]:
        """The generator's next batch; [] while a partition is paused or the assignment is new."""
        del timeout_seconds  # the generator decides about its pace
        if self._paused or self._exhausted:
            return []
        batch = next(self._batches, None)
        if batch is None:
            self._exhausted = True
            return []
        fetched = [
            Fetched(self._partitions[p], records) for p, records in sorted(batch.items()) if records
        ]
        for one in fetched:
            self._ends[one.source] = one.records[-1].offset + 1
        return fetched

    def exhausted(self) -> bool:
        """Tell whether the generator has ended."""
        return self._exhausted

    def unreadable(self) -> Mapping[TopicPartition, ConnectorError]:
        """None: records are made here."""
        return {}

    def open_transaction(self, source: TopicPartition) -> str:
        """Nobody's."""
        del source
        return ""

    def take_rebalance(self) -> Rebalance | None:
        """Return the one assignment, once."""
        noted, self._rebalance = self._rebalance, None
        return noted

    def rebalance_near(self) -> bool:
        """Never: there is nobody else."""
        return False

    def membership(self) -> Any:
        """A group of one."""
        return "embedded"

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Let the partitions flow; there is nothing to go back to."""
        self._paused.difference_update(positions)

    def pause(self, source: TopicPartition) -> None:
        """Bring nothing until it is resumed: the generator's batches cannot be split."""
        self._paused.add(source)

    def resume(self, source: TopicPartition) -> None:
        """Go on."""
        self._paused.discard(source)

    def position(self, source: TopicPartition) -> int:
        """Offset of the next record."""
        return self._ends[source]

    def log_end(self, source: TopicPartition) -> int:
        """The same: what was generated was delivered."""
        return self._ends[source]

    def missing(self, sources: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Nothing of it ever is."""
        del sources
        return set()

    def without_leader(self, sources: Iterable[TopicPartition]) -> set[TopicPartition]:
        """None: there are no brokers."""
        del sources
        return set()

    def known_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """None: there are no brokers."""
        del topics
        return {}

    def missing_topics(self) -> list[str]:
        """Nothing of it ever is."""
        return []

    def ask_ends(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Offsets of the next records."""
        return {source: self._ends[source] for source in sources}

    def ask_beginnings(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Zero: nothing is ever deleted."""
        return dict.fromkeys(sources, 0)

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """None: these topics live as long as this object."""
        del topics
        return {}

    def committed(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return what ``commit`` was given."""
        return {s: self._committed[s] for s in sources if s in self._committed}

    def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Remember the offsets."""
        self._committed.update(offsets)
        return True

    def close(self) -> None:
        """Nothing to give back."""


class CollectingOutput:
    """Keeps the last messages of each topic. Bounded by ``keep`` a topic; the oldest go first."""

    atomic = True

    def __init__(self, source: EmbeddedSource, keep: int = 100_000) -> None:
        """``source`` is told the offsets that are committed."""
        self._source = source
        self._keep = keep
        self.messages: dict[str, list[Outgoing]] = {}

    def open(self) -> None:
        """Memory needs no opening."""

    def commit(self, commit: Commit, membership: Any) -> int:
        """Keep messages and offsets; there is no journal."""
        del membership
        for topic, messages in commit.messages:
            kept = self.messages.setdefault(topic, [])
            kept.extend(messages)
            del kept[: -self._keep]
        self._source.commit(commit.offsets)
        return -1

    def close(self) -> None:
        """Nothing to give back."""
