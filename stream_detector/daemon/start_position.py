"""Places of snapshots, journal and the group's offsets, and whether a start could go on there.

Only looks: as much of it as this machine sees. Snapshots in a directory that only the daemon's
machine has are no finding.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

from stream_detector.commits.stores import snapshot_stores
from stream_detector.config import Config
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.inspection.facts import JOURNAL, Facts
from stream_detector.connectors.kafka.inspection.findings import (
    GROUP,
    OFFSETS,
    Finding,
    error,
    not_checked,
    seconds,
    warning,
)
from stream_detector.connectors.kafka.inspection.groups import place
from stream_detector.connectors.kafka.reading.log import KafkaLog
from stream_detector.errors import ConnectorError, StateError
from stream_detector.events import TopicPartition
from stream_detector.journal import decode
from stream_detector.snapshots import newest_sound

_LAST_OFFSETS = 200
"""How much of a journal's end is read: every second offset is the end of a transaction."""

_SOON = 0.8
"""Share of the retention of offsets after which they are about to go."""


def standing(config: Config, kafka: KafkaConfig, facts: Facts) -> Iterator[Finding]:
    """Findings about where a start would begin; each partition read has ``request_timeout``."""
    try:
        restored = _restored(config, kafka)
        reached, last_ms = _journal_ends(config, kafka) if facts.of(JOURNAL) else ({}, -1)
    except (ConnectorError, StateError) as failure:
        yield not_checked(f"where snapshots and journal stand: {failure}", OFFSETS)
        return
    committed = {s: o for s, o in (facts.committed or {}).items() if s.topic in kafka.input_topics}
    for source, offset in sorted(restored.items()):
        if source.topic in kafka.input_topics and committed.get(source) != offset:
            yield from place(kafka, source, offset, facts.beginnings, facts.ends, "the snapshot")
    if committed and kafka.delivery == "exactly_once" and not reached and not restored:
        yield error(
            f"kafka.group: {kafka.group} has committed offsets, and there is no journal in "
            f"{kafka.journal_topic} and no snapshot: the group is or was somebody else's, or its "
            "state is lost. Name another kafka.group, bring the snapshots back, or use "
            "--reset-state",
            GROUP,
        )
    if facts.group is not None and facts.group.members:
        reached = {}  # a worker commits meanwhile: what was asked at two moments may differ
    for source, end in sorted(reached.items()):
        if (offset := committed.get(source, end)) != end:
            yield error(
                f"{source}: the group's offset is {offset}, and the journal ends at {end}: offsets "
                f"were reset by hand. Set it back to {end}, use another kafka.group, or "
                "--reset-state",
                OFFSETS,
            )
    yield from _expiring(kafka, facts, last_ms)


def _restored(config: Config, kafka: KafkaConfig) -> dict[TopicPartition, int]:
    """Return where the newest sound snapshots stand."""
    stores = snapshot_stores(config, kafka, make=False)
    restored: dict[TopicPartition, int] = {}
    for shard in range(config.processing.shards):
        for _, found in newest_sound(stores(shard)):
            if not isinstance(found, StateError):
                restored |= {TopicPartition(t, p): o for t, p, o, _ in found.meta["positions"]}
    return restored


def _journal_ends(config: Config, kafka: KafkaConfig) -> tuple[dict[TopicPartition, int], int]:
    """Return where the journals' last records end, and when the newest was written (-1: none)."""
    reached: dict[TopicPartition, int] = {}
    newest_ms = -1
    with closing(KafkaLog(kafka)) as log:
        count = len(log.partitions(kafka.journal_topic))
        for shard in range(min(config.processing.shards, count)):
            source = TopicPartition(kafka.journal_topic, shard)
            first, end = log.bounds(source)
            for records in log.read(source, max(first, end - _LAST_OFFSETS), end):
                for record in records:
                    try:
                        entry = decode(record.value or b"")
                    except StateError:
                        continue  # somebody else's
                    if entry.group not in ("", kafka.group) or entry.shard != shard:
                        continue
                    newest_ms = max(newest_ms, record.timestamp)
                    for one in (*entry.lost, *entry.ranges()):
                        reached[one.source] = one.end
    return reached, newest_ms


def _expiring(kafka: KafkaConfig, facts: Facts, last_ms: int) -> Iterator[Finding]:
    """Offsets of a group without members go after a while."""
    minutes = facts.broker_number("offsets.retention.minutes")
    if minutes is None or facts.group is None or facts.group.members:
        return
    kept_ms = minutes * 60_000
    age_ms = time.time() * 1000 - last_ms
    if facts.committed and last_ms >= 0 and age_ms > _SOON * kept_ms:
        yield warning(
            f"kafka.group: {kafka.group} was last used {seconds(age_ms)} ago, and the broker "
            f"forgets its offsets after {seconds(kept_ms)} (offsets.retention.minutes={minutes}). "
            "The journal still has them; start the daemon before the journal's retention ends",
            OFFSETS,
        )
    if kafka.delivery == "at_least_once" and kept_ms < 24 * 3_600_000:
        yield warning(
            f"kafka.delivery: at_least_once has no journal, and the broker forgets the group's "
            f"offsets {seconds(kept_ms)} after its last worker has gone "
            f"(offsets.retention.minutes={minutes}): it then begins as kafka.start says",
            OFFSETS,
        )
