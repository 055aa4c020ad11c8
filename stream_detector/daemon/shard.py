"""One shard at work: decoding, merge and pipeline, with its place in the input and its output."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from stream_detector.alerts import Outgoing
from stream_detector.config.fields import FieldPlan
from stream_detector.config.fingerprint import describe_difference, state_fingerprint, state_shape
from stream_detector.config.models import Config
from stream_detector.connectors.base import Fetched
from stream_detector.decoding import Decoder
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, TopicPartition
from stream_detector.merge import Merger
from stream_detector.pipeline import Outcome, Pipeline
from stream_detector.snapshots import Snapshot
from stream_detector.telemetry.metrics import Metrics


class Shard:
    """What one worker keeps of one shard.

    State: the pipeline's, the merge's, the next offset to fetch of each partition, and the
    messages that wait for the next commit. Fetching stops at ``max_buffered_records``.

    Attributes:
        number: which shard of the group.
        alerts: messages that wait for the next commit, in event order; likewise ``dead_letters``.
        known: whether a snapshot was restored, or the shard has begun without one.
        fetch_positions: offset after the last record taken in, of each partition.
    """

    def __init__(self, number: int, config: Config, metrics: Metrics) -> None:
        self.number = number
        self._config = config
        self._metrics = metrics
        plan = FieldPlan.of(config)
        self._decoder = Decoder(config, plan)
        self.merger = Merger()
        self.pipeline = Pipeline(config, state_fingerprint(config), metrics.stage)
        self.alerts: list[Outgoing] = []
        self.dead_letters: list[Outgoing] = []
        self.fetch_positions: dict[TopicPartition, int] = {}
        self._emit_from: dict[TopicPartition, int] = {}
        self._restored: dict[TopicPartition, tuple[int, int]] = {}
        self.known = False

    def add(self, source: TopicPartition, position: int, emit_from: int) -> None:
        """Begin with a partition: read from ``position``, silent before ``emit_from``.

        What lies between was written before a restart already; it is only processed again, so
        that the state is what it was.
        """
        _, maximum = self._restored.get(source, (-1, NO_TIMESTAMP))
        self.merger.add(source, maximum)
        self.fetch_positions[source] = position
        self._emit_from[source] = emit_from
        self.known = True

    def restored_position(self, source: TopicPartition) -> int | None:
        """Where the restored snapshot stands in a partition; None where it does not know it."""
        known = self._restored.get(source)
        return None if known is None else known[0]

    def take_in(self, fetched: Fetched) -> None:
        """Decode records and let them wait for their turn."""
        with self._metrics.stage("decode"):
            batch = self._decoder.decode(fetched.source, fetched.records)
        self.fetch_positions[fetched.source] = int(batch.offset[-1]) + 1
        self.merger.push(batch)

    def advance(self, at_end: Collection[TopicPartition]) -> Outcome | None:
        """Process every event whose turn has come; messages wait for the commit."""
        with self._metrics.stage("merge"):
            batch = self.merger.release(at_end)
        if batch is None:
            return None
        outcome = self.pipeline.process(batch)
        self.alerts.extend(self._to_emit(outcome.alerts))
        self.dead_letters.extend(self._to_emit(outcome.dead_letters))
        return outcome

    def _to_emit(self, messages: list[Outgoing]) -> Iterable[Outgoing]:
        if not self._emit_from:
            return messages
        return [m for m in messages if m.offset >= self._emit_from.get(m.source, 0)]

    def positions(self) -> dict[TopicPartition, int]:
        """Next offset to process, of each partition where anything was processed or skipped."""
        positions: dict[TopicPartition, int] = {}
        for source in self.merger.sources:
            offset = self.merger.next_offset(source)
            if not self.merger.waiting(source):
                offset = max(offset, self.fetch_positions[source])
            if offset >= 0:
                positions[source] = offset
        return positions

    def snapshot(self, extra: dict[str, Any]) -> Snapshot:
        """State and place as of now: everything processed so far and nothing else."""
        maxima = self.merger.released_maxima()
        positions = [
            [source.topic, source.partition, offset, maxima[source]]
            for source, offset in sorted(self.positions().items())
        ]
        meta = {
            "name": self._config.name,
            "shard": self.number,
            "sequence": self.pipeline.sequence,
            "positions": positions,
            "configuration": state_fingerprint(self._config),
            "shape": state_shape(self._config),
            "fingerprint": self.pipeline.fingerprint,
            **extra,
        }
        return Snapshot(meta, self.pipeline.state())

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot.

        Raises ``StateMismatchError`` where it was made under a configuration that shapes state
        differently; the message names the fields.
        """
        meta = snapshot.meta
        if meta["configuration"] != state_fingerprint(self._config):
            differences = describe_difference(meta["shape"], state_shape(self._config))
            raise StateMismatchError(
                "the stored state was made under another configuration: "
                + "; ".join(differences)
                + ". Use another kafka.group, or --reset-state to begin with an untrained model"
            )
        self.pipeline.restore(snapshot.state)
        self.known = True
        self._restored = {
            TopicPartition(topic, partition): (offset, maximum)
            for topic, partition, offset, maximum in meta["positions"]
        }
