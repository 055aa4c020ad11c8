"""Members of a consumer group for tests, each with its partitions before it is given out."""

from __future__ import annotations

import socket
import struct
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaConsumer

from kafka_broker.clients import TIMEOUT_SECONDS

JOIN_SECONDS = 8.0


def poll_until(
    condition: Callable[[], bool], *consumers: KafkaConsumer, timeout: float = TIMEOUT_SECONDS
) -> None:
    """Poll them in turn until the condition holds; what is read is thrown away.

    Raises:
        TimeoutError: it did not hold in ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come to hold while polling")
        for consumer in consumers:
            consumer.poll(timeout_ms=100)


def join_group(
    bootstrap: str, topics: Sequence[str], group: str, *, listener: Any = None, **settings: Any
) -> KafkaConsumer:
    """A consumer that has been assigned a partition.

    Under load kafka-python now and then joins before it knows the topic, is given nothing, and
    never asks again; then another consumer takes its place.

    Raises:
        TimeoutError: none got a partition.
    """
    for attempt in range(3):
        consumer = KafkaConsumer(
            **{
                "bootstrap_servers": bootstrap,
                "group_id": group,
                "auto_offset_reset": "earliest",
                "enable_auto_commit": False,
                "heartbeat_interval_ms": 200,
                "fetch_max_wait_ms": 50,
                "metadata_max_age_ms": 1000,
                **settings,
            }
        )
        consumer.subscribe(list(topics), listener=listener)
        try:
            poll_until(lambda: bool(consumer.assignment()), consumer, timeout=JOIN_SECONDS)  # noqa: B023 - called at once
        except TimeoutError:
            consumer.close(autocommit=False, timeout_ms=5000)
            if attempt == 2:
                raise
        else:
            return consumer
    raise AssertionError("unreachable")


_HEARTBEAT_OF_CONSUMER_GROUPS = 68


def join_by_newer_protocol(bootstrap: str, topic: str, group: str) -> None:
    """Make a member of the newer protocol (KIP-848), which kafka-python does not speak.

    One heartbeat is enough: the broker holds the member for its session timeout of 45 s.

    Raises:
        ConnectionError: the broker has not taken it.
    """

    def text(content: str) -> bytes:
        return bytes([len(content) + 1]) + content.encode()

    head = struct.pack(">hhih", _HEARTBEAT_OF_CONSUMER_GROUPS, 1, 1, -1) + b"\0"
    # Epoch 0 joins; no instance, no rack; a time to revoke; one topic, no pattern, the default
    # assignor, nothing owned, no tagged fields.
    request = (
        head
        + text(group)
        + text(str(uuid.uuid4()))
        + struct.pack(">i", 0)
        + b"\0\0"
        + struct.pack(">i", 60_000)
        + b"\2"
        + text(topic)
        + b"\0\0\1\0"
    )
    host, port = bootstrap.rsplit(":", 1)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.recv(4096)
        # Length, correlation and tagged fields of the head, throttle time, error.
        (code,) = struct.unpack_from(">h", answer, 4 + 4 + 1 + 4) if len(answer) > 14 else (-1,)
        if code == 0:
            return
        if time.monotonic() > deadline:
            raise ConnectionError(f"the member was not taken: error {code}")
        time.sleep(0.2)  # the coordinator is not there yet
