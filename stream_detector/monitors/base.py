"""What a monitor has found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A deviation of a key in the buckets that have just closed.

    Attributes:
        key: the key; empty where all events are counted together.
        start_ms: beginning of the buckets looked at, event time.
        end_ms: their end.
        actual: events in them.
        expected: events that were to be expected, at the others' pace.
        low: lower end of the band in which no alert is raised.
        high: upper end of it.
        pace: what the other keys did, as a multiple of what was expected of them; 1 without any.
        score: deviations from the expected number, above 0.
        threshold: deviations from which on an alert is raised.
        rarity: one in how many buckets of a key has such a score.
        share: the share of buckets that may be alerted; None without a budget.
    """

    key: str
    start_ms: int
    end_ms: int
    actual: int
    expected: float
    low: float
    high: float
    pace: float
    score: float
    threshold: float
    rarity: float
    share: float | None
