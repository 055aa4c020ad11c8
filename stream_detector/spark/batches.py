"""What is done with each batch on the driver: decide, learn, keep the state, commit.

In this order, with the failpoint at each step:

1. the plan runs: features by key, scores by the version of the batch before (``spark_scored``);
2. the batch is decided and learnt, and the state after it is written beside those before, under
   the batch's number (``spark_kept``);
3. alerts, dead letters, incidents, offsets and the journal's record, with the query, the batch's
   number and the digest of that state, are one transaction (those of ``commits.committer``);
4. Spark notes that the batch is done (``spark_committed`` before it).

After a crash Spark runs the last batch again. Where the journal has its number, its states by key
are computed again, which Spark needs, and nothing is learnt or written.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from stream_detector.batches.head import Head
from stream_detector.batches.packing import unpack
from stream_detector.commits.committer import Committer
from stream_detector.commits.journal_chain import Chain, Kind
from stream_detector.commits.slices import Slice, journal_ranges, total_bytes
from stream_detector.config.derived.fingerprint import (
    state_differences,
    state_fingerprint,
    state_shape,
)
from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.base import Journal
from stream_detector.errors import StateError
from stream_detector.events import State, TopicPartition
from stream_detector.failpoints import failpoint
from stream_detector.journal import JournalRecord
from stream_detector.lanes import lanes_state
from stream_detector.pipeline import BatchResult
from stream_detector.snapshots import Snapshot, SnapshotStore, decode, encode
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

Scored = Callable[[bytes], Sequence[tuple[int, bytes]]]
"""Runs a batch with a version of the model: number and bytes of each part, -1 for the whole."""

_PAUSE_SECONDS = 0.05


class Batches:
    """Takes batches in their order, each once.

    State: the head's, and where journal and input stand.

    Attributes:
        head: decides and learns.
        done: number of the last batch in the journal; -1 before the first.
        opened: whether ``open`` was called.
        taken: offsets of the last batch, by partition, how many.
    """

    def __init__(
        self,
        config: Config,
        kafka: KafkaConfig,
        committer: Committer,
        journal: Journal,
        store: SnapshotStore,
        metrics: Metrics,
        membership: Any,
    ) -> None:
        """``membership``: the group's metadata, that offsets are committed by."""
        self._config, self._kafka, self._metrics = config, kafka, metrics
        self._committer, self._journal, self._store = committer, journal, store
        self._membership = membership
        self._query = ""
        self._ranges: tuple[tuple[Any, ...], ...] = ()
        self.head = Head(config, metrics.stage)
        self.done = -1
        self.opened = False
        self.taken: dict[TopicPartition, int] = {}

    def open(self, query: str) -> None:
        """Take over from whoever wrote before, and go on where the journal stands.

        ``query``: id of Spark's checkpoint.

        Raises ``StateError`` where the journal is a daemon's, or of another checkpoint, or the
        state that it names is not there.
        """
        self._query, self.opened, self.done = query, True, -1
        self.head = Head(self._config, self._metrics.stage)
        self._committer.open()
        first, end = self._journal.bounds(0)
        chain = Chain(self._kafka.group, 0, None, "", {})
        for offset, value in self._journal.read(0, first):
            chain.take(offset, value)
        if any(one.kind is Kind.FORK for one in chain.passed):
            raise StateError(f"two workers have written to {self._kafka.journal_topic}")
        if not chain.held:
            if any(position > 1 for position in self._store.positions()):
                raise StateError(
                    f"{self._kafka.journal_topic} holds nothing, and state.directory holds states "
                    "of batches: the journal is lost, or the directory is another group's"
                )
            self._committer.go_on(0, end, "", {})
            return
        record = chain.held[-1].record
        if record.batch is None:
            raise StateError(
                f"the group {self._kafka.group} is a daemon's: its journal has no batches. Name "
                "another kafka.group for Spark"
            )
        known, self.done, digest = record.batch
        if known != query:
            raise StateError(
                f"the journal of {self._kafka.group} goes on from another checkpoint ({known}, "
                f"this one is {query}): what is known of each key lies there. Go on with that one, "
                "or name another kafka.group and begin with an untrained model"
            )
        self._ranges = record.steps
        self._committer.go_on(record.number, end, chain.link, chain.ends)
        self._restore(digest)

    def _restore(self, digest: str) -> None:
        if self.done + 1 not in self._store.positions():
            raise StateError(
                f"state.directory does not hold the state after batch {self.done}, which the "
                "journal names: bring the directory back"
            )
        snapshot = decode(self._store.read(self.done + 1))
        if snapshot.meta.get("digest") != digest:
            raise StateError(
                f"the state after batch {self.done} is not the one that the journal names; bring "
                "the directory of state.directory back"
            )
        if differences := state_differences(snapshot.meta, self._config):
            raise StateError(
                "the stored state was made under another configuration: " + "; ".join(differences)
            )
        self.head.restore(snapshot.state)

    def take(self, number: int, scored: Scored) -> BatchResult | None:
        """Take a batch; None where it was taken before, or holds nothing.

        Raises ``StateError`` where it does not follow on the last one.
        """
        rows = scored(self.head.version())
        failpoint("spark_scored")
        control = [data for where, data in rows if where < 0]
        if not control:
            return None
        said = unpack(control[0])
        ranges = {
            TopicPartition(topic, part): (start, end) for topic, part, start, end in said["ranges"]
        }
        if number <= self.done:
            self._check_again(number, ranges)
            values = fields("batch-again", stage="commit", batch=number)
            log.info("batch %d is in the journal: nothing is written again", number, extra=values)
            return None
        outcome = self.head.take(control[0], [data for where, data in rows if where >= 0])
        digest = self._keep(number)
        failpoint("spark_kept")
        self._commit(number, digest, outcome, ranges)
        failpoint("spark_committed")
        self.done = number
        self.taken = {source: end - start for source, (start, end) in ranges.items()}
        return outcome

    def _check_again(self, number: int, ranges: Mapping[TopicPartition, tuple[int, int]]) -> None:
        ends = {source: end for source, (_, end) in ranges.items()}
        written = {each.source: each.end for step in self._ranges for each in step}
        if number < self.done or ends != written:
            raise StateError(
                f"Spark runs batch {number} again, and the journal's last is batch {self.done} of "
                "other offsets: the checkpoint is not the one that the journal goes on from"
            )

    def _keep(self, number: int) -> str:
        """Write the state after a batch; its digest."""
        with self._metrics.stage("snapshot"):
            state: State = {**self.head.core.state(), "lanes": lanes_state([])}
            meta = {
                "name": self._config.name,
                "shard": 0,
                "sequence": self.head.core.sequence,
                "positions": [],
                "topics": {},
                "configuration": state_fingerprint(self._config),
                "shape": state_shape(self._config),
                "fingerprint": self.head.core.fingerprint,
                "written_at": time.time(),
            }
            digest = blake2b(encode(Snapshot({}, state)), digest_size=16).hexdigest()
            data = encode(Snapshot({**meta, "digest": digest}, state))
            self._store.write(number + 1, data)
        self._metrics.add_snapshot("ok")
        self._metrics.set_newest_snapshot(0, time.time(), len(data))
        return digest

    def _commit(
        self,
        number: int,
        digest: str,
        outcome: BatchResult,
        ranges: Mapping[TopicPartition, tuple[int, int]],
    ) -> None:
        messages = {
            "alerts": outcome.alerts,
            "incidents": outcome.incidents,
            "dead_letters": outcome.dead_letters,
        }
        ends = {source: end for source, (_, end) in ranges.items()}
        begun = {source: start for source, (start, _) in ranges.items()}
        begun |= {s: end for s, end in self._committer.ends.items() if s in ends}
        record = JournalRecord(
            shard=0,
            number=0,
            steps=journal_ranges([ends], begun),
            lost=(),
            sequence=self.head.core.sequence,
            fingerprint=self.head.core.fingerprint,
            configuration=state_fingerprint(self._config),
            batch=(self._query, number, digest),
        )
        size = sum(total_bytes(some) for some in messages.values())
        self._committer.begin([Slice(messages, record, ends, size)])
        with self._metrics.stage("commit"):
            while not self._committer.write(self._membership):
                time.sleep(_PAUSE_SECONDS)
        self._ranges = record.steps
