"""What kafka-python 3.0.12 does for real, where our code depends on it.

Each test documents the bare client. When an upgrade makes one fail, the workaround that it names
may go.
"""

from __future__ import annotations

import time

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka_broker.clients import Message, produce

from stream_detector.connectors.kafka.client.consumer import look_again


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

    ``Consumer.poll`` sets it so.
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


@pytest.mark.parametrize("ours", [False, True], ids=["bare", "ours"])
def test_what_arrives_while_more_is_asked_for_is_slept_on(
    kafka, topic_factory, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    """Defect: ``send_fetches`` forgets answers that came after ``fetch_records`` last looked.

    ``look_again`` wakes the wait that follows.
    """
    topic = topic_factory("overlooked")
    consumer = _consumer(kafka.bootstrap, topic, 1)
    fetcher = consumer._fetcher
    ask_for_more, sent, slept = fetcher.send_fetches, [], []

    def answer_comes_first() -> list:
        waiting = list(fetcher._fetch_futures)
        if waiting and not sent:
            sent.append(True)
            produce(kafka.bootstrap, topic, [Message(b"x", 0)])
            until = time.monotonic() + 30
            while not fetcher._completed_fetches and time.monotonic() < until:
                fetches = [future for future in waiting if not future.is_done]
                time.sleep(0.001)
                if not fetches:  # it ended without a record: the next one will have it
                    waiting = ask_for_more()
        return ask_for_more()

    fetcher.send_fetches = answer_comes_first
    if ours:
        look_again(consumer)
    real_sleep = time.sleep
    monkeypatch.setattr(
        "kafka.consumer.group.time.sleep", lambda s: (slept.append(s), real_sleep(s))
    )
    seen = 0
    while not seen:
        consumer.poll(timeout_ms=0)  # a fetch is under way from here on
        slept.clear()
        seen = sum(map(len, consumer.poll(timeout_ms=30_000).values()))
    long_sleeps = [s for s in slept if s > 0.01]
    assert bool(long_sleeps) is not ours, "kafka-python was mended: remove look_again"
    consumer.close(autocommit=False, timeout_ms=5000)
