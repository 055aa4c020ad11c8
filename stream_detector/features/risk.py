"""Shares of a key's events that turned out to be anomalous, as far as labels are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.config import LabelsConfig, RiskConfig
from stream_detector.detectors.stored import (
    LARGEST_COUNT,
    LARGEST_TIME_MS,
    read_array,
    read_branch,
)
from stream_detector.errors import StateMismatchError
from stream_detector.events import EventBatch, Float64, Int64, State
from stream_detector.features.columns import FeatureGroup, Transform, undo_transform
from stream_detector.features.corrections import Correction, CountedEvents, with_places
from stream_detector.features.distinct import NEVER
from stream_detector.labels import DelayQueue, identities
from stream_detector.tables.history import Histories, Occurrences, check_moments, read_times
from stream_detector.tables.keys import KeyTable, grown
from stream_detector.tables.lookups import KeyFinder, Lookups
from stream_detector.units import format_duration

_LONGEST_HALF_LIVES = 10
_SINGLE = ("time_since_positive", "time_since_first_positive", "positives_run", "negatives_run")


class RiskWindow:
    """The features of one ``RiskConfig`` of the configuration.

    A label counts when ``labels.delay`` has passed since its event, and as old as its event then:
    an event at time t is told of the events up to t - delay, with ages counted from t - delay.
    Columns, the first two for each half-life:

    - ``positives``: log(1 + p), p the sum of weights 2**(-age / half-life) of positive events.
    - ``positive_share``: p / (n + 1), n the sum of weights of all events with a known label.
    - ``time_since_positive``, ``time_since_first_positive``: log(1 + seconds) since the last and
      the first known positive; at most, and where there is none, ten times the longest half-life.
    - ``positives_run``, ``negatives_run``: log(1 + how many of that kind came last in a row).

    A label that comes on a topic may be corrected after it was counted: for as long again as
    ``delay``, or the longest half-life where that is longer. From then on all columns are what they
    would be if it had been right from the beginning, with two limits: an event that had no label
    and came late counts at its own time, and positives between the first and the events that are
    still remembered are not known one by one.

    State: per key 2 numbers a half-life and 5 more, at most ``max_keys`` keys (and a chunk's more);
    the events of the last ``delay``, 40 bytes each, at most ``max_events``; where labels come on a
    topic as many again that were counted, 48 bytes each.
    """

    def __init__(
        self,
        risk: RiskConfig,
        labels: LabelsConfig,
        text: tuple[str, ...],
        *,
        by_id: bool = False,
        lookups: Lookups | None = None,
    ) -> None:
        """Remember no key.

        Args:
            risk: the settings.
            labels: likewise.
            text: fields of the plan.
            by_id: whether labels come later and name their event's id.
            lookups: of the batch in hand, always.
        """
        self._by_id = by_id
        self._half_lives = tuple(dict.fromkeys(risk.half_lives))
        self._key = text.index(risk.key)
        self._delay_ms = int(labels.delay * 1000)
        self._absent = 0.0 if labels.absent == "normal" else np.nan
        self._rates: Float64 = -1.0 / (np.array(self._half_lives) * 1000.0)
        self._longest_ms = _LONGEST_HALF_LIVES * max(self._half_lives) * 1000.0
        self._table = KeyTable(risk.max_keys)
        self._finder, self._lookups = KeyFinder(self._table, risk.key), lookups
        self._known = Histories(len(self._half_lives), with_values=False)
        self._positive = Histories(len(self._half_lives), with_values=False)
        self._marks: Float64 = np.empty((0, 3))  # newest known event, last and first positive
        self._runs: Float64 = np.empty((0, 2))  # positives and negatives that came last in a row
        self._owner: Int64 = np.empty(0, dtype=np.int64)  # counts how often a slot was given away
        self._grow()
        self._queue = DelayQueue(
            labels.delay, risk.max_events, {"slot": (np.int64, 0), "owner": (np.int64, 0)}
        )
        seconds = max(labels.delay, *self._half_lives)
        self._counted = CountedEvents(seconds, risk.max_events) if by_id else None
        spans = [format_duration(half_life) for half_life in self._half_lives]
        names = [f"{kind}_{span}" for kind in ("positives", "positive_share") for span in spans]
        self.columns = tuple(f"{risk.key}.{name}" for name in (*names, *_SINGLE))
        self.groups = tuple(
            FeatureGroup(name, (column,), "risk", risk.key)
            for column, name in enumerate(self.columns)
        )
        self.transforms: tuple[Transform, ...] = tuple(
            "none" if ".positive_share_" in name else "log" for name in self.columns
        )

    @property
    def keys_held(self) -> int:
        """Keys in memory now."""
        return len(self._table)

    @property
    def keys_evicted(self) -> int:
        """Keys forgotten since the beginning."""
        return self._table.evicted

    @property
    def waiting(self) -> int:
        """Events whose label may still come."""
        return self._queue.waiting

    @property
    def counted(self) -> int:
        """Events whose label was counted and may be corrected."""
        return self._counted.held if self._counted is not None else 0

    def encode(self, batch: EventBatch, out: Float64) -> None:
        """(events, columns): what is known of each event's key; the events begin to wait."""
        if len(batch) == 0:
            return
        slots = self._finder.slots_of(batch.text[self._key].tolist(), self._lookups)
        self._grow()
        self._table.touch(slots)
        times_ms = batch.counted_ms
        now = times_ms.astype(np.float64) - self._delay_ms
        marks = self._marks[slots]
        fade = np.exp2(np.maximum(now - marks[:, 0], 0.0)[:, None] * self._rates)
        known = self._known.moments[0, slots] * fade
        positive = self._positive.moments[0, slots] * fade
        seconds = np.minimum(np.maximum(now[:, None] - marks[:, 1:], 0.0), self._longest_ms) / 1000
        parts = (np.log1p(positive), positive / (known + 1.0), np.log1p(seconds))
        out[:] = np.concatenate([*parts, np.log1p(self._runs[slots])], axis=1)
        columns = {"slot": slots, "owner": self._owner[slots]}
        count = len(batch)
        ids = identities(batch.event_id.tolist()) if self._by_id else np.zeros(count, np.int64)
        self._queue.add(times_ms, ids, batch.label, columns)

    def hypothetical(self, variants: EventBatch, row: int, x: Float64, out: Float64) -> None:  # noqa: ARG002 - the key stays
        """What is known of the key, which is of events before."""
        out[:] = x

    def describe(self, group: int, batch: EventBatch, row: int, x: Float64) -> Any:  # noqa: ARG002 - the number is all there is
        """The feature's number, its logarithm undone."""
        return undo_transform(float(x[group]), self.transforms[group])

    def set_labels(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """Labels of events that still wait, or corrections of labels that were counted.

        One after the other, as they came: two polls do what one does. Returns which were met.
        """
        met = self._queue.set_labels(ids, labels)
        if self._counted is None:
            return met
        for number, label in enumerate(labels.tolist()):
            place = self._counted.place_of(int(ids[number]))
            if place is None or math.isnan(label):
                continue
            met[number] = True
            marks = self._marks[:, 1:]
            change = self._counted.correct(place, label, self._owner, marks, self._runs)
            if change is not None:
                self._apply(change)
        return met

    def _apply(self, change: Correction) -> None:
        slot, newest = change.slot, self._marks[change.slot, 0]
        if change.at > newest:  # it had no label, and is the key's newest event now
            fade = np.exp2((change.at - newest) * self._rates)
            self._known.moments[0, slot] *= fade
            self._positive.moments[0, slot] *= fade
            self._marks[slot, 0] = newest = change.at
        weight = np.exp2((newest - change.at) * self._rates)
        self._known.moments[0, slot] += change.known * weight
        positive = self._positive.moments[0, slot] + change.positive * weight
        self._positive.moments[0, slot] = np.maximum(positive, 0.0)
        self._marks[slot, 1:], self._runs[slot] = change.marks, change.runs

    def take_labels(self, now_ms: int) -> None:
        """Count the labels of the events whose delay is over at ``now_ms`` of event time."""
        due = self._queue.mature(now_ms)
        if not len(due["label"]):
            if self._counted is not None:
                self._counted.forget(now_ms)
            return
        labels = due["label"].astype(np.float64)
        labels[np.isnan(labels)] = self._absent
        due["label"] = labels
        slots = due["slot"].astype(np.int64)
        # A key that was forgotten meanwhile has lost what waited, whoever has its slot now.
        current = (slots >= 0) & (self._owner[np.maximum(slots, 0)] == due["owner"])
        times = due["due"].astype(np.int64) - self._delay_ms
        at = times.astype(np.float64)
        kept = current & ~np.isnan(labels)
        if kept.any():
            at[kept] = self._count(slots[kept], times[kept], labels[kept])
        if self._counted is not None:
            self._counted.add({name: each[current] for name, each in due.items()}, at[current])
            self._counted.forget(now_ms)

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``: nothing was seen later than now."""
        np.minimum(self._marks, mark_ms, out=self._marks)
        self._queue.go_back(mark_ms)
        if self._counted is not None:
            self._counted.go_back(mark_ms, self._delay_ms)

    def end_chunk(self) -> None:
        """Forget the keys that are worth least, if there are too many."""
        freed = self._table.evict()
        if len(freed):
            self._known.clear(freed)
            self._positive.clear(freed)
            self._marks[freed] = NEVER
            self._runs[freed] = 0.0
            self._owner[freed] += 1

    def _count(self, slots: Int64, times_ms: Int64, labels: Float64) -> Float64:
        """Count known labels; each key's newest time when each was counted."""
        events = Occurrences.of(slots)
        order = events.order
        times = times_ms[order]
        last, newest = events.newest_times(self._marks[events.slots, 0], times)
        decay = np.exp2((newest - last)[:, None] * self._rates)
        positive = labels[order] > 0
        self._known.advance(events, decay, np.ones(len(order)))
        self._positive.advance(events, decay, positive.astype(np.float64))
        keys = events.slots[events.starts]
        ends = events.starts + events.lengths - 1
        self._marks[keys, 0] = newest[ends]
        place = np.arange(len(order))
        runs = []
        for kind, breaks in ((0, ~positive), (1, positive)):
            last_break = np.maximum.reduceat(np.where(breaks, place, -1), events.starts)
            unbroken = last_break < events.starts
            before = np.where(unbroken, self._runs[keys, kind], 0.0)
            since = np.where(unbroken, events.lengths, ends - last_break)
            runs.append(before + since)
        self._runs[keys] = np.stack(runs, axis=1)
        hit = np.where(positive, newest, NEVER)
        self._marks[keys, 1] = np.maximum(
            self._marks[keys, 1], np.maximum.reduceat(hit, events.starts)
        )
        first = np.minimum.reduceat(np.where(positive, newest, np.inf), events.starts)
        unset = self._marks[keys, 2] == NEVER
        self._marks[keys, 2] = np.where(unset & np.isfinite(first), first, self._marks[keys, 2])
        at = np.empty(len(order))
        at[order] = newest
        return at

    def _grow(self) -> None:
        rows = self._table.rows
        self._known.grow(rows)
        self._positive.grow(rows)
        self._marks = grown(self._marks, rows, NEVER)
        self._runs = grown(self._runs, rows, 0.0)
        if len(self._owner) < rows:
            more: NDArray[np.int64] = np.zeros(rows - len(self._owner), dtype=np.int64)
            self._owner = np.concatenate([self._owner, more])

    def state(self) -> State:
        """The keys, least recently seen first, their numbers in that order; the waiting events."""
        table, slots = self._table.state()
        places: Int64 = np.full(len(self._owner), -1, dtype=np.int64)
        places[slots] = np.arange(len(slots))
        counted = self._counted
        return {
            "half_lives": list(self._half_lives),
            "table": table,
            "known": self._known.moments.take(slots, axis=1),
            "positive": self._positive.moments.take(slots, axis=1),
            "marks": self._marks[slots],
            "runs": self._runs[slots],
            "queue": with_places(self._queue.state(), places, self._owner),
            "counted": counted.state(places, self._owner) if counted is not None else None,
        }

    def restore(self, state: State, latest_ms: int = LARGEST_TIME_MS) -> None:
        """Take the state in; nothing was seen after ``latest_ms``.

        Raises ``StateMismatchError`` where shapes or half-lives differ, or numbers make no sense.
        """
        if tuple(state["half_lives"]) != self._half_lives:
            raise StateMismatchError(
                f"risk has half-lives {state['half_lives']}, expected {list(self._half_lives)}"
            )
        table = read_branch(state, "table")
        keys = len(table["last_used"])
        shape = (1, keys, len(self._half_lives))
        known, positive = read_array(state, "known", shape), read_array(state, "positive", shape)
        check_moments(known, 0.0)
        check_moments(positive, 0.0)
        marks = read_times(state, "marks", (keys, 3), latest_ms)
        runs = read_array(state, "runs", (keys, 2), low=0.0, high=LARGEST_COUNT)
        queue, counted = read_branch(state, "queue"), state.get("counted")
        for events in (queue, counted):
            if events is not None:  # states of older versions have none counted
                read_array(events, "slot", (-1,), np.int64, low=-1, high=keys - 1)
                read_array(events, "owner", (-1,), np.int64, low=0, high=0)
        self._table.restore(table)
        self._known.moments, self._positive.moments = known, positive
        self._marks, self._runs = marks, runs
        self._owner = np.zeros(keys, dtype=np.int64)
        self._grow()
        self._queue.restore(queue)
        if self._counted is not None:
            self._counted.restore(counted, latest_ms)
