"""Chooses the decoder by the topic: the one place that knows which topic holds labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config, EventConfig, LabelsConfig
from stream_detector.decoding.decoder import Decoder
from stream_detector.decoding.label_decoder import LabelDecoder
from stream_detector.events import EventBatch, Record, TopicPartition
from stream_detector.formats.framing import LOCAL, Framing
from stream_detector.formats.reader import FormatReader
from stream_detector.formats.schemas import Schema, SchemaBook
from stream_detector.formats.values import moments_of
from stream_detector.formats.wanted import Wanted

LOCAL_LABELS = f"{LOCAL}-labels"
"""Key of the schema that ``labels.schema_file`` gives."""


class TopicDecoder:
    """Decodes records of every topic of a configuration: events, and labels where they have one.

    What a row is stands in ``EventBatch.is_label``. State: the book of schemas, and what was made
    of them.
    """

    def __init__(
        self,
        config: Config,
        plan: FieldPlan,
        book: SchemaBook | None = None,
        local: Mapping[str, Schema] | None = None,
    ) -> None:
        """Take what describes the records.

        Args:
            config: the configuration.
            plan: of its fields.
            book: the schemas of formats other than JSON.
            local: those that files give, under ``LOCAL`` and ``LOCAL_LABELS``.

        Raises:
            ValueError: two fields contradict (one inside the other).
        """
        self._book = book or SchemaBook()
        self._local = local or {}
        self._readers: dict[str, FormatReader] = {}
        self._config = config
        self._events = Decoder(config, plan, self._maker("events", config.event, LOCAL))
        self._labels: LabelDecoder | None = None
        self._labels_topic = config.kafka.labels if config.kafka is not None else None
        if config.labels is not None and self._labels_topic is not None:
            maker = self._maker("labels", config.labels, LOCAL_LABELS)
            self._labels = LabelDecoder(config.labels, plan, maker)

    def decode(self, source: TopicPartition, records: Sequence[Record]) -> EventBatch:
        """Columns of ``records``, all of one partition; a bad one has its ``rejection`` set."""
        if self._is_labels(source.topic):
            assert self._labels is not None
            return self._labels.decode(source, records)
        return self._events.decode(source, records)

    def readable(
        self, source: TopicPartition, records: Sequence[Record], start: int = 0
    ) -> tuple[int, str]:
        """Return how many of the first records can be decoded, and the key that the next lacks.

        Those before ``start`` are known to be.
        """
        reader = self._readers.get("labels" if self._is_labels(source.topic) else "events")
        if reader is None:
            return len(records), ""
        if not start and reader.knows_all(records):
            return len(records), ""
        for row in range(start, len(records)):
            key = reader.unknown(records[row])
            if key is not None and self._book.refusal(source, records[row].offset) is None:
                return row, key
        return len(records), ""

    def kind(self, topic: str) -> str:
        """Return the format of a topic."""
        section = self._config.labels if self._is_labels(topic) else self._config.event
        assert section is not None
        return section.format

    def _is_labels(self, topic: str) -> bool:
        return self._labels is not None and topic == self._labels_topic

    def _maker(
        self, name: str, section: EventConfig | LabelsConfig, local: str
    ) -> Callable[[Wanted], FormatReader] | None:
        kind = section.format
        if kind not in ("avro", "protobuf"):
            return None
        registry, time = self._config.registry, self._config.event.time
        framing = Framing(0, local=local)
        if registry is not None:
            own = registry.framing == "apicurio"
            framing = Framing(registry.id_bytes, registry.ids if own else "id")

        def make(wanted: Wanted) -> FormatReader:
            self._readers[name] = reader = FormatReader(
                kind,
                framing,
                self._book,
                wanted,
                moments=moments_of(time.format) if time is not None else "unix_ms",
                message=section.message,
                local=self._local.get(local),
            )
            return reader

        return make
