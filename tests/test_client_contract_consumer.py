"""What the consumer of kafka-python 3.0.12 does for real.

Each test documents the bare client and names the rule of ours that rests on it. When an upgrade
makes one fail, the rule may be eased.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from kafka import (
    AsyncConsumerRebalanceListener,
    ConsumerRebalanceListener,
    KafkaConsumer,
    TopicPartition,
)
from kafka.errors import (
    CorruptRecordError,
    FencedInstanceIdError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from kafka.future import Future
from kafka_broker.broker import Broker
from kafka_broker.clients import Message, admin_client, create_topic, produce, unique_name
from kafka_broker.groups import join_group, poll_until
from kafka_broker.proxy import Proxy

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.reading.source import KafkaSource

PATIENCE_SECONDS = 30.0


def _reader(bootstrap: str, partition: TopicPartition, **settings: Any) -> KafkaConsumer:
    consumer = KafkaConsumer(
        **{
            "bootstrap_servers": bootstrap,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "fetch_max_wait_ms": 50,
            **settings,
        }
    )
    consumer.assign([partition])
    return consumer


def _close(consumer: KafkaConsumer) -> None:
    consumer.close(autocommit=False, timeout_ms=5000)


def _poll_quietly(consumer: KafkaConsumer) -> None:
    # AttributeError: what the test takes away to end this may be in use just then.
    with contextlib.suppress(CorruptRecordError, AttributeError):
        consumer.poll(timeout_ms=100)


def _next_values(consumer: KafkaConsumer) -> list[bytes]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if polled := consumer.poll(timeout_ms=500):
            return [record.value for records in polled.values() for record in records]
    raise TimeoutError("no records came")


def test_poll_after_a_corrupt_batch_never_returns_unless_the_position_moves_past_it(
    broker_factory,
) -> None:
    """Defect D: after an exception of poll, seek past the record before the next poll."""
    broker: Broker = broker_factory()
    partition = TopicPartition(create_topic(broker.bootstrap, "corrupt"), 0)
    for value in (b"first", b"second", b"third"):  # a batch each
        produce(broker.bootstrap, partition.topic, [Message(value)])
    broker.stop()
    (log,) = (broker.data_directory / "corrupt-0").glob("*.log")
    log.write_bytes(log.read_bytes().replace(b"second", b"sEcond"))
    broker.start()

    mended = _reader(broker.bootstrap, partition)
    assert _next_values(mended) == [b"first"]
    with pytest.raises(CorruptRecordError):
        mended.poll(timeout_ms=5000)
    mended.seek(partition, 2)
    assert _next_values(mended) == [b"third"]
    _close(mended)

    stuck = _reader(broker.bootstrap, partition)
    assert _next_values(stuck) == [b"first"]
    with pytest.raises(CorruptRecordError):
        stuck.poll(timeout_ms=5000)
    poll = threading.Thread(target=_poll_quietly, args=[stuck], daemon=True)
    poll.start()
    poll.join(2)
    assert poll.is_alive(), "kafka-python was mended: poll heeds its timeout"
    stuck._fetcher._next_partition_records = None  # to end the test's thread
    poll.join(PATIENCE_SECONDS)
    assert not poll.is_alive()
    _close(stuck)


def test_poll_is_silent_while_the_broker_is_away_and_resumes_by_itself(broker_factory) -> None:
    """An outage is noticed by our own clock, not by an error of the consumer."""
    with Proxy() as proxy:
        broker: Broker = broker_factory(proxy_port=proxy.port)
        assert broker.proxied_port is not None
        proxy.forward_to(broker.proxied_port)
        partition = TopicPartition(create_topic(broker.bootstrap, "away"), 0)
        produce(broker.bootstrap, partition.topic, [Message(b"before")])
        consumer = _reader(proxy.bootstrap, partition)
        assert _next_values(consumer) == [b"before"]
        proxy.forward_to(1)  # where nobody listens
        proxy.cut()
        produce(broker.bootstrap, partition.topic, [Message(b"meanwhile")])
        for _ in range(5):
            assert consumer.poll(timeout_ms=200) == {}
        proxy.forward_to(broker.proxied_port)
        assert _next_values(consumer) == [b"meanwhile"]
        _close(consumer)


def test_topics_are_created_by_asking_for_them_whatever_the_setting_says(broker_factory) -> None:
    """``allow_auto_create_topics=False`` is ignored: we ask the admin client first."""
    broker: Broker = broker_factory(properties={"auto.create.topics.enable": True})
    consumer = KafkaConsumer(
        bootstrap_servers=broker.bootstrap,
        group_id=unique_name("group"),
        allow_auto_create_topics=False,
    )
    consumer.subscribe(["appeared"])
    with admin_client(broker.bootstrap) as admin:
        poll_until(lambda: "appeared" in admin.list_topics(), consumer)
    _close(consumer)


def test_without_a_reset_policy_every_poll_raises_until_the_position_is_set(
    kafka, topic_factory
) -> None:
    """``auto_offset_reset="none"`` and a policy of our own: the others reset silently."""
    partition = TopicPartition(topic_factory("range"), 0)
    produce(kafka.bootstrap, partition.topic, [Message(b"only")])
    consumer = _reader(
        kafka.bootstrap, partition, auto_offset_reset="none", group_id=unique_name("group")
    )
    with pytest.raises(NoOffsetForPartitionError):
        _next_values(consumer)
    consumer.seek(partition, 1000)
    for _ in range(3):
        with pytest.raises(OffsetOutOfRangeError) as failure:
            _next_values(consumer)
        assert failure.value.args[0] == {partition: 1000}
    consumer.seek(partition, 0)
    assert _next_values(consumer) == [b"only"]
    _close(consumer)


def test_a_displaced_static_member_learns_it_only_when_it_commits(kafka, topic_factory) -> None:
    """With ``kafka.instance_id`` the commit is the fence: polls go on without an error."""
    topic = topic_factory("static")
    produce(kafka.bootstrap, topic, [Message(b"x")])
    group = unique_name("group")
    displaced = join_group(kafka.bootstrap, [topic], group, group_instance_id="one")
    successor = join_group(kafka.bootstrap, [topic], group, group_instance_id="one")
    end = time.monotonic() + 1  # several heartbeats of 200 ms
    while time.monotonic() < end:
        displaced.poll(timeout_ms=100)
    assert displaced.assignment() == successor.assignment()
    with pytest.raises(FencedInstanceIdError):
        displaced.commit()
    _close(displaced)
    _close(successor)


class _Asking(ConsumerRebalanceListener):
    """Calls the consumer from inside the listener and keeps what is raised."""

    def __init__(self) -> None:
        self.consumer: KafkaConsumer | None = None
        self.raised: list[BaseException] = []

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if self.consumer is None or not revoked:
            return
        partition = next(iter(revoked))
        calls: list[Callable[[], object]] = [
            self.consumer.commit,
            lambda: self.consumer and self.consumer.committed(partition),
        ]
        for call in calls:
            try:
                call()
            except RuntimeError as error:
                self.raised.append(error)
        self.consumer.seek(partition, 0)
        self.consumer.pause(partition)
        self.consumer.resume(partition)

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        pass


def test_the_consumer_cannot_commit_inside_a_listener(kafka, topic_factory) -> None:
    """The listener runs on the I/O thread: what it commits, it commits through the producer."""
    topics = [topic_factory("inside"), topic_factory("inside")]
    listener = _Asking()
    consumer = join_group(kafka.bootstrap, topics[:1], unique_name("group"), listener=listener)
    listener.consumer = consumer
    consumer.subscribe(topics, listener=listener)
    poll_until(lambda: len(listener.raised) >= 2, consumer)
    assert all("IO thread" in str(error) for error in listener.raised)
    listener.consumer = None
    _close(consumer)


class _SlowListener(ConsumerRebalanceListener):
    """Blocks the I/O thread for three session timeouts when partitions are revoked."""

    def __init__(self) -> None:
        self.consumer: KafkaConsumer | None = None
        self.slow = False
        self.ended = False
        self.lost: list[TopicPartition] = []

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if self.slow and revoked:
            self.slow = False
            time.sleep(3)
            self.ended = True

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        pass

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self.lost.extend(lost)


class _WaitingListener(AsyncConsumerRebalanceListener):
    """Awaits for the same time what another thread does, while the I/O thread goes on."""

    def __init__(self) -> None:
        self.consumer: KafkaConsumer | None = None
        self.slow = False
        self.ended = False
        self.lost: list[TopicPartition] = []

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if self.slow and revoked and self.consumer is not None:
            self.slow = False
            done, loop = Future(), self.consumer._net

            def finish() -> None:
                loop.call_soon_threadsafe(lambda: done.success(None))

            threading.Timer(3, finish).start()
            await done
            self.ended = True

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        pass

    async def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self.lost.extend(lost)


@pytest.mark.parametrize(("kind", "survives"), [(_SlowListener, False), (_WaitingListener, True)])
def test_a_listener_that_blocks_costs_the_membership_and_one_that_awaits_does_not(
    kafka, topic_factory, kind: type, survives: bool
) -> None:
    """A listener ends in a fraction of the session timeout; ``poll`` hangs as long as it runs.

    The eviction is told by the member's id only: ``on_partitions_lost`` is not called, because
    ``on_partitions_revoked`` had been.
    """
    topics = [topic_factory("blocked"), topic_factory("blocked")]
    listener = kind()
    consumer = join_group(
        kafka.bootstrap,
        topics[:1],
        unique_name("group"),
        listener=listener,
        session_timeout_ms=1000,
    )
    listener.consumer = consumer
    before = consumer.group_metadata()
    listener.slow = True
    consumer.subscribe(topics, listener=listener)
    poll_until(lambda: not listener.slow, consumer)
    assert listener.ended, "poll no longer waits for the listener"
    poll_until(lambda: consumer.group_metadata().generation_id > before.generation_id, consumer)
    assert (consumer.group_metadata().member_id == before.member_id) is survives
    assert not listener.lost
    _close(consumer)


def _join_between_polls(consumer: Any, poll: Callable[[], Any]) -> int:
    """Poll for a moment at a time until something is assigned; the generation that it took."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not consumer.assignment():
        assert time.monotonic() < deadline
        poll()
        time.sleep(0.3)  # the group's answer arrives meanwhile
    return int(consumer.group_metadata().generation_id)


def test_a_join_that_ends_between_two_polls_is_thrown_away_unless_it_is_kept(
    kafka, topic_factory
) -> None:
    """Each further join of a leader is a rebalance for all: ``GroupMember`` keeps the answer."""
    topic = topic_factory("joins")
    bare = KafkaConsumer(
        bootstrap_servers=kafka.bootstrap, group_id=unique_name("group"), enable_auto_commit=False
    )
    bare.subscribe([topic])
    assert bare.partitions_for_topic(topic) == {0}
    with contextlib.closing(bare):
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not bare.assignment():
            bare.poll(timeout_ms=1)
            time.sleep(0.3)
        assert not bare.assignment(), "the client keeps it now: GroupMember need not"
    settings = KafkaConfig(
        bootstrap_servers=kafka.bootstrap,
        topics=[topic],
        group=unique_name("group"),
        alerts="alerts",
        dead_letters="dead-letters",
    )
    source = KafkaSource(settings, shards=1, max_poll_records=10)
    with contextlib.closing(source):
        assert _join_between_polls(source._member, lambda: source.poll(0.001)) == 1
