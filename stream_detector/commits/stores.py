"""The snapshot stores of a group's shards, as ``state.store`` says."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.kafka.state_topics.snapshot_topic import OnForeign, TopicStore
from stream_detector.errors import ConfigurationError
from stream_detector.snapshots import DirectoryStore, SignedStore, SnapshotStore, read_keys
from stream_detector.telemetry.logs import register_secret

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_CLIMBING = {ord("/"): "%2F", ord("%"): "%25", 0: "%00"}


def snapshot_stores(
    config: Config,
    kafka: KafkaConfig | None,
    *,
    make: bool = True,
    on_foreign: OnForeign | None = None,
) -> Callable[[int], SnapshotStore]:
    """A function that gives the store of a shard; the same one each time.

    Args:
        config: the configuration.
        kafka: its section; None: snapshots are kept under the detector's name.
        make: whether missing directories are made (not to look only).
        on_foreign: told of records of others on a topic of snapshots.

    Raises ``ConfigurationError`` where snapshots are to go to a topic that cannot be, or there is
    no key to sign them by.
    """
    stores = _unsigned_stores(config, kafka, make=make, on_foreign=on_foreign)
    path = config.state.signing_key_file
    if path is None:
        return stores
    keys, texts = read_keys(path)
    for text in texts:
        register_secret(text)
    return cache(lambda number: SignedStore(stores(number), keys))


def _unsigned_stores(
    config: Config, kafka: KafkaConfig | None, *, make: bool, on_foreign: OnForeign | None
) -> Callable[[int], SnapshotStore]:
    if config.state.store == "topic":
        topic = snapshot_topic(config, kafka)
        assert kafka is not None  # there would be no topic
        known, shards, keep = kafka, config.processing.shards, config.state.keep
        return cache(lambda number: TopicStore(known, topic, number, shards, keep, on_foreign))
    root = Path(config.state.directory) / _directory_name(
        kafka.group if kafka is not None else config.name
    )
    keep = config.state.keep
    return cache(lambda n: DirectoryStore(root / f"shard-{n}", keep, make=make, above=[root]))


def snapshot_topic(config: Config, kafka: KafkaConfig | None) -> str:
    """Name of the topic that snapshots go to. Raises ``ConfigurationError``."""
    if kafka is None:
        raise ConfigurationError("state.store: topic needs the section `kafka`")
    topic = config.state.topic or f"{kafka.group}-snapshots"
    if not _TOPIC.fullmatch(topic):
        raise ConfigurationError(
            f"state.topic: {topic!r} cannot be the name of a topic; name one that can"
        )
    if topic in {*kafka.input_topics, *kafka.output_topics.values(), kafka.journal_topic}:
        raise ConfigurationError(f"state.topic: {topic} serves another purpose already")
    return topic


def _directory_name(group: str) -> str:
    """Return one path component for a group, which may be called ``../x``."""
    if group in (".", ".."):
        return group.replace(".", "%2E")
    return group.translate(_CLIMBING)
