"""Computes again what a shard did, from input logs and journal. Writes nothing.

Where they do not reach back to the beginning, from the oldest snapshot that they do reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from stream_detector.alert_avro.form import AlertForm, number_of
from stream_detector.commits.journal_chain import Chain, Kind
from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.base import Fetched, Journal
from stream_detector.daemon.output_comparison import Comparison, Findings, Place
from stream_detector.daemon.recovery import first_starts
from stream_detector.daemon.shard import Shard
from stream_detector.errors import StateError
from stream_detector.events import Record, TopicPartition
from stream_detector.formats.schemas import ALERTS, SchemaSource, schema_of
from stream_detector.journal import JournalRecord, last_beginning
from stream_detector.pipeline import BatchResult
from stream_detector.pipeline.cause import ACTS
from stream_detector.snapshots import SnapshotStore
from stream_detector.snapshots import decode as decode_snapshot
from stream_detector.telemetry.metrics import Metrics


class LogReader(Protocol):
    """Reads ranges of logs, as ``connectors.kafka.reading.log.KafkaLog`` does."""

    def partitions(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic. Raises ``ConnectorError``."""

    def bounds(self, source: TopicPartition) -> tuple[int, int]:
        """Earliest offset still held and the end. Raises ``ConnectorError``."""

    def read(self, source: TopicPartition, start: int, end: int) -> Iterator[Sequence[Record]]:
        """Records of ``[start, end)`` in order, some at a time. Raises ``ConnectorError``."""

    def close(self) -> None:
        """Disconnect."""


def verify(
    config: Config,
    kafka: KafkaConfig,
    number: int,
    store: SnapshotStore,
    journal: Journal,
    open_log: Callable[[], LogReader],
    progress: Callable[[int], None] = lambda _events: None,
    schemas: SchemaSource | None = None,
) -> Findings:
    """Follow a shard's journal and compare what comes out with what stands on the topics.

    Args:
        config: the configuration that the shard ran under.
        kafka: its section.
        number: the shard.
        store: its snapshots.
        journal: its journal.
        open_log: a new reader of logs; one is opened for each input partition.
        progress: told the number of events so far.
        schemas: those that files give; no registry is asked.

    Raises:
        StateError: nothing can be verified, since input or journal reach back to no known state.
        ConnectorError: the broker does not answer.
    """
    findings = Findings()
    records = _records(kafka, number, journal, findings)
    if not records:
        return findings
    log = open_log()
    try:
        shard, kept = _basis(config, number, store, records, log, schemas)
        _check_joins(shard, kept, findings)
        alerts = Comparison(kafka.alerts, findings, _reader(shard, kept))
        incidents = Comparison(kafka.incidents or "", findings, compacted=True)
        letters = Comparison(kafka.dead_letters, findings)
        begun = _begin(shard, kept)

        def witness(outcome: BatchResult) -> None:
            alerts.expect(shard.output.written(outcome.alerts))
            if kafka.incidents is not None:
                incidents.expect(outcome.incidents)
            letters.expect(outcome.dead_letters)
            findings.events += len(outcome.scores)
            progress(findings.events)

        _follow(shard, kept, open_log, witness)
        findings.records = len(kept)
        findings.fingerprint = shard.pipeline.fingerprint
        findings.fingerprint_mismatches = shard.replay.mismatches
        findings.alerts_expected, findings.dead_letters_expected = len(alerts), len(letters)
        findings.incidents_expected = len(incidents)
        meant = _scope(number, kept, records, begun)
        findings.alerts_found = _compare(log, kafka.alerts, alerts, meant)
        if kafka.incidents is not None:
            findings.incidents_found = _compare(log, kafka.incidents, incidents, meant)
        _compare(log, kafka.dead_letters, letters, meant)
    finally:
        log.close()
    return findings


def _scope(
    number: int,
    kept: Sequence[JournalRecord],
    records: Sequence[tuple[int, JournalRecord]],
    begun: Mapping[TopicPartition, int],
) -> Callable[[Place], bool]:
    """What tells of a message's place whether it is of the shard and range computed again.

    Args:
        number: of the shard.
        kept: the records that were followed.
        records: all of the journal: of ticks before those that were followed, nothing is known.
        begun: where each partition begins.
    """
    ends = {r.source: r.end for record in kept for r in record.ranges()}
    ticks = [time_ms for record in kept for _, time_ms in record.ticks]
    others = {time_ms for _, record in records for _, time_ms in record.ticks}.difference(ticks)

    acts = {act.offset for record in kept for act in record.acts}

    def meant(place: Place) -> bool:
        source, offset = place
        if source.topic == ACTS:
            return source.partition == number and offset in acts
        if not source.topic:
            within = bool(ticks) and min(ticks) <= offset <= max(ticks)
            return source.partition == number and within and offset not in others
        return source in ends and begun[source] <= offset < ends[source]

    return meant


def _reader(shard: Shard, records: Sequence[JournalRecord]) -> Callable[[bytes], Any]:
    """Return what reads alerts of every form that the records name, or that they begin with."""
    stored = [schema_of(one) for record in records for key, one in record.schemas if key == ALERTS]
    forms = [shard.output.form, *map(AlertForm.of, stored)]
    known = {form.number: form for form in forms if form is not None}

    def read(value: bytes) -> Any:
        form = known.get(number_of(value) or -1)
        return msgspec.json.decode(value) if form is None else form.decode(value)

    return read


def _records(
    kafka: KafkaConfig, number: int, journal: Journal, findings: Findings
) -> list[tuple[int, JournalRecord]]:
    """The shard's journal, without what others have written; of ours, what does not join."""
    chain = Chain(kafka.group, number)
    for offset, value in journal.read(number, journal.bounds(number)[0]):
        chain.take(offset, value)
    for one in chain.passed:
        findings.say(f"journal, offset {one.offset}, passed over: {one.reason}")
        if one.kind in (Kind.FORK, Kind.LOST_BEFORE):
            findings.gaps += 1
    findings.foreign = chain.count - findings.gaps
    return [(one.offset, one.record) for one in chain.held]


def _basis(
    config: Config,
    number: int,
    store: SnapshotStore,
    records: list[tuple[int, JournalRecord]],
    log: LogReader,
    schemas: SchemaSource | None,
) -> tuple[Shard, list[JournalRecord]]:
    """The oldest state from which input and journal can be followed, and the records from there."""
    beginning = last_beginning(records)
    if beginning is not None:
        kept = [record for _, record in records[beginning:]]
        shard = Shard(number, config, Metrics(), schemas)
        begun_so = kept[0].configuration == state_fingerprint(config)
        if begun_so and _reaches(log, first_starts(kept)) and not _was_given(store):
            return shard, kept
    set_at = max(_metas(store, "set_at"), default=0)
    for position in reversed(store.positions()):
        try:
            snapshot = decode_snapshot(store.read(position))
            shard = Shard(number, config, Metrics(), schemas)
            shard.restore(snapshot)
        except StateError:
            continue  # damaged, or of another configuration
        if shard.journal_place is None:
            continue
        start, number_then = shard.journal_place
        if number_then < set_at:
            continue
        kept = [record for offset, record in records if offset >= start]
        if _reaches(log, first_starts(kept)):
            return shard, kept
    raise StateError(
        f"shard {number}: nothing can be verified. Neither the journal's beginning nor a kept "
        "snapshot is followed by input that the topic still holds"
    )


def _was_given(store: SnapshotStore) -> bool:
    """Tell whether ``train`` or an operator has made the state, which begins at a snapshot."""
    return any(_metas(store, "trained")) or any(_metas(store, "set_at"))


def _metas(store: SnapshotStore, name: str) -> Iterator[Any]:
    """Return what the sound snapshots say of themselves under a name, as far as they do."""
    for position in store.positions():
        try:
            value = decode_snapshot(store.read(position)).meta.get(name)
        except StateError:
            continue
        if value is not None:
            yield value


def _reaches(log: LogReader, starts: Mapping[TopicPartition, int]) -> bool:
    return all(log.bounds(source)[0] <= start for source, start in starts.items())


def _check_joins(shard: Shard, records: Sequence[JournalRecord], findings: Findings) -> None:
    """Numbers count on; every range begins where the one before it, or a lost one, has ended."""
    number = records[0].number if records else 0
    ends: dict[TopicPartition, int] = {}
    for record in records:
        if record.number != number or record.shard != shard.number:
            findings.gaps += 1
            findings.say(f"journal record {record.number} stands where {number} should be")
            number = record.number
        number += 1
        for one in (*record.lost, *record.ranges()):
            if ends.setdefault(one.source, one.start) != one.start:
                findings.gaps += 1
                findings.say(
                    f"journal record {record.number}: {one.source} goes on at {one.start} after "
                    f"{ends[one.source]}"
                )
            ends[one.source] = one.end


def _begin(shard: Shard, records: Sequence[JournalRecord]) -> dict[TopicPartition, int]:
    """Give the shard its partitions; where each begins."""
    starts = first_starts(records)
    for source, start in sorted(starts.items()):
        shard.add(source, start)
    shard.begin_to_follow(records)
    return starts


def _follow(
    shard: Shard,
    records: Sequence[JournalRecord],
    open_log: Callable[[], LogReader],
    witness: Callable[[BatchResult], None],
) -> None:
    """Read each partition once from end to end, as far ahead as the journal's step needs."""
    ends = {r.source: r.end for record in records for r in record.ranges()}
    logs = {source: open_log() for source in ends}
    reading = {s: logs[s].read(s, shard.input.fetch_positions[s], end) for s, end in ends.items()}
    exhausted: set[TopicPartition] = set()

    def position(source: TopicPartition) -> int:
        return ends[source] if source in exhausted else shard.input.fetch_positions[source]

    try:
        while shard.replaying:
            shard.follow(position, witness)
            for source in [s for s in ends if s not in exhausted and shard.needs(s)]:
                fetched = next(reading[source], None)
                if fetched is None:
                    exhausted.add(source)
                else:
                    shard.take_in(Fetched(source, fetched))
    finally:
        for log in logs.values():
            log.close()


def _compare(
    log: LogReader, topic: str, comparison: Comparison, meant: Callable[[Place], bool]
) -> int:
    found = 0
    for source in log.partitions(topic):
        start, end = log.bounds(source)
        found += comparison.compare(log.read(source, start, end), meant)
    comparison.finish()
    return found
