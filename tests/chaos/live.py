"""Producers at work while the faults fall: a steady one, and one that dies in a transaction."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka_broker.clients import KeySerializer, Message, send, unique_name

from chaos.hostile import aborted
from chaos.stream import Planted, events, ingredients, transactional_producer

HANGING_MS = 6000
"""Timeout of a transaction whose producer is gone: then the broker ends it."""

ABORTER = "aborter"
_ABORT_EVERY_SECONDS = 4.0
_WRITER = """
import sys, time
from chaos.hostile import aborted
from chaos.stream import transactional_producer
from kafka_broker.clients import Message, send
bootstrap, topic, partition, name, timeout_ms = sys.argv[1:]
producer = transactional_producer(bootstrap, name, int(timeout_ms))
producer.begin_transaction()
send(producer, topic, aborted(Message(b"{}", int(partition), b"k"))).get(timeout=10)
print("open", flush=True)
time.sleep(600)
"""


def leave_hanging(bootstrap: str, topic: str, partition: int, name: str) -> bool:
    """A process that writes in a transaction and is killed before its end; whether it got so far.

    The log is readable beyond that record only when the transaction has been ended.
    """
    arguments = [bootstrap, topic, str(partition), name, str(HANGING_MS)]
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, *arguments], stdout=subprocess.PIPE, env=_environment()
    )
    limit = threading.Timer(40, process.kill)
    limit.start()
    try:
        assert process.stdout is not None
        return process.stdout.readline() == b"open\n"
    finally:
        limit.cancel()
        process.kill()
        process.communicate(timeout=10)


def _environment() -> dict[str, str]:
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


class LiveProducer:
    """Produces ``rate`` events a second from a thread of its own until told to stop.

    Idempotent and patient, so that an outage of the broker delays events and drops none. Sends to
    the partitions that there are, also to those that are added. State: the thread; ``sent`` events
    so far; ``planted``, the bad ones that are in the log.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Sequence[str],
        rate: float,
        seed: int,
        without: Collection[str] = (),
        most: int = sys.maxsize,
        silent: threading.Event | None = None,
    ) -> None:
        """Say what is to be produced.

        Args:
            bootstrap: the brokers.
            topics: by turns.
            rate: events a second.
            seed: decides the events.
            without: ingredients that are left out.
            most: where it stops by itself, so that little remains to be read after.
            silent: while it is set nothing is sent, and nothing is made up for later.
        """
        self._bootstrap, self._topics, self._rate, self._seed = bootstrap, topics, rate, seed
        self._ingredients = ingredients(seed, min(int(rate * 60), most), without)
        self._most = most
        self._stopping = threading.Event()
        self._silent = silent or threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-producer", daemon=True)
        self._futures: list[tuple[str, Message, Any]] = []
        self.planted = Planted()
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
            metadata_max_age_ms=500,
            linger_ms=5,
            enable_idempotence=True,
            key_serializer=KeySerializer(),
        )
        try:
            stream = events(
                self._seed, clock_ms=lambda: int(time.time() * 1000), **self._ingredients
            )
            started = time.monotonic()
            while not self._stopping.wait(0.01):
                if self._silent.is_set():
                    started = time.monotonic() - (self.sent + self.refused) / self._rate
                    continue
                # Catches up after an outage: the rate holds on average, and bursts are welcome.
                due = min(int((time.monotonic() - started) * self._rate), self._most)
                while self.sent + self.refused < due and not self._stopping.is_set():
                    self._send(producer, next(stream))
            producer.flush(timeout=120)
        except KafkaError:
            pass  # what is in the log counts, not what was meant to be
        finally:
            producer.close(timeout=5)
            for topic, message, future in self._futures:
                if future.succeeded():
                    self.planted.note(topic, message, future.value.partition, future.value.offset)

    def _send(self, producer: Any, message: Message) -> None:
        topic = self._topics[self.sent % len(self._topics)]
        try:
            partitions = producer.partitions_for(topic) or {0}
            place = zlib.crc32(message.key or b"") % len(partitions)
            future = send(producer, topic, replace(message, partition=place))
        except KafkaError:
            self.refused += 1
            return
        self.sent += 1
        if message.headers:
            self._futures.append((topic, message, future))


class Aborter:
    """Writes records in transactions and takes them back, from a thread of its own, until stopped.

    kafka-python's abort has no deadline: where the brokers go in the middle of it, it may never
    return. Then the transaction is left to its timeout, and no more come. State: the thread;
    ``aborted`` transactions so far.
    """

    def __init__(self, bootstrap: str, topics: Sequence[str], seed: int) -> None:
        self._bootstrap, self._topics = bootstrap, topics
        self._random = random.Random(f"{seed} aborter")
        self._name = unique_name(ABORTER)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aborter", daemon=True)
        self.aborted = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _run(self) -> None:
        producer = None
        while not self._stopping.wait(_ABORT_EVERY_SECONDS):
            try:
                if producer is None:
                    producer = transactional_producer(self._bootstrap, self._name, HANGING_MS)
                topic = self._random.choice(self._topics)
                partition = self._random.choice(sorted(producer.partitions_for(topic)))
                producer.begin_transaction()
                message = aborted(Message(b"{}", partition, b"k"))
                send(producer, topic, message).get(timeout=10)
                producer.abort_transaction()
                self.aborted += 1
            except (KafkaError, OSError):
                _let_go(producer)
                producer = None
        _let_go(producer)


def _let_go(producer: KafkaProducer | None) -> None:
    """Close a producer, whose close raises where it is asked to wait for a broker that is away."""
    if producer is not None:
        with suppress(KafkaError):
            producer.close(timeout=2)
