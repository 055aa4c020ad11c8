"""A batch in the parts that are processed as a whole, in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stream_detector.events import EventBatch
from stream_detector.stream_time import Shift


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive rows of one kind, at least one.

    Attributes:
        events: they.
        rows: their rows in the batch that they come from.
        is_label: whether they are labels of earlier events, and no events themselves.
    """

    events: EventBatch
    rows: NDArray[np.intp]
    is_label: bool = False


def stretches(
    events: EventBatch, rows: NDArray[np.intp], shifts: Sequence[Shift]
) -> Iterator[Stretch | Shift]:
    """The stretches of a batch, and between them the shifts of its watermark.

    Args:
        events: its accepted rows.
        rows: which rows of the batch they are, ascending.
        shifts: before which rows of the batch the watermark is set.
    """
    start = 0
    for shift in shifts:
        stop = int(np.searchsorted(rows, shift.row))
        yield from _of_one_kind(events.take(slice(start, stop)), rows[start:stop])
        yield shift
        start = stop
    if start:
        events, rows = events.take(slice(start, None)), rows[start:]
    yield from _of_one_kind(events, rows)


def _of_one_kind(events: EventBatch, rows: NDArray[np.intp]) -> Iterator[Stretch]:
    if not len(events):
        return
    if events.is_label is None:
        yield Stretch(events, rows)
        return
    bounds = np.flatnonzero(np.diff(events.is_label)) + 1
    for start, stop in pairwise([0, *bounds.tolist(), len(events)]):
        part = slice(start, stop)
        yield Stretch(events.take(part), rows[part], bool(events.is_label[start]))
