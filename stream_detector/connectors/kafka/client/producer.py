"""A producer whose every wait has a deadline, and that closes whatever it still has to send.

kafka-python 3.0.12 waits for ever on the answers of a transaction's coordinator, and says nothing
of a batch that timed out but by its future. tests/test_client_contract_transactions.py shows each
on the bare client.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaProducer

from stream_detector.connectors.kafka.client.errors import KafkaError, KafkaTimeoutError
from stream_detector.connectors.kafka.client.metadata import Metadata
from stream_detector.connectors.kafka.client.partitions import to_commit
from stream_detector.connectors.kafka.client.starting import start
from stream_detector.events import TopicPartition

PRODUCER_DEFAULTS: Mapping[str, Any] = KafkaProducer.DEFAULT_CONFIG
"""Every setting of kafka-python's producer, with its default."""

_CLOSE_SECONDS = 1.0


class Producer:
    """Writes messages, and transactions where its settings name an id. State: the client's.

    Attributes:
        metadata: what it knows of the cluster.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Connect with these arguments of ``KafkaProducer``. Raises the client's errors."""
        self._client = start(KafkaProducer, settings)
        self.metadata = Metadata(self._client._metadata)  # noqa: SLF001 - there is no public way

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Any:
        """Hand a message over; its future. Raises ``SEND_ERRORS`` where it is refused at once."""
        return self._client.send(
            topic,
            value=value,
            key=key,
            headers=headers,
            partition=partition,
            timestamp_ms=timestamp_ms,
        )

    def flush(self, timeout: float) -> None:
        """Wait until each message is written or given up, which only its future tells.

        ``timeout`` is for each batch.
        """
        self._client.flush(timeout=timeout)

    def close(self) -> None:
        """Disconnect, whatever there still is to send.

        Without a timeout the client's ``close`` waits for ever. With one it flushes first, and
        where that fails it closes nothing: thread and sockets would stay (kafka-python 3.0.12).
        """
        try:
            self._client.close(timeout=_CLOSE_SECONDS)
        except KafkaError:
            self._client._sender.force_close()  # noqa: SLF001
            self._client._closed = True  # noqa: SLF001

    def init_transactions(self) -> None:
        """Fence the last producer of this id and end its transaction; heeds ``max_block_ms``."""
        self._client.init_transactions()

    def begin_transaction(self) -> None:
        """Begin. It asks nobody."""
        self._client.begin_transaction()

    def send_offsets(
        self, offsets: Mapping[TopicPartition, int], membership: Any, deadline: float
    ) -> None:
        """Put a group's offsets into the transaction; ``membership`` is the group's metadata.

        Raises ``KafkaTimeoutError`` at the deadline, by ``time.monotonic``; so do the others.
        """
        request = self._transactions.send_offsets_to_transaction(to_commit(offsets), membership)
        self._wait(request, deadline)

    def commit_transaction(self, deadline: float) -> None:
        """Commit. Flushes nothing: every future must have been looked at before."""
        self._wait(self._transactions.begin_commit(), deadline)

    def abort_transaction(self, deadline: float) -> None:
        """Abort."""
        self._wait(self._transactions.begin_abort(), deadline)

    @property
    def _transactions(self) -> Any:
        return self._client._transaction_manager  # noqa: SLF001 - public calls have no deadline

    def _wait(self, result: Any, deadline: float) -> None:
        """Wait for a request of the transaction; its public form would wait for ever."""
        self._client._sender.wakeup()  # noqa: SLF001
        left = max(deadline - time.monotonic(), 0.001)
        if not result.wait(timeout_ms=1000 * left):
            raise KafkaTimeoutError("the transaction coordinator does not answer")


def given_up(future: Any) -> bool:
    """Tell whether a failed message was given up for another one, without a broker's answer."""
    batch = future._produce_future  # noqa: SLF001 - nowhere else: -1 is given up
    return bool(batch.is_done and batch.value is not None and batch.value[0] == -1)
