"""Places that are far from all where a key was seen, and journeys that are too fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detectors.stored import read_array, read_branch
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, Float64, Int64, State
from stream_detector.monitors.base import MonitorEvents
from stream_detector.monitors.earth import Places, degrees, kilometres, points, squares
from stream_detector.monitors.keyed import EventMonitor, Found, Segment
from stream_detector.monitors.novelty import Novelty, Rates, Tally
from stream_detector.monitors.strange_place import StrangePlace
from stream_detector.monitors.surprise import LEAST, EventMonitorConfig, surprise
from stream_detector.parameters import FieldName, human
from stream_detector.tables.history import Occurrences
from stream_detector.tables.keys import grown
from stream_detector.units import Duration

_LEVELS = 17
_HOUR_MS = 3_600_000
_RARE_JUMP = 0.001
"""Of one event of a cohort of which nothing is known: so much of it is a journey too fast."""

_LATEST_MS = 2**50
_ON_EARTH = 1e-6


class PlacesMonitorConfig(EventMonitorConfig):
    """Watch on places: an event far from all where its key was seen, or too soon after the last."""

    kind: Literal["places"] = Field(
        "places", description="What is watched: places, and journeys between them."
    )
    latitude: FieldName = Field(description="Field with the latitude in degrees.")
    longitude: FieldName = Field(description="Field with the longitude in degrees.")
    max_speed: float = Field(
        1000,
        ge=1,
        le=100_000,
        description="Speed in km/h that nobody has between two events: an airliner has 900.",
    )
    min_distance: float = Field(
        100,
        ge=0,
        le=20_000,
        description="Kilometres below which no journey is too fast: places of addresses are that "
        "inexact.",
    )
    precision: Duration = Field(
        human("1m"),
        description="Two events are taken to be so far apart in time at least: clocks differ.",
    )
    radius: float = Field(
        50, gt=0, le=5000, description="Kilometres around a place that belong to it."
    )
    places: int = Field(8, ge=1, le=32, description="Places remembered of each key.")
    zero: bool = Field(
        False, description="Whether 0, 0 is a place; else it means that none is known."
    )
    p: float = Field(
        0.001,
        ge=1e-12,
        le=0.1,
        description="What had so small a chance, by what its key did so far, is alerted, where "
        "there is no `budget`, or it is not known yet what keeps it.",
    )
    after: int = Field(
        20,
        ge=0,
        le=1_000_000,
        description="Events that a key must have had before a place is strange; a journey may be "
        "too fast from the second event on.",
    )
    max_keys: int = Field(
        100_000,
        ge=1,
        le=1_000_000,
        description="Keys remembered; those with the least history go first. A key takes 250 bytes "
        "and 40 for each of its places.",
    )

    @property
    def number_fields(self) -> tuple[str, ...]:
        """Latitude and longitude, and those of ``where``."""
        return (*super().number_fields, self.latitude, self.longitude)


@dataclass(frozen=True, slots=True)
class _Journeys:
    """How far and how fast each event of a segment is from its key's one before: (events,) each."""

    travelled_km: Float64
    hours: Float64
    speed: Float64
    too_fast: NDArray[np.bool_]


class PlacesMonitor(EventMonitor):
    """Finds events far from all places of their key, and journeys faster than anybody travels.

    A new place is one farther than ``radius`` from all ``places`` of the key. Its chance is the
    share of the key's events at new places (see ``Novelty``), times the share of all new places
    that were as far from what was known. A journey is too fast above ``max_speed`` and beyond
    ``min_distance``, forwards or backwards in time; its chance is the share of the key's events
    that are: who changes between two networks all day says nothing by it.

    State, beside that of all such monitors: the places and the last event of at most ``max_keys``
    keys and a chunk, the rates of both, and how far new places were.
    """

    Config = PlacesMonitorConfig

    def __init__(self, config: PlacesMonitorConfig) -> None:
        super().__init__(config)
        self.config: PlacesMonitorConfig = config
        self._places = Places(config.places, config.radius, self._half_life_ms)
        # Of journeys too fast and of new places.
        self._rates = Novelty(self._half_life_ms, (_RARE_JUMP, 1.0))
        self._distances = Tally(_LEVELS)
        self._last: Float64 = np.zeros((0, 3))
        self._last_ms: Int64 = np.zeros(0, dtype=np.int64)

    def _usable(self, events: MonitorEvents) -> NDArray[np.bool_]:
        latitude = events.numbers[self.config.latitude]
        longitude = events.numbers[self.config.longitude]
        usable = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 360)  # noqa: PLR2004 - not NaN
        if not self.config.zero:
            usable &= (latitude != 0) | (longitude != 0)
        return usable

    def _grow(self, rows: int) -> None:
        self._places.grow(rows)
        self._rates.grow(rows)
        if len(self._last) < rows:
            more = np.full(rows - len(self._last), NO_TIMESTAMP)
            self._last_ms = np.concatenate([self._last_ms, more])
            self._last = grown(self._last, rows, 0.0)

    def _judge(self, segment: Segment) -> Found:
        config, rows = self.config, segment.rows
        numbers = segment.events.numbers
        at = points(numbers[config.latitude][rows], numbers[config.longitude][rows])
        journeys = self._travel(segment, at)
        fresh = self._places.fresh()
        nearest, new = self._places.visit(segment.slots, at, segment.now_ms)
        distance = np.where(np.isinf(nearest), 0.0, kilometres(np.minimum(nearest, 4.0)))
        fast_rates, rates = self._rates.learn(
            segment.shared, segment.now_ms, journeys.too_fast, new
        )
        scores = np.zeros((2, len(rows)))
        chances = np.ones((2, len(rows)))
        jumps, visits = np.flatnonzero(journeys.too_fast), np.flatnonzero(new)
        chances[0, jumps] = fast_rates.share
        chances[1, visits] = self._chances(rates, distance[visits])
        scores[0, jumps] = surprise(chances[0, jumps])
        known = rates.events >= max(config.after, 1)
        scores[1, visits[known]] = surprise(chances[1, visits[known]])
        best = scores.max(axis=0)
        strange = np.flatnonzero(best >= LEAST)
        found: Found = []
        for row in strange[self._surprises.exceeded(best[strange])].tolist():
            is_jump = bool(scores[0, row] >= scores[1, row])
            latitude, longitude = degrees(at[row])
            if not self._tells(segment, row, at, is_jump):
                continue
            slot = int(segment.slots[row])
            came = int(new[:row][segment.slots[:row] == slot].sum())
            own, where = (fast_rates, jumps) if is_jump else (rates, visits)
            finding = StrangePlace(
                **self._told(segment, row, float(best[row])),
                latitude=latitude,
                longitude=longitude,
                distance_km=float(distance[row]),
                travelled_km=float(journeys.travelled_km[row]),
                hours=float(journeys.hours[row]),
                speed=float(journeys.speed[row]),
                limit=config.max_speed,
                radius_km=config.radius,
                is_jump=is_jump,
                events=int(own.events[np.searchsorted(where, row)]),
                places=self._places.count(slot, fresh.get(slot, 0) + came),
                chance=float(chances[0 if is_jump else 1, row]),
            )
            found.append((int(rows[row]), [finding]))
        self._arrive(segment.shared, at, segment.times_ms)
        return found

    def _known_at(self, slot: int) -> list[str]:
        events, (jumps, news) = self._rates.totals(slot)
        fast = f"{jumps:,} after a journey at more than {self.config.max_speed:,.0f} km/h"
        said = [
            f"{events:,} events, {news:,} of them at a place that was new to it, {fast}.",
            *(f"Seen near {each}." for each in map(_named, self._places.known(slot))),
        ]
        if self._last_ms[slot] != NO_TIMESTAMP:
            when = np.datetime_as_string(np.datetime64(int(self._last_ms[slot]), "ms"), unit="s")
            said.append(f"Last seen at {_named(self._last[slot])}, {when}Z.")
        return said + self._too_few(events, "events")

    def _travel(self, segment: Segment, at: Float64) -> _Journeys:
        """From the event before of the same key; a late one travels back in time."""
        shared = segment.shared
        order, times = shared.order, segment.times_ms[shared.order]
        before, before_ms = np.empty_like(at), np.empty_like(times)
        first = segment.slots[order][shared.starts]
        before[1:], before_ms[1:] = at[order][:-1], times[:-1]
        before[shared.starts], before_ms[shared.starts] = self._last[first], self._last_ms[first]
        none = before_ms == NO_TIMESTAMP
        squared = np.where(none, 0.0, squares(before, at[order]))
        apart_ms = np.where(none, 0, np.abs(times - before_ms))
        result = np.empty((3, len(order)))
        hours = np.maximum(apart_ms, self.config.precision * 1000) / _HOUR_MS
        travelled = kilometres(squared)
        result[:, order] = travelled, apart_ms / _HOUR_MS, travelled / np.maximum(hours, 1e-6)
        too_fast = (result[0] >= max(self.config.min_distance, 1e-3)) & (
            result[2] > self.config.max_speed
        )
        return _Journeys(result[0], result[1], result[2], too_fast)

    def _arrive(self, shared: Occurrences, at: Float64, times_ms: Int64) -> None:
        """Remember each key's last event."""
        ends = shared.starts + shared.lengths - 1
        slots, rows = shared.slots[ends], shared.order[ends]
        self._last[slots], self._last_ms[slots] = at[rows], np.maximum(times_ms[rows], 0)

    def _chances(self, rates: Rates, distance: Float64) -> Float64:
        """The chance of new places by how far they are; the first of a key is none."""
        part = np.ones(len(distance))
        later = rates.news > 0
        level = np.log2(distance[later] + 1).astype(np.int64)
        as_far, of_all = self._distances.count_from(level)
        part[later] = (as_far + 1) / (of_all + 1)
        return rates.share * part

    def _tells(self, segment: Segment, row: int, at: Float64, is_jump: bool) -> bool:
        """Note it as alerted: a journey there and back is one, and so is a place."""
        here = _cell(at[row])
        what = f"place {here}"
        if is_jump:
            slot, order = int(segment.slots[row]), segment.shared.order
            earlier = order[(segment.slots[order] == slot) & (order < row)]
            there = _cell(at[earlier[-1]] if len(earlier) else self._last[slot])
            what = f"journey {min(here, there)} {max(here, there)}"
        return self._surprises.tell(segment.keys[row], what, int(segment.now_ms[row]))

    def _end_chunk(self, freed: Int64, keep: float, now_ms: int) -> None:
        self._places.settle(now_ms)
        self._places.forget(freed)
        self._rates.forget(freed)
        self._last_ms[freed] = NO_TIMESTAMP
        self._last[freed] = 0.0
        self._rates.fade(keep)
        self._distances.fade(keep)

    def _go_back(self, mark_ms: int) -> None:
        self._places.restart(mark_ms)
        self._rates.restart(mark_ms)

    def _own_state(self, slots: Int64) -> State:
        return {
            "places": self._places.state(slots),
            "rates": self._rates.state(slots),
            "distances": self._distances.state(),
            "last": self._last[slots],
            "last_ms": self._last_ms[slots],
        }

    def _restore_own(self, state: State, count: int, latest_ms: int) -> None:
        rows = self._keys.rows
        self._places.restore(read_branch(state, "places"), count, rows, latest_ms)
        self._rates.restore(read_branch(state, "rates"), count, rows, latest_ms)
        self._distances.restore(read_branch(state, "distances"))
        self._last, self._last_ms = np.zeros((0, 3)), np.zeros(0, dtype=np.int64)
        self._grow(rows)
        self._last[:count] = read_array(state, "last", (count, 3), low=-1.1, high=1.1)
        # Of events that ran ahead of the stream's time, too.
        self._last_ms[:count] = read_array(
            state, "last_ms", (count,), np.int64, low=NO_TIMESTAMP, high=_LATEST_MS
        )
        seen = self._last_ms[:count] != NO_TIMESTAMP
        if (np.abs(squares(self._last[:count][seen], np.zeros(3)) - 1) > _ON_EARTH).any():
            raise StateMismatchError("last places are no points of the earth")


def _named(point: Float64) -> str:
    latitude, longitude = degrees(point)
    return f"{latitude:.2f}, {longitude:.2f}"


def _cell(point: Float64) -> str:
    latitude, longitude = degrees(point)
    return f"{round(latitude)} {round(longitude) % 360}"
