"""Shards that are taken on: what of their place is believed at once, and what when seen again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from support.process import wait_until

from stream_detector.config.models.config import Config
from stream_detector.connectors.base import Rebalance
from stream_detector.daemon.shard import Shard
from stream_detector.daemon.shard_assignment import ShardAssignment, ShardFactories
from stream_detector.errors import PlacesDifferError
from stream_detector.events import TopicPartition
from stream_detector.snapshots import DirectoryStore, encode
from stream_detector.telemetry.metrics import Metrics

SOURCE = TopicPartition("in", 0)


class Group:
    """A source whose log ends where it is told; another worker's commits are seen or not yet."""

    def __init__(self, *ends: int) -> None:
        self.ends = list(ends)
        self.sought: dict[TopicPartition, int] = {}

    def committed(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        del sources
        return {}

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        return dict.fromkeys(topics, "id")

    def ask_beginnings(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(sources, 0)

    def ask_ends(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(sources, self.ends.pop(0))

    def seek(self, positions: dict[TopicPartition, int]) -> None:
        self.sought.update(positions)


class Output:
    """Opened and closed, and no more."""

    def __init__(self) -> None:
        self.open_now = 0

    def open(self) -> None:
        self.open_now += 1

    def close(self) -> None:
        self.open_now -= 1


CONFIG = Config.model_validate(
    {
        "name": "test",
        "features": [{"numeric": "amount"}],
        "kafka": {
            "bootstrap_servers": "nowhere:1",
            "topics": ["in"],
            "group": "g",
            "alerts": "a",
            "dead_letters": "d",
        },
    }
)


def ownership(group: Any, output: Output, directory: Path) -> ShardAssignment:
    """One that has been assigned a shard whose snapshot stands at offset 10."""
    store = DirectoryStore(directory, keep=3)
    shard = Shard(0, CONFIG, Metrics())
    shard.add(SOURCE, 10)
    store.write(0, encode(shard.snapshot({"written_at": 0.0, "journal": None})))
    assert CONFIG.kafka is not None
    parts = ShardFactories(store=lambda _: store, output=lambda _: output)
    owned = ShardAssignment(CONFIG, CONFIG.kafka, group, Metrics(), parts)
    owned.take_on(Rebalance(frozenset([SOURCE]), frozenset([SOURCE]), lost=False))
    return owned


def test_a_difference_that_a_successors_commit_explains_is_looked_at_again(tmp_path: Path) -> None:
    group, output = Group(5, 10), Output()
    owned = ownership(group, output, tmp_path)
    assert owned.open_next() is None
    assert owned.recovering()
    assert output.open_now == 0
    opened = wait_until(owned.open_next, "the second look")
    assert opened.shard.input.fetch_positions == group.sought == {SOURCE: 10}
    assert output.open_now == 1


def test_a_difference_that_is_seen_again_is_true(tmp_path: Path) -> None:
    owned = ownership(Group(5, 6, 6), Output(), tmp_path)
    assert owned.open_next() is None
    with pytest.raises(PlacesDifferError, match="stands at offset 10, the log ends at 6"):
        wait_until(owned.open_next, "the third look")
