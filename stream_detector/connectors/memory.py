"""A source without an outside world: records that are at hand, cut as one likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stream_detector.connectors.base import Fetched
from stream_detector.events import Record, TopicPartition


class MemorySource:
    """Several partitions of records in memory, each list being that partition's whole log.

    State: the next index of each partition, the set of paused ones and, with a seed, a random
    generator. Holds the caller's lists, not copies.
    """

    def __init__(
        self,
        records_by_partition: Mapping[TopicPartition, Sequence[Record]],
        max_poll_records: int,
        seed: int | None = None,
    ) -> None:
        """Without ``seed``, polls are full and partitions take turns.

        With one, every poll has a random size and takes from partitions in random order and
        amount: what promises not to depend on the cuts must come out the same under every seed.
        """
        self._logs = dict(sorted(records_by_partition.items()))
        self._next = dict.fromkeys(self._logs, 0)
        self._paused: set[TopicPartition] = set()
        self._max_poll_records = max_poll_records
        self._random = None if seed is None else np.random.default_rng(seed)
        self._turn = 0

    def poll(self, timeout_seconds: float) -> list[Fetched]:  # noqa: ARG002 - never has to wait
        """As ``Source.poll``; with a seed it may be empty before the end, as Kafka's may."""
        left = self._max_poll_records
        if self._random is not None:
            left = int(self._random.integers(0, left + 1))
        fetched: list[Fetched] = []
        for source in self._order():
            start = self._next[source]
            count = min(left, len(self._logs[source]) - start)
            if self._random is not None and count:
                count = int(self._random.integers(0, count + 1))
            if count:
                fetched.append(Fetched(source, self._logs[source][start : start + count]))
                self._next[source] += count
                left -= count
        return fetched

    def _order(self) -> list[TopicPartition]:
        """Partitions that may be read, the favoured one first."""
        sources = list(self._logs)
        if self._random is not None:
            sources = [sources[index] for index in self._random.permutation(len(sources))]
        elif sources:
            self._turn = (self._turn + 1) % len(sources)
            sources = sources[self._turn - 1 :] + sources[: self._turn - 1]
        return [source for source in sources if source not in self._paused]

    def pause(self, source: TopicPartition) -> None:
        """Bring nothing of this partition until it is resumed."""
        self._paused.add(source)

    def resume(self, source: TopicPartition) -> None:
        """Bring records of this partition again."""
        self._paused.discard(source)

    def position(self, source: TopicPartition) -> int:
        """Offset of the next record that a poll would bring of this partition."""
        log, index = self._logs[source], self._next[source]
        return log[index].offset if index < len(log) else self.end_offset(source)

    def end_offset(self, source: TopicPartition) -> int:
        """Offset after the partition's last record: 0 for an empty one."""
        log = self._logs[source]
        return log[-1].offset + 1 if log else 0

    def exhausted(self) -> bool:
        """Tell whether every partition stands at its end."""
        return all(self._next[source] == len(log) for source, log in self._logs.items())

    def close(self) -> None:
        """Nothing to give back."""
