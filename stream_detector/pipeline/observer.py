"""Observers of a pipeline at work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stream_detector.events import Float64


@dataclass(frozen=True, slots=True)
class BeforeScoring:
    """Events whose features are known, and the state that they are scored with next.

    Attributes:
        sequence: number of the first of them in the stream.
        features: (events, features) float64, raw, NaN where missing.
        threshold: score from which they alert; infinite while none is known.
        score_scale: of the champion's detector.
    """

    sequence: int
    features: Float64
    threshold: float
    score_scale: int


class Observer(Protocol):
    """Looks on and changes nothing: it must not write to the arrays it is shown."""

    def observe(self, events: BeforeScoring) -> None:
        """Called for every stretch of events, in their order, at most a chunk at a time."""
