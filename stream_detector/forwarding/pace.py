"""How soon something may be sent: pauses that grow, and a rate that is not exceeded."""

from __future__ import annotations

from zlib import crc32

_JITTER = 0.5


def pause_seconds(first: float, longest: float, failures: int, key: str) -> float:
    """Return the pause after so many failures in a row, 1 or more: doubled each time, less a part.

    The part is up to half, by ``key``, so that what has failed together does not come back together
    (full jitter, M. Brooker, "Exponential Backoff and Jitter", AWS 2015, but reproducible).
    """
    whole = min(first * 2.0 ** min(failures - 1, 60), longest)
    part = crc32(f"{key} {failures}".encode("utf-8", "replace")) / 2**32
    return whole * (1.0 - _JITTER * part)


class Allowance:
    """A bucket of messages that may be sent: it fills at a rate, up to what a second brings.

    State: how many there are, as of when.
    """

    def __init__(self, per_second: float | None, now: float) -> None:
        """``per_second`` None: as many as there are."""
        self._rate = per_second
        self._most = max(1.0, per_second or 1.0)
        self._level, self._at = self._most, now

    def left(self, now: float) -> int:
        """Return how many may be sent now."""
        if self._rate is None:
            return 1_000_000
        self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        return int(self._level + 1e-9)

    def spend(self, count: int) -> None:
        """Note that so many are sent."""
        if self._rate is not None:
            self._level -= count

    def next_at(self) -> float:
        """Return when one more may be sent, as of the last question."""
        if self._rate is None or self._level >= 1.0:
            return self._at
        return self._at + (1.0 - self._level) / self._rate
