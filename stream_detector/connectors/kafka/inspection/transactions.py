"""Transactions that stand open on the input: whose they are, and since when."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kafka import TopicPartition as ClientPartition

from stream_detector.connectors.kafka.inspection.facts import OpenTransaction
from stream_detector.connectors.kafka.inspection.findings import OPEN_TRANSACTION
from stream_detector.connectors.kafka.inspection.inquiry import Inquiry
from stream_detector.events import TopicPartition

_ENDED = frozenset({"Empty", "CompleteCommit", "CompleteAbort", "Dead"})


def open_transactions(
    client: Any,
    inquiry: Inquiry,
    stable: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> tuple[OpenTransaction, ...]:
    """The first one of each partition whose committed records end before its log does."""
    behind = [source for source, end in ends.items() if stable.get(source, end) < end]
    if not behind:
        return ()
    asked = [ClientPartition(source.topic, source.partition) for source in behind]
    producers = inquiry.ask(
        f"whose transaction is open on {', '.join(map(str, behind))}, which can be read up to "
        f"offset {', '.join(str(stable[source]) for source in behind)} only",
        OPEN_TRANSACTION,
        lambda: client.describe_producers(asked),
        right="Read on the input topics",
    )
    found = []
    for source in behind:
        partition = ClientPartition(source.topic, source.partition)
        active = producers[partition].active_producers if producers else ()
        begun = [one for one in active if one.current_transaction_start_offset >= 0]
        if begun:
            first = min(begun, key=lambda one: one.current_transaction_start_offset)
            found.append(_look(client, inquiry, source, first))
    return tuple(one for one in found if one is not None)


def _look(
    client: Any, inquiry: Inquiry, source: TopicPartition, producer: Any
) -> OpenTransaction | None:
    def ask() -> Any:
        listed = client.list_transactions(producer_id_filters=[producer.producer_id])
        names = [
            one.transactional_id
            for each in listed.values()
            for one in each
            if one.state.value not in _ENDED
        ]
        return client.describe_transactions(names)

    subject = f"whose transaction is open on {source}"
    described = inquiry.ask(subject, OPEN_TRANSACTION, ask, right="Describe on transactional ids")
    if described is None:
        return None
    start = producer.current_transaction_start_offset
    who = (producer.producer_id, producer.producer_epoch)
    for name, one in described.items():
        begun = one.transaction_start_time_ms
        age = int(time.time() * 1000) - begun if begun >= 0 else -1
        return OpenTransaction(source, start, name, age, *who)
    # The list holds only what we may describe: without that right a sound one looks as lost.
    return OpenTransaction(source, start, None, -1, *who)
