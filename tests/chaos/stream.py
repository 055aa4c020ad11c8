"""The stream that the faults fall on: about one alert in a hundred events, some bad records."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka_broker.clients import Message, create_topic, unique_name

from stream_detector.simulation.bad import BROKEN

PARTITIONS = 4
START_MS = 1_600_000_000_000
KEEP = {"retention.ms": "-1"}

# `too_large` and `huge_text` fill the log with what the decoder puts aside at its first look.
_BAD = [make for name, make in BROKEN.items() if name not in {"too_large", "huge_text"}]


def events(seed: int, *, start_ms: int = START_MS, bad_every: int = 250) -> Iterator[Message]:
    """Events without end, keyed by user over four partitions; every ``bad_every``-th is a bad one.

    One in 80 is strange (``label`` 1): an amount a thousand times as large.
    """
    random = np.random.default_rng(seed)
    number, time_ms = 0, start_ms
    while True:
        size = 1000
        gaps = random.exponential(400, size).astype(int)
        users = random.zipf(1.4, size) % 300
        amounts, weights = random.lognormal(3, 1, size), random.normal(5, 1, size)
        kinds, strange = random.integers(0, 5, size), random.random(size) < 1 / 80
        for row in range(size):
            time_ms += int(gaps[row])
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
            value: bytes | None = json.dumps(event).encode()
            if bad_every and number % bad_every == bad_every - 1:
                value = _BAD[number // bad_every % len(_BAD)](value or b"")
            partition = zlib.crc32(user.encode()) % PARTITIONS
            yield Message(value, partition, user.encode(), time_ms)
            number += 1


def settings(bootstrap: str, topic: str, directory: Path, shards: int = 1) -> dict[str, Any]:
    """A configuration with a fresh group and fresh output topics, which are created.

    Small chunks, polls and intervals: much learning, many commits and snapshots, so that every
    fault falls into the middle of something.
    """
    group = unique_name("group")
    names = {name: f"{group}-{name}" for name in ("alerts", "dead-letters")}
    for name in names.values():
        create_topic(bootstrap, name, 1, KEEP)
    return {
        "name": "chaos",
        "kafka": {
            "bootstrap_servers": bootstrap,
            "topics": [topic],
            "group": group,
            "alerts": names["alerts"],
            "dead_letters": names["dead-letters"],
            "wait_for_input": "90s",
            "consumer": {
                "session_timeout_ms": 2000,
                "heartbeat_interval_ms": 300,
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
        "threshold": {"budget": "1 %", "burn_in": 300},
        "processing": {
            "shards": shards,
            "chunk_size": 64,
            "max_poll_records": 100,
            "max_buffered_records": 500,
            "commit_interval": "200ms",
        },
        "state": {"directory": str(directory / "state"), "interval": "1s"},
        "metrics": {"port": 0},
    }


def create_input(bootstrap: str) -> str:
    """An input topic with four partitions."""
    return create_topic(bootstrap, unique_name("events"), PARTITIONS, KEEP)


class LiveProducer:
    """Produces ``rate`` events a second from a thread of its own until told to stop.

    Idempotent and patient, so that an outage of the broker delays events and drops none. State:
    the thread; ``sent`` events so far.
    """

    def __init__(self, bootstrap: str, topic: str, rate: float, seed: int) -> None:
        self._bootstrap, self._topic, self._rate, self._seed = bootstrap, topic, rate, seed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-producer", daemon=True)
        self.sent = 0
        self.refused = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the production and wait until everything sent is confirmed or given up."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(150)

    def _run(self) -> None:
        producer = KafkaProducer(
            bootstrap_servers=self._bootstrap,
            bootstrap_timeout_ms=60_000,
            max_block_ms=60_000,
            delivery_timeout_ms=120_000,
            request_timeout_ms=5000,
            linger_ms=5,
            enable_idempotence=True,
        )
        try:
            stream = events(self._seed, start_ms=int(time.time() * 1000) - 3_600_000)
            started = time.monotonic()
            while not self._stopping.wait(0.01):
                # Catches up after an outage: the rate holds on average, and bursts are welcome.
                due = int((time.monotonic() - started) * self._rate)
                while self.sent + self.refused < due and not self._stopping.is_set():
                    self._send(producer, next(stream))
            producer.flush(timeout=120)
        except KafkaError:
            pass  # what is in the log counts, not what was meant to be
        finally:
            producer.close(timeout=5)

    def _send(self, producer: Any, message: Message) -> None:
        try:
            producer.send(
                self._topic,
                value=message.value,
                key=message.key,
                partition=message.partition,
                timestamp_ms=int(time.time() * 1000),
            )
        except KafkaError:
            self.refused += 1
        else:
            self.sent += 1
