"""The chunk in hand: what was scored and waits to be learnt."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.base import Rows
from stream_detector.detectors.stored import (
    LARGEST_TIME_MS,
    read_array,
    read_branch,
    read_count,
)
from stream_detector.errors import StateError, StateMismatchError
from stream_detector.events import EventBatch, Float64, Int64, State
from stream_detector.labels import ScoredEvents, identities
from stream_detector.pipeline.probe import compare_scores
from stream_detector.threshold import AlertThreshold

EARLY_EVENTS = 2048
EARLY_CHUNK = 32
"""Chunks of 32 until a model has seen 2,048 events: a young one has much to gain from each."""


_LARGEST = {"raw": 1e100, "features": 1e100, "standardised": 1e6, "times_ms": LARGEST_TIME_MS}
"""Bounds that extractor, scaler and decoder keep to."""


def chunk_size(age: int, configured: int, label_age: int | None = None) -> int:
    """Size of the next chunk of a model that has seen ``age`` events.

    Where its labels are ``label_age`` events old, a power of two of at most half of that: a longer
    chunk would let them wait for as long again as the world made them.
    """
    if age < EARLY_EVENTS:
        return EARLY_CHUNK
    if label_age is None or label_age >= 2 * configured:
        return configured
    return max(1 << max(label_age // 2, 1).bit_length() - 1, EARLY_CHUNK)


def chunk_sizes(configured: int) -> tuple[int, ...]:
    """Every size that a chunk may have."""
    return tuple(1 << n for n in range(EARLY_CHUNK.bit_length() - 1, configured.bit_length()))


DIGEST_BYTES = 16
"""Length of the running hash."""


def hash_on(running: bytes, scores: Float64) -> bytes:
    """The running hash over the scores of all full chunks, with those of one more."""
    return blake2b(running + scores.tobytes(), digest_size=DIGEST_BYTES).digest()


class Scorer(Protocol):
    """A model, as far as a chunk needs it."""

    began: int
    threshold: AlertThreshold

    def score(self, rows: Rows, first: int, last: int) -> Float64:
        """Scores of rows ``first`` to ``last``."""


class Chunk:
    """Columns of a fixed number of events; rows that are not filled yet are zero.

    Attributes:
        size: rows.
        filled: how many of them hold an event.
        score_scale: number of the scale that the first of the scores is on.
    """

    def __init__(self, size: int, features: int) -> None:
        self.size = size
        self.filled = self.score_scale = 0
        self.raw = np.zeros((size, features))
        self.rows = Rows(np.zeros((size, features)), np.zeros((size, features)))
        self.scores = np.zeros(size)
        self.raised = np.zeros(size, dtype=bool)
        self.times_ms = np.zeros(size, dtype=np.int64)
        self.labels = np.full(size, np.nan)
        self.ids = np.zeros(size, dtype=np.int64)

    def put(self, raw: Float64, rows: Rows) -> slice:
        """Write features of the next events, as extracted and as scored; which rows they have."""
        where = slice(self.filled, self.filled + len(raw))
        self.raw[where] = raw
        self.rows.features[where] = rows.features
        self.rows.standardised[where] = rows.standardised
        return where

    def scored(self, first: int) -> ScoredEvents:
        """The full chunk as the champion scored it; ``first``: its first event in the stream."""
        return ScoredEvents(
            first, self.times_ms, self.ids, self.labels, self.scores, self.raised, self.score_scale
        )

    def take_scored(
        self, events: EventBatch, scores: Float64, raised: NDArray[np.bool_], *, by_id: bool
    ) -> None:
        """Fill the next rows; their features are there. ``by_id``: labels come by identity."""
        rows = slice(self.filled, self.filled + len(events))
        self.scores[rows] = scores
        self.raised[rows] = raised
        self.times_ms[rows] = events.counted_ms
        self.labels[rows] = events.label
        if by_id:
            self.ids[rows] = identities(events.event_id.tolist())
        self.filled = rows.stop

    def set_labels(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """Labels of events in it, by identity; which of them found theirs."""
        found = np.zeros(len(ids), dtype=bool)
        for place, (identity, label) in enumerate(zip(ids.tolist(), labels.tolist(), strict=True)):
            rows = np.flatnonzero(self.ids[: self.filled] == identity)
            self.labels[rows] = label
            found[place] = len(rows) > 0
        return found

    def rescore(self, model: Scorer, sequence: int) -> None:
        """Score the rows filled as ``model`` does; ``sequence``: events with the last of them."""
        if self.filled:
            scores = model.score(self.rows, 0, self.filled)
            first = sequence - self.filled - model.began
            self.scores[: self.filled] = scores
            self.raised[: self.filled] = model.threshold.exceeded(scores, first)

    def check(self, rows: Rows, model: Scorer) -> None:
        """Compare what is held with ``rows``, made of its raw numbers, and ``model``'s scores.

        Raises ``StateError``.
        """
        filled = slice(self.filled)
        for held, made in (
            (self.rows.features, rows.features),
            (self.rows.standardised, rows.standardised),
        ):
            if not np.allclose(held[filled], made[filled], rtol=1e-6, atol=1e-6):
                raise StateError("the chunk in hand is not what its features make it")
        if self.filled:
            compare_scores(model.score(self.rows, 0, self.filled), self.scores[filled])

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        np.minimum(self.times_ms, mark_ms, out=self.times_ms)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Every column by name: what a snapshot keeps of the rows filled."""
        return {
            "raw": self.raw,
            "features": self.rows.features,
            "standardised": self.rows.standardised,
            "scores": self.scores,
            "raised": self.raised,
            "times_ms": self.times_ms,
            "labels": self.labels,
            "ids": self.ids,
        }

    def state(self) -> State:
        """The size, and of every column the rows filled."""
        filled = {name: column[: self.filled].copy() for name, column in self.columns().items()}
        return {"size": self.size, "filled": filled}

    @classmethod
    def of(cls, state: State, features: int, largest: int, sequence: int) -> Chunk:
        """The chunk of ``state``, with so many features, after ``sequence`` events.

        Raises ``StateMismatchError`` where it has no size up to ``largest`` that a chunk may have,
        is full, or its numbers are none that events have.
        """
        size, sizes = read_count(state, "size"), chunk_sizes(largest)
        if size not in sizes:
            raise StateMismatchError(f"a chunk of {size} events, expected one of {sizes}")
        chunk = cls(size, features)
        filled = read_branch(state, "filled")
        chunk.filled = len(filled["scores"])
        if chunk.filled >= chunk.size or chunk.filled > sequence:
            raise StateMismatchError(f"{chunk.filled} events in a chunk of {chunk.size}")
        for name, column in chunk.columns().items():
            if name in filled or name != "ids":  # states of older versions have no ids
                shape = (chunk.filled, *column.shape[1:])
                high = _LARGEST.get(name)
                column[: chunk.filled] = read_array(
                    filled,
                    name,
                    shape,
                    column.dtype,
                    low=None if high is None else -high,
                    high=high,
                    missing=name in ("raw", "labels"),
                )
        return chunk
