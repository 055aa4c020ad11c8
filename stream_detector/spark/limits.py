"""What the job on Spark leaves undone, and refuses before it begins."""

from __future__ import annotations

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.errors import ConfigurationError

LEAST_KEPT = 2
"""States of the model: the one that the journal names, and that of the batch under way."""


def check_fits(config: Config, kafka: KafkaConfig) -> None:
    """Refuse what the job would leave undone. Raises ``ConfigurationError`` with all of it."""
    refused = {
        "kafka.labels": kafka.labels is not None,
        "kafka.rules": kafka.rules is not None,
        "kafka.delivery: at_least_once": kafka.delivery != "exactly_once",
        "kafka.alerts_format: avro": kafka.alerts_format != "json",
        f"event.format: {config.event.format}": config.event.format != "json",
        "processing.shards": config.processing.shards != 1,
        "state.store: topic": config.state.store != "directory",
        "state.keep: 1": config.state.keep < LEAST_KEPT,
    }
    if found := [name for name, there in refused.items() if there]:
        raise ConfigurationError(
            f"not with Spark: {', '.join(found)}. See docs/scale.md#what-it-does-not-do"
        )
