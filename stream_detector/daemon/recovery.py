"""Start of a shard: the newest sound snapshot, the journal after it, and its place in the input.

Recovery ends where the journal ends, at offsets that the records name, never at "the last record
was seen". What it cannot make whole it says, and stops or goes on as ``kafka.lost_input`` tells.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.base import GroupSource
from stream_detector.daemon import offsets
from stream_detector.daemon.journal_history import WAYS_OUT, History
from stream_detector.daemon.shard import Shard
from stream_detector.errors import ConnectorError, PlacesDifferError, StateError
from stream_detector.events import TopicPartition
from stream_detector.formats.schemas import SchemaSource
from stream_detector.journal import JournalRecord
from stream_detector.snapshots import SnapshotStore, newest_sound
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Place to begin at in a partition.

    Attributes:
        position: offset to read from.
        emit_from: silent before this offset.
        lost_from: input from here up to ``position`` was deleted; -1 where none was.
    """

    position: int
    emit_from: int = 0
    lost_from: int = -1


def open_shard(
    number: int,
    config: Config,
    store: SnapshotStore,
    metrics: Metrics,
    schemas: SchemaSource | None = None,
) -> Shard:
    """A shard with its newest sound snapshot restored, or untrained where there is none.

    Raises ``StateError`` where snapshots exist and none is sound, ``StateMismatchError`` where
    the newest sound one does not fit the configuration: bad state always stops the daemon.
    """
    shard = Shard(number, config, metrics, schemas)
    damaged = 0
    for position, found in newest_sound(store):
        if isinstance(found, StateError):
            damaged += 1
            metrics.add_snapshot("damaged")
            log.error(
                "snapshot %d is skipped: %s",
                position,
                found,
                extra=fields("snapshot-damaged", stage="snapshot", shard=number),
            )
            continue
        shard.restore(found)
        metrics.set_newest_snapshot(number, found.meta["written_at"], found.size_bytes)
        log.info(
            "shard %d continues after %d events",
            number,
            shard.sequence,
            extra=fields("restored", shard=number, events=shard.sequence),
        )
        return shard
    if damaged:
        raise StateError(
            f"shard {number}: none of its {damaged} snapshots is sound. Bring one back from a "
            "back-up, or use --reset-state to begin with an untrained model"
        )
    log.info("shard %d begins untrained", number, extra=fields("untrained", shard=number))
    return shard


def begin(
    shard: Shard,
    sources: Sequence[TopicPartition],
    source: GroupSource,
    kafka: KafkaConfig,
    metrics: Metrics,
    history: History | None,
    *,
    untrained: bool = False,
) -> None:
    """Give a shard its partitions and what it has to follow.

    Raises ``StateError`` where state and input do not fit together, ``PlacesDifferError`` where
    they do not end at one place as of now, ``ConnectorError`` where the broker does not answer.
    ``history`` is None where there is no journal; ``untrained`` accepts committed offsets whose
    state is lost.
    """
    committed = source.committed(sources)
    records = history.records if history is not None else ()
    if history is not None and history.broken and not committed:
        raise StateError(history.broken)  # else the offsets tell whether it is ours
    if committed and not shard.known and not records and not untrained:
        raise PlacesDifferError(
            f"the group {kafka.group} has committed offsets, but shard {shard.number} has no "
            f"snapshot: its state is lost. {WAYS_OUT}"
        )
    _check_ids(shard, source.topic_ids({one.topic for one in sources}))
    _check_topics(shard, records, sources, kafka)
    _say_where_no_offsets_are(shard, records, sources, committed, kafka)
    places, records = _places(shard, sources, source, kafka, metrics, committed, records)
    for one, place in places.items():
        shard.add(one, place.position, place.emit_from, place.lost_from)
    shard.begin_to_follow(records)


def extend(
    shard: Shard,
    sources: Sequence[TopicPartition],
    source: GroupSource,
    kafka: KafkaConfig,
    metrics: Metrics,
) -> None:
    """Give a shard that has begun further partitions, of a topic that has grown.

    What it follows stays as it is: no record of its journal names them, or it would not have begun
    without them. Raises as ``begin`` does.
    """
    _check_ids(shard, source.topic_ids({one.topic for one in sources}))
    committed = source.committed(sources)
    places, _ = _places(shard, sources, source, kafka, metrics, committed, ())
    for one, place in places.items():
        shard.add(one, place.position, place.emit_from, place.lost_from)


def _places(
    shard: Shard,
    sources: Sequence[TopicPartition],
    source: GroupSource,
    kafka: KafkaConfig,
    metrics: Metrics,
    committed: Mapping[TopicPartition, int],
    records: tuple[JournalRecord, ...],
) -> tuple[dict[TopicPartition, Place], tuple[JournalRecord, ...]]:
    """Return where to begin in each partition, and what of the journal can be followed."""
    beginnings, ends = source.ask_beginnings(sources), source.ask_ends(sources)
    if unknown := [str(one) for one in sources if one not in beginnings or one not in ends]:
        raise ConnectorError(
            f"{', '.join(unknown)} cannot be read: deleted, or without a leader. See "
            "docs/runbook.md#streamdetectorconditionlasts"
        )
    latest = kafka.start == "latest" and not shard.known
    starts = first_starts(records)
    stops = {r.source: r.end for record in records for r in (*record.lost, *record.ranges())}
    places: dict[TopicPartition, Place] = {}
    for one in sources:
        first = ends[one] if latest else beginnings[one]
        restored = shard.restored_positions().get(one)
        position = restored if restored is not None else starts.get(one, committed.get(one, first))
        target = max(stops.get(one, position), position)
        if target > ends[one]:
            raise PlacesDifferError(
                f"{one}: the state stands at offset {target}, the log ends at {ends[one]}. Was "
                "the topic made anew? Use another kafka.group, or --reset-state"
            )
        if shard.journal_place is not None or records:
            _check_committed(one, committed, target)
            places[one] = Place(position)
        else:
            bounds = (beginnings[one], ends[one])
            offsets.compare(one, restored, committed.get(one), bounds, metrics)
            places[one] = Place(position, max(committed.get(one, 0), position))
    gone = {one: beginnings[one] for one in sources if places[one].position < beginnings[one]}
    if gone:
        places, records = _pass_over(gone, places, stops, kafka, metrics), ()
    return places, records


def _check_topics(
    shard: Shard,
    records: Sequence[JournalRecord],
    sources: Sequence[TopicPartition],
    kafka: KafkaConfig,
) -> None:
    """Check that everything that the journal names is there to be read again.

    Whoever leads the group may have assigned partitions before its metadata was up to date: those
    of a topic that is read come with the next assignment, and are waited for.
    """
    unknown = {r.source for record in records for r in record.ranges()} - set(sources)
    listed = ", ".join(map(str, sorted(unknown)))
    if any(one.topic not in kafka.input_topics for one in unknown):
        raise StateError(
            f"shard {shard.number}: the journal after its snapshot names {listed}, which is not "
            "read any more. Start once with the topics as they were, or use --reset-state"
        )
    if unknown:
        raise ConnectorError(
            f"the journal after the snapshot names {listed}, which the group has not assigned (yet)"
        )


def _say_where_no_offsets_are(
    shard: Shard,
    records: Sequence[JournalRecord],
    sources: Sequence[TopicPartition],
    committed: Mapping[TopicPartition, int],
    kafka: KafkaConfig,
) -> None:
    """Log that the group's offsets were deleted, or have expired, where the journal goes on."""
    if shard.journal_place is None and not records:
        return  # without a journal: ``offsets.compare``
    known = first_starts(records)
    read = (one for one in sources if one in known or shard.restored_positions().get(one))
    without = [str(one) for one in read if one not in committed]
    if without:
        log.warning(
            "the group %s has no offset (any more) for %s, which shard %d has read: the journal "
            "tells where to go on, and nothing is done twice; %s",
            kafka.group,
            ", ".join(without),
            shard.number,
            offsets.SECTION,
            extra=fields("offsets-gone", stage="open", shard=shard.number),
        )


def _check_ids(shard: Shard, ids: Mapping[str, str]) -> None:
    """Offsets mean nothing in another topic of the same name, even where they exist there."""
    for topic, now in ids.items():
        if shard.input.topic_ids.setdefault(topic, now) != now:
            raise StateError(
                f"the topic {topic} was deleted and made anew: the state of shard {shard.number} "
                "belongs to the old one. Use another kafka.group, or --reset-state"
            )


def first_starts(records: Sequence[JournalRecord]) -> dict[TopicPartition, int]:
    """Return where the records' first range of each partition begins."""
    starts: dict[TopicPartition, int] = {}
    for record in records:
        for one in record.ranges():
            starts.setdefault(one.source, one.start)
    return starts


def _check_committed(
    source: TopicPartition, committed: Mapping[TopicPartition, int], target: int
) -> None:
    """Offsets and journal go in one transaction; offsets expire, but never differ by themselves."""
    if committed.get(source, target) != target:
        raise PlacesDifferError(
            f"{source}: the group's offset is {committed[source]}, the journal ends at {target}. "
            "Were offsets reset by hand, or committed by another application? Set it back to "
            f"{target}; to begin at {committed[source]}, start once with --reset-state (with an "
            f"untrained model), or use another kafka.group; {offsets.SECTION}"
        )


def _pass_over(
    gone: Mapping[TopicPartition, int],
    places: Mapping[TopicPartition, Place],
    stops: Mapping[TopicPartition, int],
    kafka: KafkaConfig,
    metrics: Metrics,
) -> dict[TopicPartition, Place]:
    """Retention has deleted input that state and journal need: go on after it, if that is allowed.

    The model keeps what it knew at the snapshot; what the journal says it learnt since cannot be
    repeated, so it goes on where the journal ends, or where the log begins.
    """
    for source, beginning in gone.items():
        metrics.add_broker_error("retention_overrun")
        log.error(
            "%s: records from offset %d to %d were deleted before they were read",
            source,
            places[source].position,
            beginning,
            extra=fields("retention-overrun", stage="poll", partition=str(source)),
        )
    if kafka.lost_input == "stop":
        listed = ", ".join(f"{s} from {places[s].position} to {end}" for s, end in gone.items())
        raise StateError(
            f"input was deleted before it was read: {listed}. Set kafka.lost_input: continue to "
            "go on with what is left, or use --reset-state"
        )
    found: dict[TopicPartition, Place] = {}
    for source, place in places.items():
        position = max(stops.get(source, place.position), gone.get(source, 0))
        lost = position - place.position
        metrics.add_lost_records(source, lost)
        found[source] = Place(position, position, place.position if lost else -1)
    return found
