"""Hours of the week at which a key is hardly ever active."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from stream_detector.detectors.stored import LARGEST_COUNT, read_array, read_time
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, Float64, Int64, State
from stream_detector.monitors.base import Finding, MonitorEvents
from stream_detector.monitors.keyed import EventMonitor, Found, Segment
from stream_detector.monitors.seasonal import known_zone
from stream_detector.monitors.surprise import LEAST, EventMonitorConfig, as_deviations, surprise
from stream_detector.monitors.week import (
    DAYS,
    HOURS,
    WEEK,
    hours_of_week,
    profile,
    sums,
    usual_times,
)
from stream_detector.parameters import human
from stream_detector.tables.keys import grown
from stream_detector.units import Duration

_DAY_MS = 86_400_000

_ANYWHERE = 0.05
_LARGEST_GROWTH = 2.0**40
_LARGEST_WEIGHT = 2.0**80


class HoursMonitorConfig(EventMonitorConfig):
    """Watch on hours: an event in an hour of the week in which its key is hardly ever active."""

    told: ClassVar[frozenset[str]] = EventMonitorConfig.told | {"learn_for"}

    kind: Literal["hours"] = Field(
        "hours", description="What is watched: hours in which a key is active."
    )
    zone: Annotated[str, Field(max_length=64), AfterValidator(known_zone)] = Field(
        "UTC", description="Time zone of the hours, for example `Europe/Berlin`."
    )
    p: float = Field(
        0.0005,
        ge=1e-12,
        le=0.1,
        description="Share of a key's active hours that may lie where one so strange does; what "
        "has less is alerted, where there is no `budget`, or it is not known yet what keeps it.",
    )
    after: int = Field(
        50,
        ge=0,
        le=1_000_000,
        description="Hours in which a key must have been active before anything is said of it.",
    )
    learn_for: Duration = Field(
        human("21d"),
        description="Event time since a key's first event before anything is said of it.",
    )
    half_life: Duration = Field(
        human("90d"), description="Event time after which what was usual counts half."
    )
    max_keys: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Keys remembered; those with the least history go first. A key takes 1.5 kB.",
    )


@dataclass(frozen=True, slots=True)
class UnusualHour(Finding):
    """An event in an hour of the week in which its key is hardly ever active.

    Attributes:
        hour: of the week, from Monday at 0.
        zone: whose hours these are.
        active: in how many weeks lately the key was active in it.
        hours: in how many hours it was active since it is remembered.
        chance: share of its active hours that are as strange.
        usual: when it is active, in words.
    """

    hour: int
    zone: str
    active: float
    hours: int
    chance: float
    usual: str

    def _named(self) -> str:
        return f"{DAYS[self.hour // HOURS]} {self.hour % HOURS:02}:00"

    def reasons(self) -> list[dict[str, Any]]:
        """One: the hour, and when the key is active."""
        who = self.key or "the stream"
        text = (
            f"{who} was active in this hour in {self.active:.0f} of the last weeks; of its "
            f"{self.hours:,} active hours 1 in {max(round(1 / self.chance), 1):,} is as strange; "
            f"usual: {self.usual} ({self.zone})"
        )
        return [
            {
                "feature": "hour_of_week",
                "value": self._named(),
                "share": 1.0,
                "deviations": as_deviations(self.score),
                "text": text,
            }
        ]

    def details(self) -> dict[str, Any]:
        """The hour, and how often the key was active in it."""
        return {
            "value": self._named(),
            "actual": round(self.active),
            "expected": self.chance,
            "events": self.hours,
            "usual": self.usual,
        }


class HoursMonitor(EventMonitor):
    """Finds events in hours of the week in which their key is hardly ever active.

    Of each key is known in how many weeks it was active in each of the 168 hours of a zone's
    clocks, fading with ``half_life``; a thousand events in an hour count as one. The chance of an
    hour is the share of the key's active hours that lie in it or in hours that are as quiet, by
    its smoothed profile. Each hour is judged once, by what was known when the day began: what a
    day brings is learnt when the stream's time has passed its end (in UTC).

    State, beside that of all such monitors: for at most ``max_keys`` keys and a chunk 168 weights,
    the hours of the open day, the first event and the number of active hours; the same 168 of all.
    """

    Config = HoursMonitorConfig

    def __init__(self, config: HoursMonitorConfig) -> None:
        super().__init__(config)
        self.config: HoursMonitorConfig = config
        self._half_life_days = self._half_life_ms / _DAY_MS
        self._learn_ms = round(config.learn_for * 1000)
        # Weights grow with the days instead of fading: each day's count is 2^(days / half-life).
        self._weights: Float64 = np.zeros((0, WEEK))
        self._today: NDArray[np.bool_] = np.zeros((0, WEEK), dtype=np.bool_)
        self._first_ms: Int64 = np.zeros(0, dtype=np.int64)
        self._active: Int64 = np.zeros(0, dtype=np.int64)
        self._all: Float64 = np.zeros(WEEK)
        self._base_day = self._day = NO_TIMESTAMP

    def _usable(self, events: MonitorEvents) -> NDArray[np.bool_]:
        return np.ones(len(events), dtype=np.bool_)

    def _grow(self, rows: int) -> None:
        if len(self._weights) < rows:
            more = rows - len(self._weights)
            self._weights = grown(self._weights, rows, 0.0)
            self._today = np.concatenate([self._today, np.zeros((more, WEEK), dtype=np.bool_)])
            self._first_ms = np.concatenate([self._first_ms, np.full(more, NO_TIMESTAMP)])
            self._active = np.concatenate([self._active, np.zeros(more, dtype=np.int64)])

    def _judge(self, segment: Segment) -> Found:
        """Day by day of the stream's time."""
        days = segment.now_ms // _DAY_MS
        hours = hours_of_week(segment.times_ms, self.config.zone)
        starts = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist()]
        found: Found = []
        for start, stop in zip(starts, [*starts[1:], len(days)], strict=True):
            self._open_day(int(days[start]))
            found += self._judge_day(segment, hours, start, stop)
        return found

    def _judge_day(self, segment: Segment, hours: Int64, start: int, stop: int) -> Found:
        """What is found in events of one day; each hour of a key is judged once."""
        slots, hours = segment.slots[start:stop], hours[start:stop]
        first = np.unique(slots * WEEK + hours, return_index=True)[1]
        rows = np.sort(first[~self._today[slots[first], hours[first]]])
        if not len(rows):
            return []
        slots, hours = slots[rows], hours[rows]
        self._today[slots, hours] = True
        now_ms = segment.now_ms[start + rows]
        new = self._first_ms[slots] == NO_TIMESTAMP
        self._first_ms[slots[new][::-1]] = now_ms[new][::-1]  # of several the first stays
        known = self._active[slots] >= max(self.config.after, 1)
        known &= now_ms - self._first_ms[slots] >= self._learn_ms
        judged = np.flatnonzero(known)
        if not len(judged):
            return []
        weights = self._weights[slots[judged]] / self._growth
        shares = profile(weights, self._cohort())
        own = shares[np.arange(len(judged)), hours[judged]]
        chances = sums(np.where(shares <= own[:, None] * (1 + 1e-9), shares, 0.0))
        scores = surprise(chances)
        strange = np.flatnonzero(scores >= LEAST)
        found: Found = []
        for at in strange[self._surprises.exceeded(scores[strange])].tolist():
            row = start + int(rows[judged[at]])
            key = segment.keys[row]
            if self._surprises.tell(key, "", int(segment.now_ms[row])):
                hour, slot = int(hours[judged[at]]), int(slots[judged[at]])
                finding = UnusualHour(
                    **self._told(segment, row, float(scores[at])),
                    hour=hour,
                    zone=self.config.zone,
                    active=float(weights[at, hour]),
                    hours=int(self._active[slot]),
                    chance=float(chances[at]),
                    usual=usual_times(weights[at]),
                )
                found.append((int(segment.rows[row]), [finding]))
        return found

    def _known_at(self, slot: int) -> list[str]:
        hours, weights = int(self._active[slot]), self._weights[slot]
        said = [f"Active in {hours:,} hours, those of today not counted."]
        if weights.any():
            said.append(f"Usual: {usual_times(weights)} ({self.config.zone}).")
        return said + self._too_few(hours, "active hours")

    @property
    def _growth(self) -> float:
        """What a day's count weighs now."""
        days = float(self._day - self._base_day)
        return float(2.0 ** (days / self._half_life_days))

    def _cohort(self) -> Float64:
        """The profile of all keys; a twentieth lies anywhere, so that no hour is impossible."""
        one = self._growth
        shares: Float64 = (self._all + one / WEEK) / (self._all.sum() + one)
        return (1 - _ANYWHERE) * shares + _ANYWHERE / WEEK

    def _open_day(self, day: int) -> None:
        """Learn the day that was open, where it is another one."""
        if self._day == NO_TIMESTAMP:
            self._base_day = self._day = day
        if day == self._day:
            return
        rows = np.flatnonzero(self._today.any(axis=1))
        if len(rows):
            weight = self._growth
            today = self._today[rows]
            self._weights[rows] += weight * today
            self._all += weight * today.sum(axis=0)
            self._active[rows] += today.sum(axis=1)
            self._today[rows] = False
        self._day = day
        growth = self._growth
        if not 1 / _LARGEST_GROWTH <= growth <= _LARGEST_GROWTH:
            self._weights /= growth
            self._all /= growth
            self._base_day = day

    def _end_chunk(self, freed: Int64, keep: float, now_ms: int) -> None:
        del keep, now_ms
        self._weights[freed] = 0.0
        self._today[freed] = False
        self._first_ms[freed] = NO_TIMESTAMP
        self._active[freed] = 0

    def _go_back(self, mark_ms: int) -> None:
        if self._day != NO_TIMESTAMP:
            self._open_day(min(self._day, mark_ms // _DAY_MS))
        np.minimum(self._first_ms, mark_ms, out=self._first_ms)

    def _own_state(self, slots: Int64) -> State:
        return {
            "weights": self._weights[slots],
            "today": self._today[slots],
            "first_ms": self._first_ms[slots],
            "active": self._active[slots],
            "all": self._all.copy(),
            "day": self._day,
            "base_day": self._base_day,
        }

    def _restore_own(self, state: State, count: int, latest_ms: int) -> None:
        rows = self._keys.rows
        self._weights, self._today = np.zeros((0, WEEK)), np.zeros((0, WEEK), dtype=np.bool_)
        self._first_ms, self._active = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        self._grow(rows)
        shape, most = (count, WEEK), _LARGEST_WEIGHT
        self._weights[:count] = read_array(state, "weights", shape, low=0, high=most)
        self._today[:count] = read_array(state, "today", shape, np.bool_)
        self._first_ms[:count] = read_array(
            state, "first_ms", (count,), np.int64, low=NO_TIMESTAMP, high=latest_ms
        )
        self._active[:count] = read_array(
            state, "active", (count,), np.int64, low=0, high=LARGEST_COUNT
        )
        self._all = read_array(state, "all", (WEEK,), low=0, high=most)
        latest = latest_ms // _DAY_MS
        self._day = read_time(state, "day", latest_ms=latest)
        self._base_day = read_time(state, "base_day")
        if (self._day == NO_TIMESTAMP) != (self._base_day == NO_TIMESTAMP):
            raise StateMismatchError("one of two days is missing")
        if abs(self._day - self._base_day) > 41 * self._half_life_days:
            raise StateMismatchError("the weights are of another day")
