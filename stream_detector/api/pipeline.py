"""The pipeline of the daemon, as an object: events in, scores and alerts out, no broker."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np

from stream_detector.api.configuration import configuration_of
from stream_detector.api.records import EventReader, RecordCounter
from stream_detector.api.result import (
    Rejected,
    RejectedEventsWarning,
    Result,
    rejected_of,
    warning_of,
)
from stream_detector.api.threads import one_thread
from stream_detector.config import Config, FieldPlan, state_differences, state_fingerprint
from stream_detector.decoding import Decoder, read_label
from stream_detector.errors import ConfigurationError, StateError, StateMismatchError
from stream_detector.events import EventBatch, TopicPartition
from stream_detector.pipeline import BatchResult, PipelineCore
from stream_detector.rejections import Remedies
from stream_detector.snapshots import (
    SigningKey,
    check_complete,
    check_signature,
    decode,
    encode,
    sign,
    snapshot_of,
)

_LONGEST_NAME = 249


class Pipeline:
    """Scores events, explains the unusual ones, and learns, in the order they are given.

    Every event is scored before anything is learnt from it, and the same events in the same order
    give the same bytes as ``stream-detector run`` and ``evaluate`` do, however they are cut into
    calls. One thread at a time works on it; a second one waits.

    State: all that was learnt, bounded by the configuration; see ``to_bytes``.
    """

    def __init__(
        self,
        config: Config | Mapping[str, Any] | str | PathLike[str],
        *,
        source: str = "events",
        late_labels: bool | None = None,
    ) -> None:
        """Build an untrained pipeline.

        Args:
            config: a ``Config``, the path of a YAML file, or a dict of what such a file holds.
            source: name of the stream; ids of alerts begin with it.
            late_labels: whether ``label`` will be called: ids of events are remembered then. None:
                where the configuration has ``kafka.labels``.

        Raises:
            ConfigurationError: the configuration has mistakes; the message has a line for each.
        """
        self._config = configuration_of(config)
        kafka = self._config.kafka
        if late_labels is None:
            late_labels = kafka is not None and kafka.labels is not None
        elif late_labels and (self._config.labels is None or self._config.event.id is None):
            raise ConfigurationError(
                "late_labels needs the section `labels`, with a delay, and `event.id`: labels name "
                "their event by it"
            )
        self._late_labels = late_labels
        self._fingerprint = state_fingerprint(self._config)
        self._shard = 0
        self._events = RecordCounter(TopicPartition(source, 0))
        self._reader = EventReader(self._config)
        self._remedies = Remedies(self._config)
        self._lock = threading.RLock()
        self._in_doubt = False
        with one_thread():
            self._decoder = Decoder(self._config, FieldPlan.of(self._config))
            self._core = PipelineCore(self._config, self._fingerprint, by_id=late_labels)

    # --- what it is ---

    @property
    def config(self) -> Config:
        """The configuration."""
        return self._config

    @property
    def config_fingerprint(self) -> str:
        """Fingerprint of the parts of the configuration that shape the state.

        Pipelines of one such fingerprint can read each other's bytes.
        """
        return self._fingerprint

    @property
    def fingerprint(self) -> str:
        """Running hash over all scores of full chunks: equal streams, equal hash."""
        return self._core.fingerprint

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that the detector sees."""
        return tuple(self._core.features.names)

    @property
    def events_scored(self) -> int:
        """Events that were accepted since the state began."""
        return self._core.sequence

    @property
    def threshold(self) -> float:
        """Scores above this are raised, once the burn-in is over; infinity while it is unknown."""
        return self._core.threshold.value

    def __repr__(self) -> str:
        return (
            f"<Pipeline {self._config.name!r}: {self._config.detector.kind}, "
            f"{self.events_scored:,} events scored, fingerprint {self.fingerprint}>"
        )

    # --- events and labels ---

    def process(self, events: Any) -> Result:
        """Score events, then learn from them.

        Args:
            events: a dict; an iterable of dicts or of JSON objects in bytes or text; bytes of JSON
                Lines; a frame of pandas, Polars or what narwhals reads. None and NaN are missing
                values, moments may be datetimes.

        Returns:
            Scores, alerts with their reasons, and what was rejected. Rejected events are warned of
            (``RejectedEventsWarning``): they have no score, and nothing is learnt from them.

        Raises:
            TypeError: what was given holds no events.
            FrameError: a frame does not fit the configuration; nothing of it was processed.
            StateError: an earlier call was interrupted while it was learning.
        """
        with self._lock, one_thread():
            first = self._events.next_offset
            parts: list[BatchResult] = []
            rejected: list[Rejected] = []
            try:
                for values in self._reader.read(events):
                    row = self._events.next_offset - first
                    batch = self._decoder.decode(self._events.source, self._events.number(values))
                    parts.append(self._process(batch))
                    rejected += rejected_of(row, values, batch.rejection.tolist(), self._remedies)
            except (TypeError, ValueError, LookupError, OSError) as error:
                if (count := self._events.next_offset - first) and not self._in_doubt:
                    error.add_note(f"the {count:,} events before were processed and learnt")
                raise
        result = _result(parts, rejected, first)
        if rejected:
            message = warning_of(rejected, len(result))
            warnings.warn(message, RejectedEventsWarning, stacklevel=2)
        return result

    def label(self, labels: Mapping[str, Any]) -> int:
        """Say what events turned out to be, by the id that ``event.id`` reads.

        They are learnt once the delay of the section `labels` is over, as those of a topic are.

        Args:
            labels: for each id 1 or True (anomalous), 0 or False (normal), or a name that
                ``labels.positive`` or ``labels.negative`` lists.

        Returns:
            How many met an event that is remembered. Others may be unknown, too old, or not among
            the events that wait for their label (``labels.keep_first`` and those beside it).

        Raises:
            ConfigurationError: the pipeline was made without ``late_labels``.
            ValueError: a label is none; none of them was taken then.
        """
        settings = self._config.labels
        if not self._late_labels or settings is None:
            raise ConfigurationError(
                "labels by id need Pipeline(config, late_labels=True): ids are remembered then"
            )
        if not isinstance(labels, Mapping):
            raise TypeError(f"labels are given as {{id: label}}, not {type(labels).__name__}")
        values = np.array([read_label(value, settings) for value in labels.values()], np.float64)
        if np.isnan(values).any():
            name, value = list(labels.items())[int(np.flatnonzero(np.isnan(values))[0])]
            raise ValueError(
                f"the label of {name!r:.80} is {value!r:.80}; expected 1 or True (anomalous), 0 or "
                "False (normal), or a name of labels.positive or labels.negative"
            )
        with self._lock, one_thread(), self._working():
            before = self._core.labels.unmatched
            self._core.take_labels([str(name) for name in labels], values)
            return len(labels) - (self._core.labels.unmatched - before)

    # --- state ---

    def to_bytes(self, *, key: bytes | None = None) -> bytes:
        """Everything that was learnt, as a snapshot: what the daemon writes, and reads.

        Arrays and JSON with a checksum, nothing that can act. It holds no configuration: keep the
        file beside it. The daemon starts from it as from one of `train`, where its group has none.

        Args:
            key: signs it; at least 32 bytes, a line of the daemon's ``state.signing_key_file``.

        Raises:
            ValueError: the key is shorter.
        """
        with self._lock:
            self._check_sound()
            extra = {
                "written_at": time.time(),
                "trained": True,
                "events": {
                    "source": self._events.source.topic,
                    "next": self._events.next_offset,
                    "late_labels": self._late_labels,
                },
            }
            data = encode(snapshot_of(self._core, self._config, self._shard, extra))
            return bytes(data if key is None else sign(data, SigningKey(key)))

    @classmethod
    def from_bytes(
        cls,
        config: Config | Mapping[str, Any] | str | PathLike[str],
        data: bytes | bytearray,
        *,
        source: str | None = None,
        late_labels: bool | None = None,
        key: bytes | None = None,
    ) -> Pipeline:
        """The pipeline whose ``to_bytes`` gave ``data``, or that of a daemon's shard.

        It goes on with the same bits. A daemon's place in its topics is no part of it.

        Args:
            config: as for the constructor; what shapes the state must be as it was.
            data: a snapshot.
            source: name of the stream; None: that of the snapshot.
            late_labels: as for the constructor; None: as the snapshot says.
            key: that must have signed it; None: nobody need have.

        Raises:
            StateMismatchError: it was made under another configuration; the message says what
                differs.
            StateError: the bytes are damaged, no snapshot, or not signed by the key.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"a snapshot is bytes, not {type(data).__name__}: Path(p).read_bytes()")
        if key is not None:
            check_signature(bytes(data), [SigningKey(key)])
        snapshot = decode(bytes(data))
        meta = snapshot.meta
        check_complete(meta)
        name, position, late = _place(meta)
        late_labels = late if late_labels is None else late_labels
        pipeline = cls(config, source=source or name, late_labels=late_labels)
        if differences := state_differences(meta, pipeline.config):
            raise StateMismatchError(
                "the state was made under another configuration: " + "; ".join(differences)
            )
        pipeline._core.restore(snapshot.state)
        pipeline._core.monitors.use_own_calendars()
        pipeline._core.decisions.incidents.use_own()
        pipeline._shard = meta["shard"]
        pipeline._events.next_offset = position
        return pipeline

    def __reduce__(self) -> tuple[Any, ...]:
        """For ``copy`` and processes. Without the sections that may hold secrets."""
        config = self._config.model_copy(
            update={"kafka": None, "metrics": type(self._config.metrics)()}
        )
        named = {"source": self._events.source.topic, "late_labels": self._late_labels}
        return _reopened, (type(self), config, self.to_bytes(), named)

    def _process(self, batch: EventBatch) -> BatchResult:
        with self._working():
            return self._core.process(batch)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Note what is left half done: nothing goes on from there."""
        self._check_sound()
        self._in_doubt = True
        yield
        self._in_doubt = False

    def _check_sound(self) -> None:
        if self._in_doubt:
            raise StateError(
                "an earlier call was interrupted while it was learning, and the state is in doubt: "
                "go on from Pipeline.from_bytes of an earlier state, or from a new Pipeline"
            )


def _reopened(kind: type[Pipeline], config: Config, data: bytes, named: dict[str, Any]) -> Pipeline:
    return kind.from_bytes(config, data, **named)


def _place(meta: Mapping[str, Any]) -> tuple[str, int, bool | None]:
    """Name of the stream, number of its next event, whether labels come late.

    Those of a daemon's snapshot begin at 0 here, and the configuration says how its labels come.
    """
    match meta.get("events"):
        case {"source": str(name), "next": int(position), **rest} if 0 <= position < 2**62:
            late = rest.get("late_labels")
            return name[:_LONGEST_NAME], position, late if isinstance(late, bool) else None
    return "events", 0, None


def _result(parts: Sequence[BatchResult], rejected: list[Rejected], first: int) -> Result:
    return Result(
        scores=np.concatenate([part.scores for part in parts]) if parts else np.empty(0),
        raised=np.concatenate([part.raised for part in parts]) if parts else np.empty(0, bool),
        rejected=rejected,
        suppressed=sum(part.suppressed for part in parts),
        drifts=sum(len(part.changes) for part in parts),
        messages=[alert for part in parts for alert in part.alerts],
        first_offset=first,
    )
