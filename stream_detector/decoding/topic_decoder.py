"""Chooses the decoder by the topic: the one place that knows which topic holds labels."""

from __future__ import annotations

from collections.abc import Sequence

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.decoding.decoder import Decoder
from stream_detector.decoding.label_decoder import LabelDecoder
from stream_detector.events import EventBatch, Record, TopicPartition


class TopicDecoder:
    """Decodes records of every topic of a configuration: events, and labels where they have one.

    What a row is stands in ``EventBatch.is_label``. Holds no state.
    """

    def __init__(self, config: Config, plan: FieldPlan) -> None:
        """Raises ``ValueError`` where two fields contradict (one inside the other)."""
        self._events = Decoder(config, plan)
        self._labels: LabelDecoder | None = None
        self._labels_topic = config.kafka.labels if config.kafka is not None else None
        if config.labels is not None and self._labels_topic is not None:
            self._labels = LabelDecoder(config.labels, plan)

    def decode(self, source: TopicPartition, records: Sequence[Record]) -> EventBatch:
        """Columns of ``records``, all of one partition; a bad one has its ``rejection`` set."""
        if self._labels is not None and source.topic == self._labels_topic:
            return self._labels.decode(source, records)
        return self._events.decode(source, records)
