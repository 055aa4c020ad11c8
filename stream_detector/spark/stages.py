"""Stages as Spark runs them: each takes and gives rows of bytes, and keeps its state as bytes.

A row is a kind, a number and bytes: of pieces of a batch for the order, of a bucket of keys, of a
part that is scored. So a shuffle carries a few dozen large rows a batch, not one an event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import pandas as pd
from pyspark.sql.streaming import StatefulProcessor

from stream_detector.batches.keyed import FeaturePart, bucket_output
from stream_detector.batches.ordering import CONTROL, PART, Ordering
from stream_detector.batches.packing import pack, pack_events, unpack, unpack_events
from stream_detector.batches.scored import PartScorer
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.decoding import Decoder
from stream_detector.events import PlainRecord, State, TopicPartition

ROWS = "kind string, number int, data binary"
STATE = "data binary"
RESULTS = "number int, data binary"


def _rows(rows: Sequence[tuple[str, int, bytes]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["kind", "number", "data"])


Frames: TypeAlias = Iterator[pd.DataFrame]


def decoding(config: Config) -> Callable[[Frames], Frames]:
    """What decodes records of Kafka into packed pieces of one partition each.

    A plain function, as all that Spark is given: it counts the arguments, ``self`` included.
    """

    def decode(frames: Frames) -> Frames:
        decoder = Decoder(config, FieldPlan.of(config))
        for frame in frames:
            for (topic, partition), own in frame.groupby(["topic", "partition"], sort=True):
                source = TopicPartition(str(topic), int(partition))
                batch = decoder.decode(source, _records(own))
                yield _rows([(CONTROL, 0, pack(pack_events(batch)))])

    return decode


def _records(frame: pd.DataFrame) -> list[PlainRecord]:
    """Records as the daemon's consumer gives them."""
    frame = frame.sort_values("offset")
    return [
        PlainRecord(int(offset), int(stamp), _bytes(key), _bytes(value), _headers(headers))
        for offset, stamp, key, value, headers in zip(
            frame["offset"],
            frame["stamp"],
            frame["key"],
            frame["value"],
            frame["headers"],
            strict=True,
        )
    ]


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _headers(given: Any) -> list[tuple[str, bytes | None]]:
    return [] if given is None else [(one["key"], _bytes(one["value"])) for one in given]


class Stage(StatefulProcessor):  # type: ignore[misc]
    """Keeps one value of bytes for each key of the shuffle.

    Attributes:
        config: what the stage goes by.
        kept: Spark's handle of the value.
    """

    def __init__(self, config: Config) -> None:
        """Take the configuration; Spark pickles the stage as it is now."""
        self.config = config

    def init(self, handle: Any) -> None:
        """Take the handle of the state."""
        self.kept = handle.getValueState("state", STATE)

    def known(self) -> State | None:
        """The state that was left by the batch before; None where there was none."""
        return unpack(bytes(self.kept.get()[0])) if self.kept.exists() else None

    def keep(self, state: State) -> None:
        """Leave the state to the next batch."""
        self.kept.update((pack(state),))

    def close(self) -> None:
        """Nothing is open."""


class Order(Stage):
    """``Ordering`` of each batch."""

    def __init__(self, config: Config, buckets: int, parts: int) -> None:
        """As ``Ordering``."""
        super().__init__(config)
        self.buckets, self.parts = buckets, parts

    def handleInputRows(  # noqa: N802 - Spark's name
        self,
        key: Any,  # noqa: ARG002 - there is one
        rows: Iterator[pd.DataFrame],
        timerValues: Any,  # noqa: N803, ARG002
    ) -> Iterator[pd.DataFrame]:
        """Hand out a batch."""
        pieces = [unpack_events(unpack(bytes(data))) for frame in rows for data in frame["data"]]
        ordering = Ordering(self.config, self.buckets, self.parts)
        if (known := self.known()) is not None:
            ordering.restore(known)
        handed = [(one.kind, one.number, one.data) for one in ordering.take(pieces)]
        self.keep(ordering.state())
        for one in handed:
            yield _rows([one])


class Buckets(Stage):
    """``FeaturePart`` of a bucket of keys; what is not of keys is passed on."""

    def handleInputRows(  # noqa: N802
        self,
        key: Any,
        rows: Iterator[pd.DataFrame],
        timerValues: Any,  # noqa: N803, ARG002
    ) -> Iterator[pd.DataFrame]:
        """Features of a bucket, by the parts that are scored."""
        kind, number = str(key[0]), int(key[1])
        given = [bytes(data) for frame in rows for data in frame["data"]]
        if kind in (CONTROL, PART):
            where = -1 if kind == CONTROL else number
            yield _rows([(kind, where, data) for data in given])
            return
        part = FeaturePart(self.config, kind)
        if (known := self.known()) is not None:
            part.restore(known)
        found = [one for data in given for one in bucket_output(part, kind, unpack(data))]
        self.keep(part.state())
        if found:
            yield _rows([(kind, where, half) for where, half in found])


def scoring(config: Config, version: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """What scores a part by a version of the model; what is no part it passes on.

    ``version``: Spark's broadcast of it.
    """

    def score(frame: pd.DataFrame) -> pd.DataFrame:
        number = int(frame["number"].iloc[0])
        data = [bytes(one) for one in frame["data"]]
        if number >= 0:
            kinds = frame["kind"].tolist()
            part = data[kinds.index(PART)]
            halves = [half for half, kind in zip(data, kinds, strict=True) if kind != PART]
            scorer = PartScorer(config)
            scorer.use(version.value)
            data = [scorer.score(part, halves)]
        return pd.DataFrame({"number": [number], "data": data})

    return score
