"""What the driver is connected with: the journal, the transactions and the states of the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from stream_detector.commits.committer import Committer
from stream_detector.commits.stores import snapshot_stores
from stream_detector.commits.topics import make_topics
from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.kafka.reading.log import KafkaJournal
from stream_detector.connectors.kafka.writing.transactions import TransactionalOutput
from stream_detector.spark.batches import Batches
from stream_detector.telemetry.metrics import Metrics


@contextmanager
def connected(config: Config, kafka: KafkaConfig, metrics: Metrics) -> Iterator[Batches]:
    """Batches with their connections, which end with the block; missing topics are made.

    Raises ``ConnectorError`` and ``StateError``.
    """
    make_topics(config, kafka)
    # Apart from a daemon's of this group: it would go on without the keys' histories.
    stores = snapshot_stores(config, kafka.model_copy(update={"group": f"{kafka.group}-spark"}))
    with ExitStack() as stack:
        journal = stack.enter_context(closing(KafkaJournal(kafka)))
        output = TransactionalOutput(kafka, 0, metrics.add_cut_messages)
        committer = Committer(
            0,
            output,
            journal,
            kafka.give_up_after,
            metrics,
            kafka.group,
            topics=kafka.output_topics,
            patience_seconds=kafka.transaction_timeout / 2,
        )
        stack.enter_context(closing(committer))
        yield Batches(config, kafka, committer, journal, stores(0), metrics, kafka.group)
