"""Points of the earth, the distances between them, and the places where keys were seen."""

from __future__ import annotations

import math

import numpy as np

from stream_detector.detectors.stored import LARGEST_COUNT, read_array
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, Int64, State
from stream_detector.tables.keys import grown

RADIUS_KM = 6371.0088
"""Mean radius of the earth (IUGG). It is no sphere: distances are good to half a percent."""

_MOST_USES = 32.0
_NORM_ERROR = 1e-6
_NO_SLOT = -1


def points(latitude: Float64, longitude: Float64) -> Float64:
    """(n, 3) unit vectors of degrees: no pole and no 180th meridian is a special case."""
    phi, lam = np.radians(latitude), np.radians(longitude)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=1)


def degrees(point: Float64) -> tuple[float, float]:
    """Latitude and longitude of a unit vector."""
    x, y, z = point.tolist()
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def squares(first: Float64, second: Float64) -> Float64:
    """Squared chords between points, over their last axis: four haversines of the angle."""
    apart = first - second
    x, y, z = apart[..., 0], apart[..., 1], apart[..., 2]
    total: Float64 = x * x + y * y + z * z
    return total


def kilometres(square: Float64) -> Float64:
    """Great-circle distances of squared chords.

    The haversine formula (Sinnott 1984, "Virtues of the haversine"), exact for small distances,
    too: hav(angle) is a quarter of the squared chord.
    """
    distance: Float64 = 2 * RADIUS_KM * np.arcsin(np.minimum(np.sqrt(square) / 2, 1.0))
    return distance


def squared_chord(distance_km: float) -> float:
    """The squared chord of a distance."""
    return (2 * math.sin(min(distance_km / RADIUS_KM, math.pi) / 2)) ** 2


class Places:
    """The places where each key was seen, a few a key, each a point and what lies around it.

    A place is where a key was first seen farther than ``radius_km`` from all of its places; it does
    not move. Places of the chunk in hand are kept apart (as many a key, the oldest go first) and
    come among the others with ``settle``, where those stay that were visited often and lately.

    State: of each key at most ``most`` points, how often they were visited and when last, and as
    many of the chunk in hand.
    """

    def __init__(self, most: int, radius_km: float, half_life_ms: float) -> None:
        self._most, self._near, self._half_life_ms = most, squared_chord(radius_km), half_life_ms
        self._points: Float64 = np.zeros((0, most, 3))
        self._visits: Float64 = np.zeros((0, most))
        self._last_ms: Float64 = np.zeros((0, most))
        self._fresh: dict[int, list[list[float]]] = {}  # x, y, z, visits, last time

    def grow(self, rows: int) -> None:
        """Have a row for each slot of the table of keys."""
        self._points = grown(self._points, rows, 0.0)
        self._visits = grown(self._visits, rows, 0.0)
        self._last_ms = grown(self._last_ms, rows, 0.0)

    def forget(self, rows: Int64) -> None:
        """Make rows as new: their keys were forgotten."""
        self._visits[rows] = 0.0
        self._points[rows] = 0.0
        self._last_ms[rows] = 0.0

    def count(self, slot: int, new: int) -> int:
        """Places of a key, ``new`` of them of the chunk in hand."""
        return int((self._visits[slot] > 0).sum()) + min(new, self._most)

    def known(self, slot: int) -> list[Float64]:
        """Return the points of a key's places, those visited most first; the chunk's come last."""
        visits = self._visits[slot]
        settled = [at for at in np.argsort(-visits, kind="stable").tolist() if visits[at] > 0]
        fresh = [np.array(place[:3]) for place in self._fresh.get(slot, [])]
        return [*(self._points[slot, at] for at in settled), *fresh]

    def fresh(self) -> dict[int, int]:
        """How many places of the chunk in hand keys have, by slot."""
        return {slot: len(places) for slot, places in self._fresh.items()}

    def visit(self, slots: Int64, at: Float64, now_ms: Int64) -> tuple[Float64, np.ndarray]:
        """Take visits in, in their order.

        Returns:
            (visits,) the squared chord to the key's nearest place before, infinite where it had
            none; (visits,) bool, which are of a new place.
        """
        squared = squares(self._points[slots], at[:, None, :])
        squared = np.where(self._visits[slots] > 0, squared, np.inf)
        place = squared.argmin(axis=1)
        nearest = squared[np.arange(len(slots)), place]
        known = nearest <= self._near
        np.add.at(self._visits, (slots[known], place[known]), 1.0)
        np.maximum.at(self._last_ms, (slots[known], place[known]), now_ms[known])
        new = np.zeros(len(slots), dtype=np.bool_)
        for row in np.flatnonzero(~known).tolist():
            apart, is_new = self._visit_fresh(int(slots[row]), at[row].tolist(), int(now_ms[row]))
            nearest[row] = min(float(nearest[row]), apart)
            new[row] = is_new
        return nearest, new

    def _visit_fresh(self, slot: int, at: list[float], now_ms: int) -> tuple[float, bool]:
        """A visit to no place of before the chunk."""
        x, y, z = at
        fresh = self._fresh.setdefault(slot, [])
        nearest = math.inf
        for place in fresh:
            dx, dy, dz = place[0] - x, place[1] - y, place[2] - z
            apart = dx * dx + dy * dy + dz * dz
            if apart <= self._near:
                place[3] += 1
                place[4] = now_ms
                return apart, False
            nearest = min(nearest, apart)
        if len(fresh) == self._most:
            del fresh[0]
        fresh.append([x, y, z, 1.0, float(now_ms)])
        return nearest, True

    def settle(self, now_ms: int) -> None:
        """Put the places of the chunk among the others."""
        for slot, fresh in self._fresh.items():
            free = np.flatnonzero(self._visits[slot] == 0)
            if len(free) >= len(fresh):
                for at, place in zip(free.tolist(), fresh, strict=False):
                    self._points[slot, at] = place[:3]
                    self._visits[slot, at], self._last_ms[slot, at] = place[3:]
                continue
            added = np.array(fresh)
            every = np.concatenate([self._points[slot], added[:, :3]])
            visits = np.concatenate([self._visits[slot], added[:, 3]])
            last = np.concatenate([self._last_ms[slot], added[:, 4]])
            worth = np.log2(np.clip(visits, 1, _MOST_USES)) - (now_ms - last) / self._half_life_ms
            worth[visits == 0] = -np.inf
            best = np.sort(np.argsort(-worth, kind="stable")[: self._most])
            self._points[slot], self._visits[slot] = every[best], visits[best]
            self._last_ms[slot] = last[best]
        self._fresh = {}

    def restart(self, mark_ms: int) -> None:
        """Time has gone back: what was later was then."""
        np.minimum(self._last_ms, mark_ms, out=self._last_ms)
        for place in (place for places in self._fresh.values() for place in places):
            place[4] = min(place[4], float(mark_ms))

    def state(self, rows: Int64) -> State:
        """The places, of these rows in this order."""
        order = {slot: row for row, slot in enumerate(rows.tolist())}
        fresh = sorted((order[slot], places) for slot, places in self._fresh.items() if places)
        return {
            "points": self._points[rows],
            "visits": self._visits[rows],
            "last_ms": self._last_ms[rows],
            "fresh": np.array([p for _, places in fresh for p in places]).reshape(-1, 5),
            "fresh_of": np.array([r for r, places in fresh for _ in places], dtype=np.int64),
        }

    def restore(self, state: State, count: int, rows: int, latest_ms: int) -> None:
        """Take the places of ``count`` keys in, with room for ``rows``.

        Raises ``StateMismatchError`` where they are none.
        """
        self._points, self._visits = np.zeros((0, self._most, 3)), np.zeros((0, self._most))
        self._last_ms = np.zeros((0, self._most))
        self.grow(rows)
        shape, most = (count, self._most), LARGEST_COUNT
        bound = 1 + _NORM_ERROR
        read = read_array(state, "points", (*shape, 3), low=-bound, high=bound)
        visits = read_array(state, "visits", shape, low=0, high=most)
        last = read_array(state, "last_ms", shape, low=0, high=latest_ms)
        fresh = read_array(state, "fresh", (-1, 5))
        high = count - 1
        of = read_array(state, "fresh_of", (len(fresh),), np.int64, low=0, high=high)
        _check(read[visits > 0], visits[visits > 0], last[visits > 0], latest_ms)
        _check(fresh[:, :3], fresh[:, 3], fresh[:, 4], latest_ms)
        if (np.diff(of) < 0).any() or (len(of) and np.bincount(of).max() > self._most):
            raise StateMismatchError("places of keys are not in their order, or too many")
        self._points[:count], self._visits[:count], self._last_ms[:count] = read, visits, last
        self._fresh = {}
        for row, place in zip(of.tolist(), fresh.tolist(), strict=True):
            self._fresh.setdefault(row, []).append(place)


def _check(at: Float64, visits: Float64, last_ms: Float64, latest_ms: int) -> None:
    """Raise ``StateMismatchError`` where places are none."""
    on_earth = np.abs(squares(at, np.zeros(3)) - 1) <= _NORM_ERROR
    counted = (visits >= 1) & (visits <= LARGEST_COUNT)
    in_time = (last_ms >= 0) & (last_ms <= latest_ms)
    if not (on_earth & counted & in_time).all():
        raise StateMismatchError("places of keys are no points, visits and times")
