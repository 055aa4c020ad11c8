"""The stream that the faults fall on: about one alert in a hundred events, some bad records."""

from __future__ import annotations

import itertools
import json
import random
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from kafka import KafkaProducer
from kafka_broker.clients import KeySerializer, Message, create_topic, produce, send, unique_name

from chaos.hostile import PLANTED, aborted, bad, from_the_future, odd
from chaos.judge import Source

PARTITIONS = 4
START_MS = 1_600_000_000_000
GAP_MS = 400
KEEP = MappingProxyType({"retention.ms": "-1"})
INPUT = MappingProxyType(
    # As brokers before 3.6 had it: whatever a producer's clock says is taken.
    {**KEEP, "message.timestamp.after.max.ms": str(2**63 - 1)}
)
YEAR_MS = 365 * 24 * 3600 * 1000

INGREDIENTS = ("hostile", "transactions", "future")
"""What the input holds beside sound events, each of which may be left out."""


def events(
    seed: int,
    *,
    start_ms: int = START_MS,
    clock_ms: Callable[[], int] | None = None,
    bad_every: int = 250,
    odd_every: int = 90,
    future_at: int = -1,
) -> Iterator[Message]:
    """Events without end, keyed by user over four partitions, some bad, some in strange clothes.

    One in 80 is strange (``label`` 1): an amount a thousand times as large.

    Args:
        seed: decides them.
        start_ms: time of the first; from there a mean of ``GAP_MS`` between two.
        clock_ms: gives each its time instead.
        bad_every: of so many, one is bad; 0 for none.
        odd_every: of so many, one is good and comes in strange clothes; 0 for none.
        future_at: number of the one that is dated a year ahead; -1 for none.
    """
    generator = np.random.default_rng(seed)
    number, time_ms = 0, start_ms
    while True:
        size = 1000
        gaps = generator.exponential(GAP_MS, size).astype(int)
        users = generator.zipf(1.4, size) % 300
        amounts, weights = generator.lognormal(3, 1, size), generator.normal(5, 1, size)
        kinds, strange = generator.integers(0, 5, size), generator.random(size) < 1 / 80
        for row in range(size):
            time_ms = clock_ms() if clock_ms is not None else time_ms + int(gaps[row])
            user = f"u{users[row]}"
            event = {
                "id": f"e{number}",
                "time": np.datetime_as_string(np.datetime64(time_ms, "ms")) + "Z",
                "user": user,
                "amount": round(float(amounts[row]) * (1000 if strange[row] else 1), 2),
                "weight": round(float(weights[row]), 3),
                "kind": "abcde"[kinds[row]],
                "label": int(strange[row]),
            }
            partition = zlib.crc32(user.encode()) % PARTITIONS
            message = Message(json.dumps(event).encode(), partition, user.encode(), time_ms)
            if number == future_at:
                message = from_the_future(message, YEAR_MS)
            elif bad_every and number % bad_every == bad_every - 1:
                message = bad(message, number // bad_every)
            elif odd_every and number % odd_every == odd_every - 1:
                message = odd(message, number // odd_every)
            yield message
            number += 1


def settings(
    bootstrap: str,
    topics: Collection[str],
    directory: Path,
    shards: int = 1,
    *,
    snapshots: str = "1s",
    bucket: str = "1m",
) -> dict[str, Any]:
    """A configuration with a fresh group and fresh output topics, which are created.

    ``snapshots`` is the time between two of them, ``bucket`` that of the monitors.

    Small chunks, polls and intervals: much learning, many commits and snapshots, so that every
    fault falls into the middle of something.
    """
    group = unique_name("group")
    names = {name: f"{group}-{name}" for name in ("alerts", "dead-letters")}
    for name in names.values():
        create_topic(bootstrap, name, 1, KEEP, replicas=-1)
    # As the daemon makes it; nothing is compacted while somebody looks.
    kept = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(10**12)}
    incidents = create_topic(bootstrap, f"{group}-incidents", 1, kept, replicas=-1)
    return {
        "name": "chaos",
        "kafka": {
            "bootstrap_servers": bootstrap,
            "topics": list(topics),
            "group": group,
            "alerts": names["alerts"],
            "incidents": incidents,
            "dead_letters": names["dead-letters"],
            "wait_for_input": "90s",
            "consumer": {
                "session_timeout_ms": 2000,
                "heartbeat_interval_ms": 300,
                # Partitions that are added shall be found while something else goes on.
                "metadata_max_age_ms": 500,
                # A backlog shall last for many kills: two dozen events a fetch.
                "fetch_max_bytes": 4096,
                "max_partition_fetch_bytes": 4096,
            },
        },
        "event": {"id": "id", "time": {"field": "time"}},
        "features": [
            {"numeric": "amount", "transform": "log"},
            {"numeric": "weight"},
            {"categorical": "kind", "size": 4},
        ],
        "windows": [
            {
                "key": "user",
                "value": "amount",
                "half_lives": ["1h"],
                "compute": ["count", "mean"],
                "max_keys": 100,
            }
        ],
        "monitors": [
            {
                "name": "users",
                "kind": "rate",
                "key": "user",
                "bucket": bucket,
                "season": "none",
                "widths": [1, 2],
                "max_keys": 100,
            },
            {"name": "kinds", "kind": "silence", "key": "kind", "bucket": bucket, "season": "none"},
        ],
        "incidents": {"group_wait": "5s", "quiet": "2m"},
        "threshold": {"budget": "1 %", "burn_in": 300},
        "processing": {
            "shards": shards,
            "chunk_size": 64,
            "max_poll_records": 100,
            "max_buffered_records": 500,
            "commit_interval": "200ms",
            "tick": "500ms",
        },
        "state": {"directory": str(directory / "state"), "interval": snapshots},
        "metrics": {"port": 0},
    }


def create_input(bootstrap: str, partitions: int = PARTITIONS) -> str:
    """An input topic."""
    return create_topic(bootstrap, unique_name("events"), partitions, INPUT, replicas=-1)


class Planted:
    """Which records of the input must be refused: by source, the kind of each. State: that."""

    def __init__(self) -> None:
        self.kinds: dict[Source, str] = {}

    def note(self, topic: str, message: Message, partition: int, offset: int) -> None:
        """Where a message has come to lie."""
        for name, kind in message.headers:
            if name == PLANTED:
                self.kinds[topic, partition, offset] = kind.decode()


def transactional_producer(bootstrap: str, name: str, timeout_ms: int = 10_000) -> Any:
    """A producer whose transactions are at its caller's mercy. Raises ``KafkaError``."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        bootstrap_timeout_ms=10_000,
        transactional_id=name,
        transaction_timeout_ms=timeout_ms,
        max_block_ms=10_000,
        delivery_timeout_ms=8000,
        request_timeout_ms=5000,
        linger_ms=5,
        key_serializer=KeySerializer(),
    )
    producer.init_transactions()
    return producer


def produce_backlog(
    bootstrap: str, topic: str, count: int, seed: int, without: Collection[str] = ()
) -> Planted:
    """Fill a topic: plainly, and between in transactions that are committed and aborted.

    Ends with plain records in every partition, so that no log ends with a transaction's marker.
    """
    stream = itertools.islice(events(seed, **ingredients(seed, count, without)), count)
    planted = Planted()
    producer = None
    if "transactions" not in without:
        producer = transactional_producer(bootstrap, unique_name("backlog"))
    try:
        while piece := list(itertools.islice(stream, 5000)):
            if producer is not None:
                taken_back = [replace(aborted(piece[0]), partition=n) for n in range(PARTITIONS)]
                _in_transaction(producer, topic, taken_back, commit=False)
                _in_transaction(producer, topic, piece[:50], planted)
                piece = piece[50:]
            places = produce(bootstrap, topic, piece)
            for message, (partition, offset) in zip(piece, places, strict=True):
                planted.note(topic, message, partition, offset)
    finally:
        if producer is not None:
            producer.close(timeout=5)
    return planted


def ingredients(seed: int, count: int, without: Collection[str]) -> Mapping[str, Any]:
    """Arguments of ``events`` for an input of ``count``: the one from the future at random."""
    place = random.Random(f"{seed} future").randrange(count // 10, count)
    return {
        "future_at": -1 if "future" in without else place,
        **({"bad_every": 0, "odd_every": 0} if "hostile" in without else {}),
    }


def _in_transaction(
    producer: Any,
    topic: str,
    messages: Collection[Message],
    planted: Planted | None = None,
    *,
    commit: bool = True,
) -> None:
    producer.begin_transaction()
    futures = [send(producer, topic, message) for message in messages]
    producer.flush(timeout=30)
    for message, future in zip(messages, futures, strict=True):
        metadata = future.get(timeout=30)
        if planted is not None:
            planted.note(topic, message, metadata.partition, metadata.offset)
    if commit:
        producer.commit_transaction()
    else:
        producer.abort_transaction()
