"""Features of the events of a bucket of keys: what is known of a key lies in one place, whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from stream_detector.batches.packing import pack, pack_events, unpack_events
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.detectors.stored import making_sense, read_branch
from stream_detector.events import NO_TIMESTAMP, EventBatch, Float64, Int64, State
from stream_detector.features import FeatureExtractor
from stream_detector.tables.keys import LARGEST_CHUNK


def key_fields(config: Config) -> tuple[str, ...]:
    """The fields by whose values history is kept, in the order of their names."""
    risks = config.labels.risk if config.labels is not None else []
    keys = {window.key for window in config.windows} | {risk.key for risk in risks}
    return tuple(sorted(keys))


def part_of(config: Config, key: str | None) -> Config:
    """The configuration with the features that come of one key's history, or of none (None)."""
    windows = [each for each in config.windows if each.key == key]
    labels = config.labels
    if labels is not None:
        risks = [each for each in labels.risk if each.key == key]
        labels = labels.model_copy(update={"risk": risks})
    features = config.features if key is None else []
    return config.model_copy(update={"features": features, "windows": windows, "labels": labels})


class FeaturePart:
    """A part of the features of a stream: those by one key field, for a bucket of its keys.

    The bits of an event's features are those of an extractor that sees all keys: they come of
    events of the same key alone. Labels are counted, and what is too much is forgotten, between two
    batches.

    State: the extractor's, bounded by ``max_keys`` of each window, which counts for each bucket.
    """

    def __init__(self, config: Config, key: str | None) -> None:
        """``key``: the field; None: what comes of no key's history."""
        self._extractor = FeatureExtractor(part_of(config, key), FieldPlan.of(config))

    def extract(
        self, events: EventBatch, backwards: Sequence[tuple[int, int]], before_ms: int
    ) -> Float64:
        """(events, columns) float64, those of ``FeatureExtractor.columns_of``.

        Args:
            events: of the bucket, in the order of the stream.
            backwards: before which rows the watermark was set back, and to when, ascending.
            before_ms: watermark at the end of the batch before; ``NO_TIMESTAMP`` before the first.
        """
        extractor = self._extractor
        if before_ms != NO_TIMESTAMP:
            extractor.take_labels(before_ms)
        extractor.end_chunk()
        found = [np.empty((0, len(extractor.names)))]
        start = 0
        for row, mark_ms in [*backwards, (len(events), None)]:
            while start < row:
                stop = min(start + LARGEST_CHUNK, row)
                found.append(extractor.extract(events.take(slice(start, stop))))
                if stop < len(events):
                    extractor.end_chunk()
                start = stop
            if mark_ms is not None:
                extractor.go_back(mark_ms)
        return np.concatenate(found)

    def state(self) -> State:
        """The extractor's."""
        return self._extractor.state()

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateError`` where it is not of this configuration."""
        with making_sense():
            self._extractor.restore(state)


def bucket_input(
    events: EventBatch,
    rows: Int64,
    backwards: Sequence[tuple[int, int]],
    before_ms: int,
    edges: Int64,
    texts: Sequence[int],
) -> State:
    """What a bucket is handed of a batch.

    Args:
        events: accepted ones of the batch, in the order of the stream.
        rows: which of them are the bucket's, ascending.
        backwards: as ``FeaturePart.extract``, of rows of ``events``.
        before_ms: likewise.
        edges: (parts + 1,) at which rows the parts begin that are scored.
        texts: text columns that the key's windows read.
    """
    own = events.take(rows)
    places = [[int(np.searchsorted(rows, row)), mark_ms] for row, mark_ms in backwards]
    return {
        "rows": rows,
        "backwards": places,
        "before_ms": before_ms,
        "edges": edges,
        "events": pack_events(own, np.zeros(len(rows), dtype=bool), texts),
    }


def bucket_output(part: FeaturePart, key: str, given: State) -> list[tuple[int, bytes]]:
    """Features of a bucket's events, for each part that is scored: its number, and bytes."""
    events = unpack_events(read_branch(given, "events"))
    backwards = [(row, mark_ms) for row, mark_ms in given["backwards"]]
    columns = part.extract(events, backwards, given["before_ms"])
    rows, edges = given["rows"], given["edges"]
    found = []
    for number, (low, high) in enumerate(pairwise(edges.tolist())):
        some = slice(*np.searchsorted(rows, [low, high]).tolist())
        if some.start < some.stop:
            half = {"key": key, "rows": rows[some] - low, "columns": columns[some]}
            found.append((number, pack(half)))
    return found
