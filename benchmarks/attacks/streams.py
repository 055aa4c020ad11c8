"""A stream of events in which attacks are planted, and what an attacker adds to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

NOBODY = -1


@dataclass(frozen=True)
class Stream:
    """Events in the order of their time.

    Attributes:
        rows: the events.
        units: (rows,) number of the planted attack that a row is part of, ``NOBODY`` for others.
        added: how many rows the attacker added to blind the detector.
    """

    rows: list[dict[str, Any]]
    units: np.ndarray
    added: int = 0


@dataclass(frozen=True)
class Case:
    """One line of the table: an attack at a strength on a stream.

    Attributes:
        attack: what is done, a name out of a stream's module; "" for nothing.
        strength: how much of it, as that module reads it.
        stream: ``payments``, ``http`` or ``nsl``.
        planted: kind of the attacks that are to be found; the same without and with.
    """

    attack: str
    strength: float
    stream: str
    planted: str

    @property
    def name(self) -> str:
        return f"{self.attack} {self.strength:g}".strip() if self.attack else "none"

    @property
    def without(self) -> Case:
        """The same stream with nothing done to it."""
        return Case("", 0.0, self.stream, self.planted)


def copies_for(share: float, rows: int) -> int:
    """How many rows must be added to ``rows`` so that they are ``share`` of all."""
    return round(share / (1 - share) * rows)
