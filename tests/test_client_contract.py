"""What kafka-python 3.0.12 does for real, where our code depends on it.

Each test documents the bare client. When an upgrade makes one fail, the workaround that it names
may go.
"""

from __future__ import annotations

import time

from kafka import KafkaConsumer, TopicPartition
from kafka_broker.clients import Message, produce


def _consumer(bootstrap: str, topic: str, partitions: int) -> KafkaConsumer:
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=5,
        fetch_max_wait_ms=50,
    )
    consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
    return consumer


def test_a_resumed_partition_stands_still_when_the_others_are_at_their_end(
    kafka, topic_factory
) -> None:
    """Defect: parked records come back only where ``_next_partition_records`` is None.

    ``KafkaSource._unpark`` sets it so.
    """
    topic = topic_factory("parked", partitions=2)
    produce(kafka.bootstrap, topic, [Message(b"x", 0) for _ in range(20)])
    produce(kafka.bootstrap, topic, [Message(b"y", 1) for _ in range(20)])
    consumer = _consumer(kafka.bootstrap, topic, 2)
    first: dict = {}
    while not first:
        first = consumer.poll(timeout_ms=1000)
    (paused,) = first
    consumer.pause(paused)  # fifteen of its records are parked by the next poll
    seen = 0
    while seen < 20:
        polled = consumer.poll(timeout_ms=1000)
        assert paused not in polled
        seen += sum(map(len, polled.values()))
    consumer.resume(paused)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        assert not consumer.poll(timeout_ms=200), "kafka-python was mended: remove _unpark"
    consumer._fetcher._next_partition_records = None
    back = 0
    while back < 15:
        back += sum(map(len, consumer.poll(timeout_ms=1000).values()))
    assert back == 15
    consumer.close(autocommit=False, timeout_ms=5000)
