"""Monitors of what happens in buckets of time, by key: what they have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import making_sense, read_branch, read_count
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, Float64, Int64, State
from stream_detector.monitors.bands import Bands
from stream_detector.monitors.base import Finding, Monitor, MonitorEvents
from stream_detector.monitors.buckets import BucketMonitorConfig
from stream_detector.monitors.days import day_of
from stream_detector.monitors.deviations import Closing, Deviations
from stream_detector.monitors.drawing import drawn, heaviest
from stream_detector.monitors.followed import Followed
from stream_detector.monitors.groups import Groups
from stream_detector.monitors.history import KeyHistory
from stream_detector.monitors.scales import Scale
from stream_detector.monitors.season import Season
from stream_detector.monitors.taken import Asked, Taken, ahead_of
from stream_detector.tables.keys import LARGEST_CHUNK, KeyTable
from stream_detector.tables.lookups import KeyFinder, Lookups

_LONGEST_SILENCE = 10_000
_MOST_WAITING = 4096


class BucketMonitor(Monitor):
    """Holds what each key comes to in a bucket against what is usual at that time of the week.

    The bucket that closes is scored before it is learnt, and what it teaches is clipped. An event
    counts in the bucket of its time, a late one in that which is open: a closed one never changes.

    State, for at most ``max_keys`` keys and a chunk: what is usual in each slot and how often that
    was seen, the last buckets as far as the longest width reaches, dispersions, unrest.
    """

    mutes_itself = True
    finds_lasting = True

    def __init__(self, config: BucketMonitorConfig, scale: Scale, asked: Asked) -> None:
        self.config: BucketMonitorConfig = config
        self.without_key = 0  # events that had none, and were not counted
        self._asked, self._scale = asked, scale
        self._season = Season(config)
        self._bucket_ms = round(config.bucket * 1000)
        slots = self._season.slots
        self._teaches = 1 - 0.5 ** (slots * config.bucket / config.half_life)
        self._keys = KeyTable(config.max_keys if config.key is not None else 1)
        self._finder = KeyFinder(self._keys, config.key)
        self._groups = Groups() if config.over is not None else None
        self._deviations = Deviations(config, scale)
        self._since_eviction = 0
        self._waiting = Taken.none()  # what is ahead of the open bucket
        self._open = NO_TIMESTAMP  # number of the open bucket since 1970
        self._followed = Followed()
        self._history = self._new_history(slots, max(config.widths), len(set(config.widths)))

    # --- what a kind adds -------------------------------------------------------------------------

    def _new_history(self, slots: int, buckets: int, widths: int) -> KeyHistory:
        """Columns with no key; as ``KeyHistory``."""
        return KeyHistory(slots, buckets, widths)

    def _add(self, slots: Int64, taken: Taken) -> None:
        """Take in what is more than the number of events; ``slots``: (events,) of the keys."""

    @abstractmethod
    def _actual(self) -> Float64:
        """(keys,) what the open bucket has come to."""

    @abstractmethod
    def _reach(self, expected: Float64) -> Float64:
        """(keys,) how far from the expected a bucket teaches."""

    def _prepare(self) -> NDArray[np.bool_]:
        """Learn what the scale needs to know, before the bucket is scored.

        Returns (keys,) of which the bucket tells anything.
        """
        return self._keys.held

    def _close_more(self) -> None:
        """Empty what a kind has of the open bucket."""

    # --- events -----------------------------------------------------------------------------------

    def take(self, events: MonitorEvents) -> list[tuple[int, list[Finding]]]:
        """Count events, and close the buckets that the watermark has passed."""
        self.returned = self._followed.begin()
        found: list[tuple[int, list[Finding]]] = []
        marks_ms = events.marks_ms
        first = int(np.argmax(marks_ms >= 0)) if len(marks_ms) else 0
        if not len(marks_ms) or marks_ms[first] < 0:
            return found  # nobody knows yet what time it is
        if self._open == NO_TIMESTAMP:
            self._open = int(marks_ms[first]) // self._bucket_ms
        some = Taken.of(events, self._asked, self._bucket_ms, first)
        if len(some.taken) < len(events) - first:
            self.without_key += events.without_key(self.config.key, first)
        self.unusable += some.unusable
        buckets = np.maximum(np.maximum.accumulate(marks_ms // self._bucket_ms), self._open)
        starts = [first, *(np.flatnonzero(np.diff(buckets[first:])) + first + 1).tolist()]
        places = np.searchsorted(some.taken.rows, [*starts, len(buckets)]).tolist()
        for start, begin, end in zip(starts, places[:-1], places[1:], strict=True):
            self._followed.row = start
            if findings := self._close_before(int(buckets[start])):
                found.append((start, findings))
            self._take_open(some.taken.cut(begin, end), events.lookups)
        return found

    def tick(self, mark_ms: int) -> list[Finding]:
        """Close the buckets that end before ``mark_ms``."""
        self.returned = self._followed.begin()
        return self._close_before(mark_ms // self._bucket_ms) if self._open != NO_TIMESTAMP else []

    @property
    def due_ms(self) -> int | None:
        """End of the open bucket."""
        return None if self._open == NO_TIMESTAMP else (self._open + 1) * self._bucket_ms

    def _take_open(self, taken: Taken, lookups: Lookups | None) -> None:
        """Count events while one bucket is open; what is ahead of it waits."""
        ahead = ahead_of(taken.buckets, self._open, _MOST_WAITING - len(self._waiting))
        if ahead.any():
            self._waiting = self._waiting.with_more(taken.take(np.flatnonzero(ahead)))
            taken = taken.take(np.flatnonzero(~ahead))
        self._count(taken, lookups)

    def _take_waiting(self) -> None:
        """Count what was ahead of the watermark, and is in the bucket that is open now."""
        due = self._waiting.buckets <= self._open
        now = self._waiting.take(np.flatnonzero(due))
        self._waiting = self._waiting.take(np.flatnonzero(~due))
        self._count(now)

    def _close_before(self, bucket: int) -> list[Finding]:
        """Close what is open before a bucket."""
        findings: list[Finding] = []
        while self._open < bucket:
            if bucket - self._open > _LONGEST_SILENCE:
                findings += self._pass_silence(bucket)
                continue
            findings += self._close()
            if len(self._waiting):
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
        following = min([bucket, *self._waiting.buckets.tolist()])
        if following > self._open:
            self.skipped += following - self._open
            self._open = following
            self._history.restart()
            self._close_more()
            self._take_waiting()
        return findings

    def _count(self, taken: Taken, lookups: Lookups | None = None) -> None:
        begin = 0
        while begin < len(taken):
            # Keys are forgotten after so many events, wherever these were cut.
            end = min(begin + LARGEST_CHUNK - self._since_eviction, len(taken))
            some = taken.cut(begin, end)
            slots = self._finder.slots_of(some.keys, lookups, some.rows)
            self._history.grow(self._keys.rows)
            np.add.at(self._history.counts, slots, 1.0)  # an int would be cast each time
            if self._groups is not None:
                self._groups.learn(slots.tolist(), some.groups)
            self._add(slots, some)
            self._keys.touch(slots)
            self._since_eviction += end - begin
            if self._since_eviction == LARGEST_CHUNK:
                self._forget(self._keys.evict())
                self._since_eviction = 0
            begin = end

    def _forget(self, slots: Int64) -> None:
        self._history.forget(slots)
        if self._groups is not None:
            self._groups.forget(slots)

    def restart(self, mark_ms: int) -> None:
        """Go on at ``mark_ms``: the watermark had been wrong.

        What is open counts no more, and windows begin anew: nobody knows what was in between.
        """
        self.uncounted += int(self._history.counts.sum()) + len(self._waiting)
        self._open = mark_ms // self._bucket_ms
        self._history.restart()
        self._close_more()
        self._waiting = Taken.none()

    # --- the end of a bucket: score, then learn -------------------------------------------------

    def _close(self) -> list[Finding]:
        """Score and learn the open bucket, and open the next."""
        findings: list[Finding] = []
        history = self._history
        if len(history):
            end_ms = (self._open + 1) * self._bucket_ms
            effects = self.calendars.at(end_ms - self._bucket_ms, end_ms)
            told = self._prepare()
            day = day_of(effects, len(history), self._keys.find)
            slots = self._season.slots_of(self._open, day.weekday)
            groups = None if self._groups is None else self._groups.codes(len(history))
            closing = Closing(end_ms, self._keys.key_of, groups, day, self.calendars.words)
            every = np.arange(len(history))
            known = self._keys.held & (history.seen[every, slots] > 0)
            expected = np.where(known, history.usual[every, slots] * day.factor, 0.0)
            actual = self._actual()
            history.push(actual, expected, day.muted)
            history.run = np.where(known, history.run + 1, 0.0)
            findings = self._deviations.find(history, closing)
            if self.follows:
                self._followed.look(findings, self._bucket_ms, self._is_back)
            reach = self._reach(expected)
            near = expected + np.clip(actual - expected, -reach, reach)
            taken = np.where(known, near, actual)
            history.learn(slots, taken, told & ~day.unlearnt, self._teaches)
            history.counts[:] = 0.0
            self._close_more()
            # A row without a key is as new, whoever comes to have it: also after a restore.
            history.forget(np.flatnonzero(~self._keys.held))
        self._open += 1
        self.closed += 1
        if self.watcher is not None:
            self.watcher(self._open * self._bucket_ms, findings)
        return findings

    def _is_back(self, key: str, width: int) -> bool:
        row = self._keys.find(key)
        return row is None or self._deviations.is_back(row, width)

    # --- for people to see ------------------------------------------------------------------------

    @property
    def judged(self) -> int:
        """Keys that have been held against what is usual for them."""
        return int((self._history.run >= min(self.config.widths)).sum())

    def heaviest(self, count: int) -> list[str]:
        """The keys with most in the last buckets."""
        rows = np.flatnonzero(self._keys.held[: len(self._history)])
        return heaviest(self._history, rows, self._keys.key_of, count)

    def bands(self, keys: Sequence[str], buckets: int) -> Bands:
        """What keys came to over the shortest width, and the bands around it.

        The last is as it was judged; earlier ones are drawn with the dispersion that is known now,
        and at the pace of all other keys.
        """
        found = {key: row for key in keys if (row := self._keys.find(key)) is not None}
        groups = None if self._groups is None else self._groups.codes(len(self._history))
        width = min(self.config.widths)
        view = drawn(self._history, self._scale, self._deviations, found, (width, buckets), groups)
        ends = np.arange(view.actual.shape[1], dtype=np.int64) - view.actual.shape[1] + 1
        return replace(
            view, ends_ms=(ends + self._open) * self._bucket_ms, width_ms=width * self._bucket_ms
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
            "unusable": self.unusable,
            "uncounted": self.uncounted,
            "skipped": self.skipped,
            "since_eviction": self._since_eviction,
            "tail": self._deviations.state(),
            **({"followed": self._followed.state()} if self.follows else {}),
            **self._waiting.state(),
            **({} if self._groups is None else self._groups.state(slots)),
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
            # Older states have none of these, or "without_value" for those that were unusable.
            older = {"unusable": state.get("without_value", 0), "uncounted": 0, "skipped": 0}
            known = {**older, **state}
            self.unusable = read_count(known, "unusable")
            self.uncounted = read_count(known, "uncounted")
            self.skipped = read_count(known, "skipped")
            self._since_eviction = read_count(state, "since_eviction", high=LARGEST_CHUNK - 1)
            self._waiting = Taken.read(state, self._asked, max(self._open, 0))
            if len(self._waiting) > _MOST_WAITING:
                raise StateMismatchError(f"{len(self._waiting)} events wait for their bucket")
            if self._groups is not None:
                self._groups.restore(state, count)
            self._deviations.restore(read_branch(state, "tail"))
            if self.follows and "followed" in state:
                self._followed.restore(read_branch(state, "followed"), self._keys.capacity)
            self._history.restore(state, count, self._keys.rows)
