"""Values that a key has never had, or hardly ever."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detectors.stored import read_branch
from stream_detector.events import Float64, Int64, State
from stream_detector.monitors.base import Finding, MonitorEvents
from stream_detector.monitors.keyed import EventMonitor, Found, Segment
from stream_detector.monitors.novelty import Novelty, Tally
from stream_detector.monitors.surprise import EventMonitorConfig, as_deviations, surprise
from stream_detector.parameters import FieldName, human
from stream_detector.tables.keys import LARGEST_CHUNK
from stream_detector.tables.sightings import Sightings, TextHashes, hash_text, joined
from stream_detector.tables.texts import present
from stream_detector.units import Duration

_LONGEST_MARK = 64

_KNOWN_HALF_LIFE = 1000
"""New values after which what share of them others had counts half."""


class NewValueMonitorConfig(EventMonitorConfig):
    """Watch on values: one that a key has never had, or hardly ever."""

    kind: Literal["new_value"] = Field(
        "new_value", description="What is watched: values that a key has never had."
    )
    field: FieldName = Field(description="Field whose values are remembered, read as text.")
    rare: int = Field(
        0,
        ge=0,
        le=20,
        description="What the key has had so often at most counts like what it never had; 0: only "
        "what is new.",
    )
    memory: Duration = Field(
        human("365d"),
        description="Event time after which a value that was not seen again is forgotten, and is "
        "new when it comes back.",
    )
    max_values: int = Field(
        1_000_000,
        ge=64,
        le=100_000_000,
        description="Pairs of key and value, and values of all keys, that are remembered; rounded "
        "up to a power of two. Those seen seldom and long ago go first. 24 bytes each.",
    )

    @property
    def text_fields(self) -> tuple[str, ...]:
        """The key, and the field whose values are remembered."""
        return (*super().text_fields, self.field)


@dataclass(frozen=True, slots=True)
class NewValue(Finding):
    """A value that its key has never had, or hardly ever.

    Attributes:
        field: whose value it is.
        value: it.
        seen: how often the key has had it.
        events: of the key before.
        values: how many of these brought something new.
        chance: share of the key's events that do, as estimated.
        seen_by_all: how often any key has had it.
    """

    field: str
    value: str
    seen: int
    events: int
    values: int
    chance: float
    seen_by_all: int

    @property
    def distinction(self) -> str:
        """The value, or a digest of a long one: a key may bring two at the same time."""
        if len(self.value) <= _LONGEST_MARK:
            return self.value
        return blake2b(self.value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def reasons(self) -> list[dict[str, Any]]:
        """One: the value, and how strange it is that it comes."""
        return [
            {
                "feature": self.field,
                "value": self.value,
                "share": 1.0,
                "deviations": as_deviations(self.score),
                "text": self._text(),
            }
        ]

    def _text(self) -> str:
        who = self.key or "the stream"
        times = f"seen {self.seen} times before" if self.seen else "never seen before"
        often = f"1 event in {max(round(1 / self.chance), 1):,}"
        others = self.seen_by_all - self.seen
        known = f"others had it {others:,} times" if others else "nobody else had it"
        known = f"; {known}" if self.key else ""
        return f"{times} in {self.events:,} events of {who}, of which {often} is as new{known}"

    def details(self) -> dict[str, Any]:
        """The value, how often it came and how often something new was to be expected."""
        return {
            "value": self.value,
            "actual": self.seen,
            "expected": self.chance,
            "events": self.events,
            "values": self.values,
            "seen_by_others": self.seen_by_all - self.seen,
        }


class NewValueMonitor(EventMonitor):
    """Finds values that a key has never had (or at most ``rare`` times).

    The chance of such an event is taken as the share of the key's events that were as new, lately
    and as far as that is known (see ``Novelty``), times the share of all that was new to its key
    which was as new to everybody: either nobody had had the value, or others had. So a key that
    brings new values all day says nothing, one that has had three over a thousand events does, and
    where keys share their values, one that nobody has had counts more (and the reverse: a plane
    that others fly, where an airline's new planes are new to all).

    State, beside that of all such monitors: for at most ``max_keys`` keys and a chunk the rates;
    for at most ``max_values`` pairs of key and value, and values, how often they were seen and when
    last, in 64 bits of their text.
    """

    Config = NewValueMonitorConfig

    def __init__(self, config: NewValueMonitorConfig) -> None:
        super().__init__(config)
        self.config: NewValueMonitorConfig = config
        self._novelty = Novelty(self._half_life_ms)
        # What was new to its key, and of it what others had and what nobody had.
        self._new, self._known = Tally(1), Tally(2)
        self._seen = Sightings(config.max_values, round(config.memory * 1000))
        self._values = TextHashes()
        self._hashes: Int64 = np.zeros(0, dtype=np.int64)  # of the keys, by slot; 0: not known yet

    @property
    def values_evicted(self) -> int:
        """Values forgotten for want of room."""
        return self._seen.evicted

    def _usable(self, events: MonitorEvents) -> NDArray[np.bool_]:
        return present(events.text[self.config.field])

    def _grow(self, rows: int) -> None:
        self._novelty.grow(rows)
        if len(self._hashes) < rows:
            more = np.zeros(rows - len(self._hashes), dtype=np.int64)
            self._hashes = np.concatenate([self._hashes, more])

    def _judge(self, segment: Segment) -> Found:
        column = segment.events.text[self.config.field]
        values = [column[row] or "" for row in segment.rows.tolist()]
        by_key, by_all = self._seen_before(segment, values)
        new = by_key <= self.config.rare
        (rates,) = self._novelty.learn(segment.shared, segment.now_ms, new)
        rows = np.flatnonzero(new)
        scores = self._scores(rates.share, by_key[rows], by_all[rows])
        judged = np.flatnonzero(rates.events >= self.config.after)
        found: Found = []
        for at in judged[self._surprises.exceeded(scores[judged])].tolist():
            row = int(rows[at])
            key, value, now_ms = segment.keys[row], values[row], int(segment.now_ms[row])
            if self._surprises.tell(key, value, now_ms):
                finding = NewValue(
                    **self._told(segment, row, float(scores[at])),
                    field=self.config.field,
                    value=value,
                    seen=int(by_key[row]),
                    events=int(rates.events[at]),
                    values=int(rates.news[at]),
                    chance=float(rates.share[at]),
                    seen_by_all=int(by_all[row]),
                )
                found.append((int(segment.rows[row]), [finding]))
        return found

    def _known_at(self, slot: int) -> list[str]:
        events, (news,) = self._novelty.totals(slot)
        said = f"{events:,} events, of which {news:,} brought a {self.config.field} that it "
        said += "had never had." if not self.config.rare else "had never had, or hardly ever."
        return [said, *self._too_few(events, "events")]

    def _seen_before(self, segment: Segment, values: list[str]) -> tuple[Int64, Int64]:
        """(events,) how often each one's key has had its value, and how often any has."""
        for at in segment.shared.order[segment.shared.starts].tolist():
            slot = int(segment.slots[at])
            if not self._hashes[slot]:
                self._hashes[slot] = hash_text(segment.keys[at])
        hashes = self._values.of(values)
        # A pair's bits begin with those of its key, a value's with none.
        pairs = joined(self._hashes[segment.slots], hashes)
        alone = joined(np.zeros_like(hashes), hashes)
        both = np.stack([pairs, alone], axis=1).ravel()
        seen = self._seen.see(both, np.repeat(segment.now_ms, 2)).reshape(-1, 2)
        return seen[:, 0], np.maximum(seen[:, 1], seen[:, 0])

    def _scores(self, share: Float64, by_key: Int64, by_all: Int64) -> Float64:
        """Surprise of events that are new to their keys."""
        if self.config.key is None:
            return surprise(share)
        never = by_key == 0
        to_all = (by_all[never] == 0).astype(np.int64)
        part = np.ones(len(share))
        part[never] = (self._known.count(to_all) + 1) / (self._new.count(to_all * 0) + 2)
        return surprise(share * part)

    def _end_chunk(self, freed: Int64, keep: float, now_ms: int) -> None:
        self._novelty.forget(freed)
        self._hashes[freed] = 0
        self._novelty.fade(keep)
        forgets = 0.5 ** (self._new.fresh / _KNOWN_HALF_LIFE)
        self._new.fade(forgets)
        self._known.fade(forgets)
        self._seen.settle(now_ms)

    def _go_back(self, mark_ms: int) -> None:
        self._novelty.restart(mark_ms)
        self._seen.restart(mark_ms)

    def _own_state(self, slots: Int64) -> State:
        return {
            "novelty": self._novelty.state(slots),
            "new": self._new.state(),
            "known": self._known.state(),
            "seen": self._seen.state(),
        }

    def _restore_own(self, state: State, count: int, latest_ms: int) -> None:
        self._hashes = np.zeros(0, dtype=np.int64)
        self._novelty.restore(read_branch(state, "novelty"), count, self._keys.rows, latest_ms)
        self._new.restore(read_branch(state, "new"))
        self._known.restore(read_branch(state, "known"))
        # A chunk's events bring a pair and a value each.
        self._seen.restore(read_branch(state, "seen"), latest_ms, 2 * LARGEST_CHUNK)
        self._grow(self._keys.rows)
