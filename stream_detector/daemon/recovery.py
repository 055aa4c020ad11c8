"""How a shard begins: the newest sound snapshot, and where in the input to go on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from stream_detector.config.models import Config, Kafka
from stream_detector.connectors.base import GroupSource
from stream_detector.daemon.shard import Shard
from stream_detector.errors import StateError
from stream_detector.events import TopicPartition
from stream_detector.snapshots import SnapshotStore, newest_sound
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to begin in a partition: read from ``position``, silent before ``emit_from``."""

    position: int
    emit_from: int


def open_shard(number: int, config: Config, store: SnapshotStore, metrics: Metrics) -> Shard:
    """A shard with its newest sound snapshot restored, or untrained where there is none.

    Raises ``StateError`` where snapshots exist and none is sound, ``StateMismatchError`` where
    the newest sound one does not fit the configuration: bad state always stops the daemon.
    """
    shard = Shard(number, config, metrics)
    damaged = 0
    for position, found in newest_sound(store):
        if isinstance(found, StateError):
            damaged += 1
            metrics.add_snapshot("damaged")
            log.error(
                "snapshot %d is skipped: %s",
                position,
                found,
                extra=fields("snapshot-damaged", shard=number),
            )
            continue
        shard.restore(found)
        size_bytes = len(store.read(position))
        metrics.set_newest_snapshot(number, found.meta["written_at"], size_bytes)
        log.info(
            "shard %d continues after %d events",
            number,
            shard.pipeline.sequence,
            extra=fields("restored", shard=number, events=shard.pipeline.sequence),
        )
        return shard
    if damaged:
        raise StateError(
            f"shard {number}: none of its {damaged} snapshots is sound. Bring one back from a "
            "back-up, or use --reset-state to begin with an untrained model"
        )
    log.info("shard %d begins untrained", number, extra=fields("untrained", shard=number))
    return shard


def start_positions(
    shard: Shard,
    sources: Sequence[TopicPartition],
    source: GroupSource,
    kafka: Kafka,
    metrics: Metrics,
    *,
    untrained: bool = False,
) -> dict[TopicPartition, Place]:
    """Where to begin in each partition: by the snapshot, the committed offset or ``kafka.start``.

    ``untrained`` accepts committed offsets whose state is lost. Raises ``StateError`` where it is
    lost and not accepted, and where an offset lies beyond the end of the log: the topic was
    deleted and made anew, and the state belongs to the old one.
    """
    if not sources:
        return {}
    committed = source.committed(sources)
    if committed and not shard.known and not untrained:
        raise StateError(
            f"the group {kafka.group} has committed offsets, but shard {shard.number} has no "
            "snapshot: its state is lost. Bring state.directory back from a back-up, share it "
            "between the workers, or use --reset-state to go on with an untrained model"
        )
    beginnings, ends = source.ask_beginnings(sources), source.ask_ends(sources)
    places: dict[TopicPartition, Place] = {}
    for one in sources:
        first = beginnings[one] if kafka.start == "earliest" else ends[one]
        restored = shard.restored_position(one)
        position = restored if restored is not None else committed.get(one, first)
        if position > ends[one]:
            raise StateError(
                f"{one}: the state stands at offset {position}, the log ends at {ends[one]}. Was "
                "the topic made anew? Use another kafka.group, or --reset-state"
            )
        if position < beginnings[one]:
            metrics.add_broker_error("retention_overrun")
            log.error(
                "%s: %d records after offset %d were deleted before they were read",
                one,
                beginnings[one] - position,
                position,
                extra=fields("retention-overrun", partition=str(one)),
            )
            position = beginnings[one]
        places[one] = Place(position, max(committed.get(one, 0), position))
    return places
