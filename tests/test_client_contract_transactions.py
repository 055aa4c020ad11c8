"""What the transactional producer of kafka-python 3.0.12 does for real.

Each test documents the bare client and names the rule of ours that rests on it. When an upgrade
makes one fail, the rule may be eased.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import (
    ConsumerRebalanceListener,
    KafkaConsumer,
    KafkaProducer,
    TopicPartition,
)
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    CommitFailedError,
    InvalidProducerEpochError,
    KafkaError,
    KafkaTimeoutError,
)
from kafka.structs import OffsetAndMetadata
from kafka_broker.broker import Broker
from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from kafka_broker.groups import join_group, poll_until
from kafka_broker.proxy import END_TXN, INIT_PRODUCER_ID, Proxy

PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def proxied(kafka, tmp_path_factory) -> Iterator[tuple[Proxy, Broker]]:
    """A broker for this module behind a proxy; asks for ``kafka`` so as to skip where it does."""
    with Proxy() as proxy:
        broker = Broker(tmp_path_factory.mktemp("proxied"), proxy_port=proxy.port)
        with broker:
            assert broker.proxied_port is not None
            proxy.forward_to(broker.proxied_port)
            yield proxy, broker


@contextlib.contextmanager
def _producer(bootstrap: str, **settings: Any) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(
        **{
            "bootstrap_servers": bootstrap,
            "transactional_id": unique_name("contract"),
            "retry_backoff_ms": 5,
            "max_block_ms": 20_000,
            "request_timeout_ms": 10_000,
            "delivery_timeout_ms": 15_000,
            **settings,
        }
    )
    try:
        yield producer
    finally:
        _end(producer)


def _end(producer: KafkaProducer) -> None:
    with contextlib.suppress(KafkaError):
        producer.close(timeout=0)
    producer._sender.force_close()
    producer._sender.join(PATIENCE_SECONDS)


@contextlib.contextmanager
def _member(bootstrap: str, topic: str, group: str, **settings: Any) -> Iterator[KafkaConsumer]:
    consumer = join_group(bootstrap, [topic], group, isolation_level="read_committed", **settings)
    try:
        yield consumer
    finally:
        consumer.close(autocommit=False, timeout_ms=5000)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _values(bootstrap: str, topic: str) -> list[bytes]:
    return [record.value for record in consume_all(bootstrap, topic)]


def _stable_end(bootstrap: str, topic: str) -> int:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
    try:
        partition = TopicPartition(topic, 0)
        return consumer.end_offsets([partition], timeout_ms=10_000)[partition]
    finally:
        consumer.close(autocommit=False, timeout_ms=5000)


def _begin(producer: KafkaProducer, topic: str, value: bytes) -> None:
    producer.begin_transaction()
    producer.send(topic, value).get(timeout=PATIENCE_SECONDS)


def test_a_transaction_that_the_broker_timed_out_commits_without_an_error_and_is_lost(
    kafka, topic_factory
) -> None:
    """Defect A: a transaction slower than half of its timeout is in doubt though commit said OK."""
    topic = topic_factory("timed-out")
    # The pause before a batch leaves: an answer to it that comes before the commit is asked for is
    # an error of the commit, which would be no defect.
    settings = {"transaction_timeout_ms": 1000, "linger_ms": 500}
    with _producer(kafka.bootstrap, **settings) as producer:
        producer.init_transactions()
        _begin(producer, topic, b"before the timeout")
        _wait_until(lambda: _stable_end(kafka.bootstrap, topic) == 2)  # the record and the abort
        producer.send(topic, b"after the timeout")
        assert producer.commit_transaction() is None
    assert _values(kafka.bootstrap, topic) == []


def test_a_batch_that_was_not_delivered_in_time_is_missing_from_a_commit_that_says_ok(
    proxied,
) -> None:
    """Defect B: check the future of every record before the commit."""
    proxy, broker = proxied
    topic = create_topic(broker.bootstrap, unique_name("part-commit"))
    settings = {"delivery_timeout_ms": 1000, "request_timeout_ms": 800}
    with _producer(proxy.bootstrap, **settings) as producer:
        producer.init_transactions()
        _begin(producer, topic, b"delivered")
        with proxy.half_open():
            late = producer.send(topic, b"not delivered")
            with pytest.raises(KafkaError):
                late.get(timeout=PATIENCE_SECONDS)
        assert producer.commit_transaction() is None
    assert _values(broker.bootstrap, topic) == [b"delivered"]


def test_a_commit_sent_while_the_broker_is_down_never_ends_and_close_does_not_end_it(
    broker_factory,
) -> None:
    """Defect C: never wait for a commit without a deadline; after one, a new producer.

    The sender drops the request when the coordinator's connection is refused, for good. What it
    was waiting for can only be ended by who holds the result; ``close`` ends threads and sockets.
    """
    broker = broker_factory()
    topic = create_topic(broker.bootstrap, "endless")
    name = unique_name("contract")
    results: list[Any] = []
    with _producer(broker.bootstrap, transactional_id=name) as producer:
        producer.init_transactions()
        _begin(producer, topic, b"in doubt")
        begin_commit = producer._transaction_manager.begin_commit

        def noted_begin_commit() -> Any:
            results.append(begin_commit())
            return results[-1]

        producer._transaction_manager.begin_commit = noted_begin_commit
        broker.kill()
        commit = threading.Thread(target=_commit_quietly, args=[producer], daemon=True)
        commit.start()
        # Gone from the queue, and not sent: nobody will ever answer it.
        _wait_until(lambda: bool(results) and not producer._transaction_manager._pending_requests)
        broker.start()
        produce(broker.bootstrap, topic, [Message(b"the broker is back")])
        commit.join(5)
        assert commit.is_alive(), "kafka-python was mended: the commit may wait"

        producer.close(timeout=0)
        producer._sender.join(PATIENCE_SECONDS)
        assert not producer._sender.is_alive()
        commit.join(1)
        assert commit.is_alive(), "close ends a waiting commit now"
        assert not results[0].wait(timeout_ms=100)
        results[0].done(error=KafkaError("given up"))
        commit.join(PATIENCE_SECONDS)
        assert not commit.is_alive()
    with _producer(broker.bootstrap, transactional_id=name) as successor:
        successor.init_transactions()
    assert _values(broker.bootstrap, topic) == [b"the broker is back"]


def _commit_quietly(producer: KafkaProducer) -> None:
    with contextlib.suppress(KafkaError):
        producer.commit_transaction()


def test_a_begun_commit_can_be_waited_for_with_a_deadline_and_again_after_it(proxied) -> None:
    """Our deadline: ``begin_commit()``, ``wakeup()``, ``wait(timeout_ms)`` need no thread.

    After the deadline the producer can neither begin, commit nor abort: replace it.
    """
    proxy, broker = proxied
    topic = create_topic(broker.bootstrap, unique_name("deadline"))
    with _producer(proxy.bootstrap) as producer:
        producer.init_transactions()
        _begin(producer, topic, b"slowly")
        held = proxy.delay_replies(END_TXN, 1.5)
        result = producer._transaction_manager.begin_commit()
        producer._sender.wakeup()
        assert held.wait()
        assert result.wait(timeout_ms=10) is False
        for call in (
            producer.begin_transaction,
            producer.commit_transaction,
            producer.abort_transaction,
        ):
            with pytest.raises(KafkaError, match="Invalid transition"):
                call()
        assert result.wait(timeout_ms=PATIENCE_SECONDS * 1000) is True
    assert _values(broker.bootstrap, topic) == [b"slowly"]


def test_a_commit_whose_reply_is_lost_fails_though_it_counts(proxied) -> None:
    """After an error of the commit, the committed offset tells what came of it (fault 12)."""
    proxy, broker = proxied
    topic = create_topic(broker.bootstrap, unique_name("lost-reply"))
    with _producer(proxy.bootstrap, request_timeout_ms=1000, delivery_timeout_ms=5000) as producer:
        producer.init_transactions()
        _begin(producer, topic, b"once")
        lost = proxy.drop_replies(END_TXN)
        with pytest.raises(KafkaError, match="unknown reasons"):
            producer.commit_transaction()
        assert lost.wait()
        with pytest.raises(KafkaError, match="error state"):
            producer.begin_transaction()
    _wait_until(lambda: _values(broker.bootstrap, topic) == [b"once"])


def test_init_transactions_heeds_max_block_ms(proxied) -> None:
    """The one transactional call with a deadline of its own: we call it plainly."""
    proxy, _ = proxied
    with _producer(proxy.bootstrap, max_block_ms=300) as producer:
        proxy.drop_replies(INIT_PRODUCER_ID, times=1000)
        try:
            with pytest.raises(KafkaTimeoutError, match="initializing transactional state"):
                producer.init_transactions()
        finally:
            proxy.drop_replies(INIT_PRODUCER_ID, times=0)


def test_close_that_cannot_flush_raises_and_closes_nothing(proxied) -> None:
    """A producer is given up with ``force_close``: ``close`` flushes first, and may fail at it."""
    proxy, broker = proxied
    topic = create_topic(broker.bootstrap, unique_name("unsent"))
    gc.collect()
    sockets = _open_sockets()
    with _producer(proxy.bootstrap) as producer:
        producer.init_transactions()
        _begin(producer, topic, b"sent")
        with proxy.half_open():
            producer.send(topic, b"unsent")
            with pytest.raises(KafkaTimeoutError):
                producer.close(timeout=0)
            assert producer._sender.is_alive()
            assert not producer._closed
            producer._sender.force_close()
            producer._sender.join(PATIENCE_SECONDS)
            assert not producer._sender.is_alive()
    del producer
    _wait_until(lambda: proxy.connections == 0)
    gc.collect()
    assert _open_sockets() <= sockets


def _open_sockets() -> int:
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found


def test_a_stale_generation_fails_the_offsets_and_the_producer_goes_on_after_an_abort(
    kafka, topic_factory
) -> None:
    """The group's fence: metadata from the time of the poll, an abort on CommitFailedError."""
    topic, other = topic_factory("fenced"), topic_factory("other")
    partition = TopicPartition(topic, 0)
    with (
        _member(kafka.bootstrap, topic, unique_name("group")) as consumer,
        _producer(kafka.bootstrap) as producer,
    ):
        stale = consumer.group_metadata()
        consumer.subscribe([topic, other])
        # Not until both are assigned: the new topic may stay unknown, as in join_group.
        poll_until(lambda: consumer.group_metadata().generation_id > stale.generation_id, consumer)
        fresh = consumer.group_metadata()
        producer.init_transactions()
        producer.begin_transaction()
        with pytest.raises(CommitFailedError):
            producer.send_offsets_to_transaction({partition: OffsetAndMetadata(1, "", -1)}, stale)
        producer.abort_transaction()
        producer.begin_transaction()
        producer.send_offsets_to_transaction({partition: OffsetAndMetadata(2, "", -1)}, fresh)
        producer.commit_transaction()
        assert consumer.committed(partition, timeout_ms=10_000) == 2


def test_neither_a_bare_group_nor_the_metadata_after_leaving_is_fenced(
    kafka, topic_factory
) -> None:
    """We refuse a generation below 0 ourselves, since the broker does not."""
    topic = topic_factory("unfenced")
    partition = TopicPartition(topic, 0)
    group = unique_name("group")
    with _member(kafka.bootstrap, topic, group) as left:
        pass
    after_leaving = left.group_metadata()
    assert (after_leaving.generation_id, after_leaving.member_id) == (-1, "")
    with (
        _member(kafka.bootstrap, topic, group) as owner,
        _producer(kafka.bootstrap) as producer,
    ):
        producer.init_transactions()
        for offset, metadata in enumerate((group, after_leaving), start=1):
            producer.begin_transaction()
            offsets = {partition: OffsetAndMetadata(offset, "", -1)}
            producer.send_offsets_to_transaction(offsets, metadata)
            producer.commit_transaction()
            assert owner.committed(partition, timeout_ms=10_000) == offset


def test_a_zombie_learns_it_from_its_sends_and_from_a_plain_kafka_error(
    kafka, topic_factory
) -> None:
    """We catch ``KafkaError``: being fenced has no one name, and ProducerFencedError comes late."""
    topic = topic_factory("zombie")
    name = unique_name("contract")
    with (
        _producer(kafka.bootstrap, transactional_id=name) as zombie,
        _producer(kafka.bootstrap, transactional_id=name) as owner,
    ):
        zombie.init_transactions()
        _begin(zombie, topic, b"aborted by the owner")
        owner.init_transactions()
        with pytest.raises(InvalidProducerEpochError):
            zombie.send(topic, b"fenced").get(timeout=PATIENCE_SECONDS)
        # Which of the two depends on whether its sender has asked for a new epoch by now.
        message = "Invalid transition|in an error state"
        with pytest.raises(KafkaError, match=message) as failure:
            zombie.commit_transaction()
        assert type(failure.value) is KafkaError
        _begin(owner, topic, b"the owner's")
        owner.commit_transaction()
    assert _values(kafka.bootstrap, topic) == [b"the owner's"]


class _CommittingListener(ConsumerRebalanceListener):
    """Commits the offset 1 of what is revoked, with older metadata first, then with fresh."""

    def __init__(self, consumer: KafkaConsumer, producer: KafkaProducer) -> None:
        self.noted = consumer.group_metadata()
        self.outcomes: list[str] = []
        self.revoked: set[TopicPartition] = set()
        self.over = False
        self._consumer = consumer
        self._producer = producer

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if not revoked or self.outcomes or self.over:
            return
        self.revoked = set(revoked)
        for metadata in (self.noted, self._consumer.group_metadata()):
            self._producer.begin_transaction()
            offsets = {partition: OffsetAndMetadata(1, "", -1) for partition in revoked}
            try:
                self._producer.send_offsets_to_transaction(offsets, metadata)
            except CommitFailedError:
                self._producer.abort_transaction()
                self.outcomes.append("refused")
            else:
                self._producer.commit_transaction()
                self.outcomes.append("committed")

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        pass


@pytest.mark.parametrize(
    ("assignor", "outcomes"),
    [("eager", ["committed", "committed"]), ("cooperative", ["refused", "committed"])],
)
def test_a_listener_can_commit_what_is_revoked_with_metadata_taken_there(
    kafka, topic_factory, assignor: str, outcomes: list[str]
) -> None:
    """Under cooperative rebalancing the generation has moved on when the listener is called.

    So metadata of the last poll is refused there, and fresh metadata is taken, though the
    partitions are no longer in the assignment. The producer has a thread of its own: no deadlock.
    """
    topic = topic_factory("revoked", partitions=2)
    group = unique_name("group")
    with (
        _member(kafka.bootstrap, topic, group, **_strategy(assignor)) as consumer,
        _producer(kafka.bootstrap) as producer,
    ):
        producer.init_transactions()
        poll_until(lambda: len(consumer.assignment()) == 2, consumer)
        listener = _CommittingListener(consumer, producer)
        consumer._subscription.rebalance_listener = listener
        newcomer = KafkaConsumer(
            bootstrap_servers=kafka.bootstrap,
            group_id=group,
            enable_auto_commit=False,
            **_strategy(assignor),
        )
        newcomer.subscribe([topic])
        try:
            # No longer: polled in turn, a loaded machine's two eager members may rejoin for ever.
            poll_until(lambda: len(listener.outcomes) == 2, consumer, newcomer)
            for partition in listener.revoked:
                assert consumer.committed(partition, timeout_ms=10_000) == 1
        finally:
            # Closing revokes as well, but the producer is closed before: a commit would never end.
            listener.over = True
            newcomer.close(autocommit=False, timeout_ms=5000)
        assert listener.outcomes == outcomes
        assert len(listener.revoked) == (2 if assignor == "eager" else 1)


def _strategy(assignor: str) -> dict[str, Any]:
    if assignor == "eager":
        return {}
    return {"partition_assignment_strategy": [CooperativeStickyAssignor()]}
