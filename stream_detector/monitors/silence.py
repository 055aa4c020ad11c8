"""Keys, partitions, topics or whole streams that have fallen silent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stream_detector.detectors.stored import (
    LARGEST_COUNT,
    LARGEST_TIME_MS,
    making_sense,
    read_branch,
    read_count,
    read_float,
)
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, Float64, Int64, State
from stream_detector.monitors.base import Finding, Monitor, MonitorEvents
from stream_detector.monitors.days import day_of
from stream_detector.monitors.exact import exact_sum
from stream_detector.monitors.gaps import MOST_RARE, Gaps, Moment, length_at, scores_of
from stream_detector.monitors.opened import Opened
from stream_detector.monitors.season import Season
from stream_detector.monitors.silences import Silence, SilenceMonitorConfig, keys_of
from stream_detector.tables.history import Occurrences
from stream_detector.tables.keys import LARGEST_CHUNK, KeyTable
from stream_detector.tables.lookups import KeyFinder, Lookups

_LOOKS = 60
"""A bucket is cut into so many; at their ends keys are looked at."""

_LEAST_BUCKETS = 24
_SEASONS = 2
_LEAST_THRESHOLD = 3.0
_USUAL_SCORE = 2.0
_LONGEST_JUMP = 10_000


class SilenceMonitor(Monitor):
    """Finds keys that have been silent for longer than their rate and all others can explain.

    A gap is measured in expected events: the key's usual rate over the slots of the season since
    its last event, times the pace of all other keys meanwhile (their events over what was usual for
    them), and times the key's own before, where that was slow. On that scale the gaps of any stream
    of events are alike, exponential with mean 1 where these come by chance (time rescaling: Brown
    et al. 2002, Neural Computation 14, 325). How often a gap is long and by how much, each key
    learns of its own (peaks over a threshold). The score is -log10 of the share of gaps that would
    last as long; it alerts where fewer than ``budget`` of such gaps are to be expected of all keys
    together.

    Time is the watermark's: events that come late show that their key is alive. A key is looked at
    half-way to when its silence might be a finding, and again, and where a bucket ends.

    State, for at most ``max_keys`` keys and a chunk: the columns of ``Gaps``.
    """

    Config = SilenceMonitorConfig
    mutes_itself = True
    finds_lasting = True

    def __init__(self, config: SilenceMonitorConfig) -> None:
        self.config: SilenceMonitorConfig = config
        self.without_key = 0
        self._season = Season(config)
        self._bucket_ms = round(config.bucket * 1000)
        self._step_ms = max(self._bucket_ms // _LOOKS, 1)
        keyed = config.key is not None or config.of != "everything"
        self._keys = KeyTable(config.max_keys if keyed else 1)
        self._finder = KeyFinder(self._keys, config.key)
        self._first = max(_SEASONS * self._season.slots, _LEAST_BUCKETS)  # buckets, learnt only
        self._gaps = Gaps(self._season.slots)
        self._gaps.teaches = 1 - 0.5 ** (self._season.slots * config.bucket / config.half_life)
        self._since_eviction = 0
        self._open = NO_TIMESTAMP  # number of the open bucket since 1970
        self._now_ms = NO_TIMESTAMP
        self._slot = 0  # of the open bucket
        self._events = 0  # of all keys
        self._expected = 0.0  # of all keys, up to the open bucket
        self._rate = 0.0  # expected of all keys in the open bucket
        self._judged = 0  # keys, at the beginning of the open bucket
        self._next_ms = 0.0  # the first time at which a key is due
        self._back: list[tuple[int, str]] = []  # keys that are back, with their rows

    @property
    def judged(self) -> int:
        """Keys of which so much is known that their silence would be found."""
        return self._judged

    # --- events and time --------------------------------------------------------------------------

    def take(self, events: MonitorEvents) -> list[tuple[int, list[Finding]]]:
        """Take events in, and look at keys as the watermark passes what they are due at."""
        self._back, self.returned = [], ()
        found: list[tuple[int, list[Finding]]] = []
        first = int(np.argmax(events.marks_ms >= 0)) if len(events) else 0
        if not len(events) or events.marks_ms[first] < 0:
            return found  # nobody knows yet what time it is
        if self._open == NO_TIMESTAMP:
            self._begin(int(events.marks_ms[first]))
        keys = keys_of(events, self.config)
        self.without_key += events.without_key(self.config.key, first)
        marks_ms = np.maximum(np.maximum.accumulate(events.marks_ms), self._now_ms)
        row = first
        while row < len(marks_ms):
            stop = int(np.searchsorted(marks_ms, self._turn_ms, side="left"))
            if stop <= row:
                if findings := self._advance(int(marks_ms[row])):
                    found.append((row, findings))
                continue
            self._arrive(keys[row:stop], marks_ms[row:stop], row, events.lookups)
            row = stop
        self._now_ms = int(marks_ms[-1])
        self.returned = sorted(self._back)
        return found

    def tick(self, mark_ms: int) -> list[Finding]:
        """Look at the keys that are due by then."""
        self.returned = ()
        if self._open == NO_TIMESTAMP:
            return []
        findings = self._advance(mark_ms)
        self._now_ms = max(self._now_ms, mark_ms)
        return findings

    @property
    def due_ms(self) -> int | None:
        """The next time at which a key is due, or a bucket ends."""
        return None if self._open == NO_TIMESTAMP else math.ceil(self._turn_ms)

    @property
    def _end_ms(self) -> int:
        return (self._open + 1) * self._bucket_ms

    @property
    def _turn_ms(self) -> float:
        """When there is something to do next; events up to there are taken as they come."""
        return min(self._next_ms, self._end_ms)

    def _begin(self, mark_ms: int) -> None:
        self._open, self._now_ms = mark_ms // self._bucket_ms, mark_ms
        self._slot = self._season.slot(self._open)
        due_ms = self._gaps.due_ms
        due_ms[due_ms < LARGEST_TIME_MS] = self._end_ms
        self._next_ms = self._first_due()

    def _first_due(self) -> float:
        return float(self._gaps.due_ms.min(initial=float(LARGEST_TIME_MS)))

    def _advance(self, time_ms: int) -> list[Finding]:
        """Time goes on; look at what is due, and close buckets."""
        findings: list[Finding] = []
        closed = 0
        while self._turn_ms <= time_ms:
            turn_ms, end_ms = self._turn_ms, self._end_ms
            findings += self._look(turn_ms)
            if turn_ms < end_ms:
                continue
            self._close()
            closed += 1
            left = time_ms // self._bucket_ms - self._open
            if closed > _SEASONS * self._season.slots + _LEAST_BUCKETS and left > _LONGEST_JUMP:
                self.skipped += left
                self._begin(time_ms)
        return findings

    def _close(self) -> None:
        """Learn the open bucket, and open the next."""
        gaps, held = self._gaps, self._keys.held
        if len(gaps):
            gaps.close(held, self._bucket())
        self._expected += self._rate
        self._open += 1
        self.closed += 1
        self._slot = self._season.slot(self._open)
        if len(gaps):
            awake = np.flatnonzero(held & (gaps.silent == 0))
            # Exact, so that it does not depend on which row a key has.
            self._rate = exact_sum(gaps.rates(awake, self._bucket()))
            self._judged = len(gaps.well_known(awake, self._first))
        self._next_ms = self._first_due()

    def _bucket(self) -> Opened:
        """The open bucket, and what calendars say of it now: keys may have come since."""
        begin_ms = self._open * self._bucket_ms
        effects = self.calendars.at(begin_ms, begin_ms + self._bucket_ms)
        if not effects:
            return Opened(self._slot)
        return Opened.on(
            self._open, self._season, day_of(effects, len(self._gaps), self._keys.find)
        )

    # --- events -----------------------------------------------------------------------------------

    def _arrive(
        self, keys: Sequence[str | None], times_ms: Int64, first: int, lookups: Lookups | None
    ) -> None:
        """Events come while nothing is due: gaps end. ``first``: row of the first of them."""
        rows = [row for row, key in enumerate(keys) if key is not None]
        begin = 0
        while begin < len(rows):
            # Keys are forgotten after so many events, wherever these were cut.
            some = rows[begin : begin + LARGEST_CHUNK - self._since_eviction]
            texts, places = [str(keys[row]) for row in some], first + np.array(some)
            slots = self._finder.slots_of(texts, lookups, places)
            self._end_gaps(slots, times_ms[some], places)
            begin += len(some)
            self._since_eviction += len(some)
            if self._since_eviction == LARGEST_CHUNK:
                self._gaps.forget(self._keys.evict())
                self._since_eviction = 0

    def _end_gaps(self, slots: Int64, times_ms: Int64, rows: Int64) -> None:
        gaps = self._gaps
        gaps.grow(self._keys.rows)
        events = Occurrences.of(slots)
        order, ends = events.order, events.starts + events.lengths - 1
        each = events.slots[ends]
        moments = self._moment(times_ms[order], self._events + order)
        for at in np.flatnonzero(gaps.silent[each] > 0).tolist() if self.follows else ():
            row = int(rows[order[events.starts[at]]])
            self._back.append((row, self._keys.key_of(int(each[at]))))
        new = each[gaps.due_ms[each] >= LARGEST_TIME_MS]
        gaps.end(events, moments, times_ms[order], beside=self.config.population)
        gaps.due_ms[new] = self._on_step(gaps.last_ms[new] + 1)
        if len(new):
            self._next_ms = min(self._next_ms, float(gaps.due_ms[new].min()))
        self._events += len(slots)
        self._keys.touch(slots)

    def _moment(self, times_ms: Float64 | Int64, events: Int64) -> Moment:
        """What is known of all keys together at times within the open bucket."""
        passed: Float64 = (times_ms - self._open * self._bucket_ms) / self._bucket_ms
        return Moment(
            self._bucket(), passed, events.astype(np.float64), self._expected + self._rate * passed
        )

    def _on_step(self, times_ms: Float64) -> Float64:
        """The ends of the looks that times lie in, within the open bucket."""
        steps = np.ceil(times_ms / self._step_ms) * self._step_ms
        ends: Float64 = np.minimum(steps, self._end_ms)
        return ends

    # --- looks ------------------------------------------------------------------------------------

    def _look(self, now_ms: float) -> list[Finding]:
        """Look at the keys that are due; findings in the order of the alphabet."""
        gaps = self._gaps
        rows = np.flatnonzero(gaps.due_ms <= now_ms)
        if not len(rows):
            self._next_ms = self._first_due()
            return []
        moment = self._moment(np.full(len(rows), now_ms), np.full(len(rows), self._events))
        lengths, pace = gaps.lengths(rows, moment, beside=self.config.population)
        share, mean = gaps.tails(rows)
        thresholds = self._thresholds(rows)
        judged = np.isin(rows, gaps.well_known(rows, self._first))
        scores = scores_of(lengths, share, mean)
        silent = judged & (scores >= thresholds) & (moment.bucket.factors_of(rows) > 0)
        # Half-way to where it would be a finding, at the rate and pace of now.
        needed = length_at(thresholds, share, mean)
        rates = gaps.rates(rows, moment.bucket) * gaps.level[rows] * pace
        speed = np.maximum(rates, 1e-12) / self._bucket_ms
        half = np.maximum((needed - lengths) / speed / 2, self._step_ms)
        next_ms = np.where(judged, np.minimum(now_ms + half, self._end_ms), self._end_ms)
        if now_ms >= self._end_ms:  # the first look of the next bucket
            next_ms = np.full(len(rows), self._end_ms + self._step_ms, dtype=float)
        else:
            next_ms = self._on_step(np.maximum(next_ms, now_ms + 1))
        gaps.due_ms[rows] = np.where(silent, float(LARGEST_TIME_MS), next_ms)
        gaps.silent[rows[silent]] = 1.0
        self._next_ms = self._first_due()
        usual = length_at(_USUAL_SCORE, share, mean)
        found = [
            Silence(
                key=self._keys.key_of(int(rows[at])),
                start_ms=int(gaps.last_ms[rows[at]]),
                end_ms=int(now_ms),
                score=float(scores[at]),
                threshold=float(thresholds[at]),
                rarity=10 ** float(scores[at]),
                share=None,
                expected=float(lengths[at]),
                pace=float(pace[at]),
                usual_ms=(now_ms - float(gaps.last_ms[rows[at]])) * float(usual[at] / lengths[at]),
            )
            for at in np.flatnonzero(silent).tolist()
        ]
        return sorted(found, key=lambda one: one.key)

    def _thresholds(self, rows: Int64) -> Float64:
        """(rows,) scores at which so many gaps of all keys together would be findings by chance."""
        assert self.config.budget.per_second is not None
        per_second = self._gaps.mean_rates(rows) / self.config.bucket
        times = np.maximum(per_second * max(self._judged, 1) / self.config.budget.per_second, 1e-9)
        return np.clip(np.log10(times), _LEAST_THRESHOLD, MOST_RARE)

    def restart(self, mark_ms: int) -> None:
        """Go on at ``mark_ms``: all gaps begin anew; what is open counts no more."""
        self.uncounted += int(self._gaps.counts.sum())
        self._begin(mark_ms)
        self._gaps.restart(float(self._events), self._expected)
        known = self._gaps.last_ms >= 0
        self._gaps.last_ms[known] = mark_ms

    # --- state ------------------------------------------------------------------------------------

    def state(self) -> State:
        """The keys and what is known of each, in the order of their last use."""
        keys, slots = self._keys.state()
        self._gaps.grow(self._keys.rows)
        return {
            "keys": keys,
            "open": self._open,
            "now_ms": self._now_ms,
            "events": self._events,
            "expected": self._expected,
            "rate": self._rate,
            "judged": self._judged,
            "without_key": self.without_key,
            "uncounted": self.uncounted,
            "skipped": self.skipped,
            "since_eviction": self._since_eviction,
            **self._gaps.state(slots),
        }

    def restore(self, state: State, mark_ms: int) -> None:
        """Take the state in; ``mark_ms`` is the watermark that goes with it.

        Raises ``StateMismatchError`` where it is none of such a monitor.
        """
        with making_sense():
            count = self._keys.restore(read_branch(state, "keys"))
            opened, now_ms = state["open"], state["now_ms"]
            latest_ms = max(mark_ms, NO_TIMESTAMP)
            if type(now_ms) is not int or not NO_TIMESTAMP <= now_ms <= latest_ms:
                raise StateMismatchError("the monitor's time lies after the watermark")
            if type(opened) is not int or opened != max(now_ms // self._bucket_ms, NO_TIMESTAMP):
                raise StateMismatchError("the open bucket is not that of the monitor's time")
            self._open, self._now_ms = opened, now_ms
            self._slot = self._season.slot(opened) if opened >= 0 else 0
            self._events, self._judged = read_count(state, "events"), read_count(state, "judged")
            for name in ("without_key", "uncounted", "skipped"):
                setattr(self, name, read_count(state, name))
            self._since_eviction = read_count(state, "since_eviction", high=LARGEST_CHUNK - 1)
            self._expected = read_float(state, "expected", low=0.0, high=LARGEST_COUNT)
            self._rate = read_float(state, "rate", low=0.0, high=LARGEST_COUNT)
            self._gaps.restore(state, count, self._keys.rows)
            self._next_ms = self._first_due()
