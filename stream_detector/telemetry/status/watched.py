"""Bands of a few keys of each monitor, handed from the loop to who shows them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stream_detector.monitors.bands import Bands, MonitorFigures

HEAVIEST = 20
BUCKETS = 168
_WANTED = 20


@dataclass(frozen=True, slots=True)
class SeenMonitor:
    """A shard's monitor as of its last closed bucket.

    Attributes:
        kind: what it watches.
        key_field: the field of its keys; None where all events are taken together.
        figures: its counts.
        heaviest: the keys with most events of late, the first of them first.
        bands: theirs, and those of keys that were asked for; None where there are none to draw.
        known: where there are none, what is known of keys that were asked for, in sentences.
    """

    kind: str
    key_field: str | None
    figures: MonitorFigures
    heaviest: Sequence[str] = ()
    bands: Bands | None = None
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(slots=True)
class WatchedKeys:
    """Thread-safe; the loop writes, the pages read and ask.

    State: for each shard and monitor the bands of its heaviest keys; the last 20 keys that were
    asked for beside them.
    """

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: dict[tuple[str, int], SeenMonitor] = field(default_factory=dict)
    _wanted: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)

    def want(self, monitor: str, key: str) -> None:
        """Somebody looks at a key: its band is to be had from now on."""
        with self._lock:
            self._wanted[monitor, key] = None
            self._wanted.move_to_end((monitor, key))
            while len(self._wanted) > _WANTED:
                self._wanted.popitem(last=False)

    def wanted(self, monitor: str) -> list[str]:
        """Return the keys of a monitor that were asked for, in the order of the alphabet."""
        with self._lock:
            return sorted(key for name, key in self._wanted if name == monitor)

    def put(self, shard: int, monitor: str, seen: SeenMonitor) -> None:
        """Replace what is known of a shard's monitor."""
        with self._lock:
            self._seen[monitor, shard] = seen

    def forget(self, shard: int) -> None:
        """A shard was given up."""
        with self._lock:
            self._seen = {at: seen for at, seen in self._seen.items() if at[1] != shard}

    def monitors(self) -> dict[str, dict[int, SeenMonitor]]:
        """Return what is known, by monitor and shard."""
        found: dict[str, dict[int, SeenMonitor]] = {}
        with self._lock:
            for (name, shard), seen in sorted(self._seen.items(), key=lambda item: item[0]):
                found.setdefault(name, {})[shard] = seen
        return found
