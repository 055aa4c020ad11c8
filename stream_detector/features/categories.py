"""Encoders of texts with few values. Their tables have a size that is fixed at the start."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from stream_detector.config.models.config import CategoricalFeatureConfig
from stream_detector.detectors.stored import (
    LARGEST_COUNT,
    LARGEST_TIME_MS,
    read_array,
    read_count,
)
from stream_detector.events import EventBatch, Float64, State
from stream_detector.features.columns import FeatureGroup, untransformed
from stream_detector.features.one_hot import VALUE_HALF_LIFE, OneHotEncoder, values_of
from stream_detector.tables.keys import LARGEST_CHUNK
from stream_detector.tables.texts import hash_texts, pack_texts

_EVICTED_SHARE = 16
"""A rarity table that is too large forgets one in this many more, the rarest, at a chunk's end."""

CategoryEncoder: TypeAlias = "OneHotEncoder | HashEncoder | RarityEncoder"


def category_encoder(feature: CategoricalFeatureConfig, fields: tuple[str, ...]) -> CategoryEncoder:
    """The encoder that a feature asks for. ``fields``: ``FieldPlan.text``."""
    field = fields.index(feature.categorical)
    match feature.encoding:
        case "one_hot":
            return OneHotEncoder(feature, field)
        case "hash":
            return HashEncoder(feature, field)
        case "rarity":
            return RarityEncoder(feature, field)


class HashEncoder:
    """``size`` columns; a value's hash says which one is 1. Stateless."""

    def __init__(self, feature: CategoricalFeatureConfig, field: int) -> None:
        name = feature.categorical
        self._field, self._size = field, feature.size
        self.columns = tuple(f"{name}#{index}" for index in range(feature.size))
        self.transforms = untransformed(feature.size)
        columns = tuple(range(feature.size))
        self.groups = (FeatureGroup(name, columns, "categorical", name, (name,)),)

    def encode(self, batch: EventBatch, out: Float64) -> None:
        """(events, size) of 0 and 1; a missing value has a hash as any other."""
        texts = batch.text[self._field].tolist()
        out[:] = 0.0
        out[np.arange(len(texts)), hash_texts(texts) % self._size] = 1.0

    def hypothetical(self, variants: EventBatch, row: int, x: Float64, out: Float64) -> None:  # noqa: ARG002 - nothing is remembered
        """The columns of the variants' texts."""
        self.encode(variants, out)

    def describe(self, group: int, batch: EventBatch, row: int, x: Float64) -> Any:  # noqa: ARG002 - the text says it all
        """The text, None if missing."""
        return batch.text[self._field][row]


@dataclass(frozen=True, slots=True)
class Met:
    """Counts that the events of a batch met.

    Attributes:
        texts: each event's value.
        times: how often it had come before the event; of a new one, how many were new before, and
            itself.
        totals: what that is a share of.
        new: rows whose value was not in the table.
    """

    texts: list[str | None]
    times: list[float]
    totals: list[float]
    new: set[int]


class RarityEncoder:
    """Encodes a value in one column: minus the log of its probability just before the event.

    The probability is that of escape method C (Witten and Bell 1991, "The zero-frequency problem"):
    with n occurrences of values in the table and o times that a value was not there, a value seen
    c times has c / (n + o + 1), any other (o + 1) / (n + o + 1). So an unseen value is strange
    where the field has few values, and ordinary where it mostly brings new ones. Missing is a
    value.

    State: a table of at most ``size`` values with decayed counts, and of all that a chunk brings
    within a chunk. Counts fade at the chunk's end; where there are too many values, the rarest are
    forgotten then, and a sixteenth more, so that values sent to fill it give way to those in use.
    """

    def __init__(self, feature: CategoricalFeatureConfig, field: int) -> None:
        name = feature.categorical
        self._field, self._size = field, feature.size
        self._table: dict[str | None, int] = {}
        self._counts: list[float] = []
        self._known = 0.0
        self._novel = 0.0
        self._in_chunk = 0
        self._met = Met([], [], [], set())
        self.columns = (f"{name}.rarity",)
        self.transforms = untransformed(1)
        self.groups = (FeatureGroup(name, (0,), "categorical", name, (name,)),)

    def encode(self, batch: EventBatch, out: Float64) -> None:
        """(events, 1), at least 0; the counts move on, one event after the other."""
        table, counts = self._table, self._counts
        known, novel = self._known, self._novel
        times: list[float] = []
        totals: list[float] = []
        new: set[int] = set()
        texts = batch.text[self._field].tolist()
        for text in texts:
            index = table.get(text)
            totals.append(known + novel + 1.0)
            if index is not None:
                times.append(counts[index])
                counts[index] += 1.0
                known += 1.0
                continue
            new.add(len(times))
            times.append(novel + 1.0)
            novel += 1.0
            if len(table) < self._size:  # else it is to go, unless it comes again in the chunk
                known += 1.0
            table[text] = len(counts)
            counts.append(1.0)
        self._known, self._novel = known, novel
        self._in_chunk += len(texts)
        self._met = Met(texts, times, totals, new)
        out[:, 0] = _rarity(np.array(times), np.array(totals))

    def usual_values(self, row: int, most: int) -> list[str]:
        """The values that had come most before a row of the last batch, at most ``most``."""
        counts = np.array(self._counts)
        later = range(len(self._met.texts) - 1, row - 1, -1)
        for place in later:  # the first of a value that comes again has the last word
            index = self._table[self._met.texts[place]]
            counts[index] = 0.0 if place in self._met.new else self._met.times[place]
        best = np.argsort(-counts, kind="stable")[: most + 1].tolist()
        texts = list(self._table)
        return [text for index in best if (text := texts[index]) and counts[index] > 0][:most]

    def hypothetical(self, variants: EventBatch, row: int, x: Float64, out: Float64) -> None:
        """The rarity of the variants' values, where they were known before the event."""
        out[:] = x
        met = self._met
        for place, text in enumerate(variants.text[self._field].tolist()):
            index = self._table.get(text)
            if text == met.texts[row] or index is None:
                continue
            times = self._counts[index]
            if text in (later := met.texts[row:]):
                first = row + later.index(text)
                if first in met.new:
                    continue
                times = met.times[first]
            out[place] = _rarity(np.array([times]), np.array([met.totals[row]]))

    def describe(self, group: int, batch: EventBatch, row: int, x: Float64) -> Any:  # noqa: ARG002 - the text says it all
        """The text, None if missing."""
        return batch.text[self._field][row]

    def end_chunk(self) -> None:
        """Let the counts fade, and forget the rarest values if there are too many."""
        kept = list(range(len(self._counts)))
        if len(kept) > self._size:
            by_count = sorted(kept, key=lambda index: (self._counts[index], index))
            kept = sorted(by_count[-(self._size - self._size // _EVICTED_SHARE) :])
        fade = 0.5 ** (self._in_chunk / VALUE_HALF_LIFE)
        texts = list(self._table)
        self._table = {texts[index]: position for position, index in enumerate(kept)}
        # A count stays above 0: its logarithm must be finite after any number of half-lives.
        self._counts = [max(self._counts[index] * fade, 1e-9) for index in kept]
        self._known = math.fsum(self._counts)
        self._novel *= fade
        self._in_chunk = 0

    def state(self) -> State:
        """Values with their counts, and the counters of the chunk at hand."""
        return {
            "size": self._size,
            "values": pack_texts(list(self._table)),
            "counts": np.array(self._counts, dtype=np.float64),
            "totals": np.array([self._known, self._novel], dtype=np.float64),
            "in_chunk": self._in_chunk,
        }

    def restore(self, state: State, latest_ms: int = LARGEST_TIME_MS) -> None:  # noqa: ARG002 - without times
        """Take the state in. Raises ``StateMismatchError`` where the size differs."""
        values = values_of(state, self._size, self._size + LARGEST_CHUNK)
        counts = read_array(state, "counts", (len(values),), low=0.0, high=LARGEST_COUNT)
        totals = read_array(state, "totals", (2,), low=0.0, high=LARGEST_COUNT)
        self._table = {text: index for index, text in enumerate(values)}
        self._counts = counts.tolist()
        self._known, self._novel = totals.tolist()
        self._in_chunk = read_count(state, "in_chunk")


def _rarity(times: Float64, totals: Float64) -> Float64:
    """Minus the logarithm of a share."""
    # + 0.0 turns the -0.0 of a certain value into 0.0.
    rarity: Float64 = -np.log(times / totals) + 0.0
    return rarity
