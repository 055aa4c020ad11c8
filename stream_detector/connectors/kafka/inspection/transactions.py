"""Transactions that stand open on the input: whose they are, and since when."""

from __future__ import annotations

import time
from collections.abc import Mapping

from stream_detector.connectors.kafka.client.admin import Admin, OpenProducer
from stream_detector.connectors.kafka.inspection.facts import OpenTransaction
from stream_detector.connectors.kafka.inspection.findings import OPEN_TRANSACTION
from stream_detector.connectors.kafka.inspection.inquiry import Inquiry
from stream_detector.events import TopicPartition


def open_transactions(
    client: Admin,
    inquiry: Inquiry,
    stable: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> tuple[OpenTransaction, ...]:
    """The first one of each partition whose committed records end before its log does."""
    behind = [source for source, end in ends.items() if stable.get(source, end) < end]
    if not behind:
        return ()
    producers = inquiry.ask(
        f"whose transaction is open on {', '.join(map(str, behind))}, which can be read up to "
        f"offset {', '.join(str(stable[source]) for source in behind)} only",
        OPEN_TRANSACTION,
        lambda: client.open_producers(behind),
        right="Read on the input topics",
    )
    found = [_look(client, inquiry, source, one) for source, one in (producers or {}).items()]
    return tuple(one for one in found if one is not None)


def _look(
    client: Admin, inquiry: Inquiry, source: TopicPartition, producer: OpenProducer
) -> OpenTransaction | None:
    def ask() -> dict[str, int]:
        return client.transactions_begun(client.transactional_ids(producer, begun=True))

    subject = f"whose transaction is open on {source}"
    described = inquiry.ask(subject, OPEN_TRANSACTION, ask, right="Describe on transactional ids")
    if described is None:
        return None
    start, who = producer.start, (producer.number, producer.epoch)
    for name, begun in described.items():
        age = int(time.time() * 1000) - begun if begun >= 0 else -1
        return OpenTransaction(source, start, name, age, *who)
    # The list holds only what we may describe: without that right a sound one looks as lost.
    return OpenTransaction(source, start, None, -1, *who)
