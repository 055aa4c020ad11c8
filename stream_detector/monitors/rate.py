"""Number of events in buckets of time, by key, against what is usual for the time of the week."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detectors.stored import (
    making_sense,
    read_array,
    read_branch,
    read_count,
)
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, Float64, State
from stream_detector.monitors.bands import Bands, count_band, last_sums
from stream_detector.monitors.base import Finding, Monitor, MonitorEvents
from stream_detector.monitors.buckets import BucketMonitorConfig
from stream_detector.monitors.deviations import (
    CLIP,
    LEAST_EXPECTED,
    OTHERS_EVENTS,
    Deviations,
)
from stream_detector.monitors.history import MOST_SEEN, KeyHistory
from stream_detector.monitors.season import Season
from stream_detector.tables.history import Occurrences
from stream_detector.tables.keys import LARGEST_CHUNK, KeyTable
from stream_detector.tables.texts import pack_texts, unpack_texts

_LONGEST_SILENCE = 10_000
_MOST_WAITING = 4096


class RateMonitorConfig(BucketMonitorConfig):
    """Watch on a rate: events a bucket of time, against what is usual at that time of the week."""

    kind: Literal["rate"] = Field("rate", description="What is watched: the number of events.")


class RateMonitor(Monitor):
    """Counts events of each key in buckets, and finds those that are too many or too few.

    The expected number of a bucket is the key's own running mean of the slot of the season. For
    each width, the sum S over that many buckets is held against the expected sum E, times the pace
    of all other keys in the same buckets (their S over their E): z = 2 (sqrt(S + 3/8) -
    sqrt(E + 3/8)) / sqrt(D), the root that makes a count's variance constant (Anscombe 1948) over
    the key's own dispersion D at that width, which may be far below that of chance, as in a
    timetable, or above it. Where the others are restless, z counts less: it is divided by the root
    of the running mean of their z squared, where that is above 1. The largest |z| of a wanted side
    over all widths is the score.

    The bucket that closes is scored before it is learnt, and what it teaches is clipped. An event
    counts in the bucket of its time, a late one in that which is open: a closed one never changes.

    State, for at most ``max_keys`` keys and a chunk: the mean of each slot and how often it was
    seen, the last buckets as far as the longest width reaches, dispersions, unrest.
    """

    Config = RateMonitorConfig

    def __init__(self, config: RateMonitorConfig) -> None:
        self.config: RateMonitorConfig = config
        self.without_key = 0  # events that had none, and were not counted
        self._season = Season(config)
        self._bucket_ms = round(config.bucket * 1000)
        slots = self._season.slots
        self._teaches = 1 - 0.5 ** (slots * config.bucket / config.half_life)
        self._keys = KeyTable(config.max_keys if config.key is not None else 1)
        self._deviations = Deviations(config)
        self._since_eviction = 0
        self._waiting: list[tuple[int, str]] = []  # bucket and key of what is ahead
        self._open = NO_TIMESTAMP  # number of the open bucket since 1970
        self._history = KeyHistory(slots, max(config.widths), len(set(config.widths)))

    @property
    def keys(self) -> int:
        """Keys remembered."""
        return len(self._keys)

    @property
    def evicted(self) -> int:
        """Keys forgotten for want of room."""
        return self._keys.evicted

    def take(self, events: MonitorEvents) -> list[tuple[int, list[Finding]]]:
        """Count events, and close the buckets that the watermark has passed."""
        found: list[tuple[int, list[Finding]]] = []
        marks_ms, keys = events.marks_ms, events.keys(self.config.key)
        first = int(np.argmax(marks_ms >= 0)) if len(marks_ms) else 0
        if not len(marks_ms) or marks_ms[first] < 0:
            return found  # nobody knows yet what time it is
        if self._open == NO_TIMESTAMP:
            self._open = int(marks_ms[first]) // self._bucket_ms
        self.without_key += events.without_key(self.config.key, first)
        buckets = np.maximum(np.maximum.accumulate(marks_ms // self._bucket_ms), self._open)
        starts = [first, *(np.flatnonzero(np.diff(buckets[first:])) + first + 1).tolist()]
        for start, stop in zip(starts, [*starts[1:], len(buckets)], strict=True):
            if findings := self._close_before(int(buckets[start])):
                found.append((start, findings))
            own = events.times_ms[start:stop] // self._bucket_ms
            self._take_open(keys, start, own.tolist())
        return found

    def tick(self, mark_ms: int) -> list[Finding]:
        """Close the buckets that end before ``mark_ms``."""
        return self._close_before(mark_ms // self._bucket_ms) if self._open != NO_TIMESTAMP else []

    @property
    def due_ms(self) -> int | None:
        """End of the open bucket."""
        return None if self._open == NO_TIMESTAMP else (self._open + 1) * self._bucket_ms

    def _take_open(self, keys: Sequence[str | None] | None, start: int, own: list[int]) -> None:
        """Count events while one bucket is open; ``own``: the bucket of each one's time."""
        some = [""] * len(own) if keys is None else keys[start : start + len(own)]
        opened, now = self._open, []
        for key, bucket in zip(some, own, strict=True):
            if key is None:
                continue
            if bucket > opened and len(self._waiting) < _MOST_WAITING:
                self._waiting.append((bucket, key))
            else:
                now.append(key)
        self._count(now)

    def _take_waiting(self) -> None:
        """Count what was ahead of the watermark, and is in the bucket that is open now."""
        now = [key for bucket, key in self._waiting if bucket <= self._open]
        self._waiting = [one for one in self._waiting if one[0] > self._open]
        self._count(now)

    def _close_before(self, bucket: int) -> list[Finding]:
        """Close what is open before a bucket."""
        findings: list[Finding] = []
        while self._open < bucket:
            if bucket - self._open > _LONGEST_SILENCE:
                findings += self._pass_silence(bucket)
                continue
            findings += self._close()
            if self._waiting:
                self._take_waiting()
        return findings

    def _pass_silence(self, bucket: int) -> list[Finding]:
        """Close the first buckets of a very long silence, and pass over those that are empty.

        As many are closed as the longest width has: what that shows is found. Windows begin anew
        at the next bucket for which an event waits.
        """
        findings: list[Finding] = []
        for _ in range(max(self.config.widths)):
            findings += self._close()
            self._take_waiting()
        following = min([bucket, *(each for each, _ in self._waiting)])
        if following > self._open:
            self.skipped += following - self._open
            self._open = following
            self._history.restart()
            self._take_waiting()
        return findings

    def _count(self, known: Sequence[str]) -> None:
        begin = 0
        while begin < len(known):
            # Keys are forgotten after so many events, wherever these were cut.
            end = min(begin + LARGEST_CHUNK - self._since_eviction, len(known))
            count = end - begin
            slots = self._keys.slots_of(known[begin:end])
            self._history.grow(self._keys.rows)
            events = Occurrences.of(slots)
            ends = events.starts + events.lengths - 1
            each = events.slots[ends]
            self._history.counts[each] += events.lengths
            self._keys.touch(each, events.order[ends], events.lengths, count)
            self._since_eviction += count
            if self._since_eviction == LARGEST_CHUNK:
                self._history.forget(self._keys.evict())
                self._since_eviction = 0
            begin = end

    def restart(self, mark_ms: int) -> None:
        """Go on at ``mark_ms``: the watermark had been wrong.

        What is open counts no more, and windows begin anew: nobody knows what was in between.
        """
        self.uncounted += int(self._history.counts.sum()) + len(self._waiting)
        self._open = mark_ms // self._bucket_ms
        self._history.restart()
        self._waiting = []

    # --- the end of a bucket: score, then learn -------------------------------------------------

    def _close(self) -> list[Finding]:
        """Score and learn the open bucket, and open the next."""
        slot = self._season.slot(self._open)
        findings: list[Finding] = []
        history = self._history
        if len(history):
            held = self._keys.held
            known = held & (history.seen[:, slot] > 0)
            expected = np.where(known, history.usual[:, slot], 0.0)
            history.push(expected)
            history.run = np.where(known, history.run + 1, 0.0)
            end_ms = (self._open + 1) * self._bucket_ms
            findings = self._deviations.find(history, end_ms, self._keys.key_of)
            self._learn(slot, held, known, expected)
            history.counts[:] = 0.0
            # A row without a key is as new, whoever comes to have it: also after a restore.
            history.forget(np.flatnonzero(~held))
        self._open += 1
        self.closed += 1
        if self.watcher is not None:
            self.watcher(self._open * self._bucket_ms, findings)
        return findings

    def _learn(
        self, slot: int, held: NDArray[np.bool_], known: NDArray[np.bool_], expected: Float64
    ) -> None:
        """Move the usual number of the slot towards what was counted, clipped."""
        counts, seen = self._history.counts, self._history.seen[:, slot]
        reach = CLIP * np.sqrt(expected + 0.5)
        taken = np.where(known, expected + np.clip(counts - expected, -reach, reach), counts)
        weight = np.maximum(self._teaches, 1 / (seen + 1))
        usual = self._history.usual[:, slot]
        self._history.usual[:, slot] = np.where(
            known, usual + weight * (taken - usual), np.where(held, taken, 0.0)
        )
        self._history.seen[:, slot] = np.where(held, np.minimum(seen + 1, MOST_SEEN), 0.0)

    # --- for people to see ------------------------------------------------------------------------

    @property
    def judged(self) -> int:
        """Keys that have been held against what is usual for them."""
        return int((self._history.run >= min(self.config.widths)).sum())

    def heaviest(self, count: int) -> list[str]:
        """The keys with most events in the last buckets."""
        rows = np.flatnonzero(self._keys.held[: len(self._history)])
        totals = self._history.actual[rows].sum(axis=1)
        most = np.argpartition(-totals, count)[:count] if len(rows) > count else slice(None)
        pairs = zip((-totals[most]).tolist(), rows[most].tolist(), strict=True)
        return [key for _, key in sorted((total, self._keys.key_of(row)) for total, row in pairs)]

    def bands(self, keys: Sequence[str], buckets: int) -> Bands:
        """Counts of keys over the shortest width, and the bands around them.

        The last is as it was judged; earlier ones are drawn with the dispersion that is known now,
        and at the pace of all other keys.
        """
        history, width = self._history, min(self.config.widths)
        found = {key: row for key in keys if (row := self._keys.find(key)) is not None}
        rows = np.array(list(found.values()), dtype=np.int64)
        others = OTHERS_EVENTS if self.config.population else None
        actual, expected, known = last_sums(history, rows, width, buckets, others)
        expected = np.maximum(expected, LEAST_EXPECTED)
        root = np.tile(self._deviations.root(history)[rows][:, None], (1, actual.shape[1]))
        judged = self._deviations.judged
        if judged is not None and (rows < len(judged.expected)).all():
            expected[:, -1], root[:, -1] = judged.expected[rows], judged.root[rows]
        low, high = count_band(expected, root, self._deviations.threshold)
        seen = known | (np.maximum.accumulate(actual, axis=1) > 0)
        ends = np.arange(actual.shape[1], dtype=np.int64) - actual.shape[1] + 1 + self._open
        return Bands(
            feature="events",
            keys=tuple(found),
            width_ms=width * self._bucket_ms,
            ends_ms=ends * self._bucket_ms,
            actual=np.where(seen, actual, np.nan),
            expected=np.where(known, expected, np.nan),
            low=np.where(known, low, np.nan),
            high=np.where(known, high, np.nan),
        )

    # --- state ------------------------------------------------------------------------------------

    def state(self) -> State:
        """The keys and what is known of each, in the order of their last use."""
        keys, slots = self._keys.state()
        self._history.grow(self._keys.rows)
        return {
            "keys": keys,
            "open": self._open,
            "without_key": self.without_key,
            "uncounted": self.uncounted,
            "skipped": self.skipped,
            "since_eviction": self._since_eviction,
            "waiting": pack_texts([key for _, key in self._waiting]),
            "waiting_for": np.array([bucket for bucket, _ in self._waiting], dtype=np.int64),
            "tail": self._deviations.state(),
            **self._history.state(slots),
        }

    def restore(self, state: State, mark_ms: int) -> None:
        """Take the state in; ``mark_ms`` is the watermark that goes with it.

        Raises ``StateMismatchError`` where it is none of such a monitor.
        """
        with making_sense():
            count = self._keys.restore(read_branch(state, "keys"))
            opened = state["open"]
            latest = max(mark_ms // self._bucket_ms, NO_TIMESTAMP)
            if type(opened) is not int or not NO_TIMESTAMP <= opened <= latest:
                raise StateMismatchError("the open bucket lies after the watermark")
            self._open = opened
            self.without_key = read_count(state, "without_key")
            known = {"uncounted": 0, "skipped": 0, **state}  # older states have neither
            self.uncounted = read_count(known, "uncounted")
            self.skipped = read_count(known, "skipped")
            self._since_eviction = read_count(state, "since_eviction", high=LARGEST_CHUNK - 1)
            keys = [key for key in unpack_texts(read_branch(state, "waiting")) if key is not None]
            least = max(self._open, 0)
            for_ = read_array(state, "waiting_for", (len(keys),), np.int64, low=least)
            if len(keys) > _MOST_WAITING:
                raise StateMismatchError(f"{len(keys)} events wait for their bucket")
            self._waiting = list(zip(for_.tolist(), keys, strict=True))
            self._deviations.restore(read_branch(state, "tail"))
            self._history.restore(state, count, self._keys.rows)
