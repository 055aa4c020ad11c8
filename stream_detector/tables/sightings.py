"""Which of very many things were seen, how often and when last: a table of fixed size."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import LARGEST_COUNT, read_array, read_count
from stream_detector.errors import StateMismatchError
from stream_detector.events import Int64, State

WAYS = 8
"""Entries of a bucket."""

_FIRST_BUCKETS = 128
_LEAST_FULL = 0.2
_MOST_KNOWN, _LONGEST_KNOWN = 50_000, 100
_MOST_USES = 32
_HALVINGS = np.log2(np.maximum(np.arange(_MOST_USES + 1), 1))
_WORTH_NOTHING, _HALVES = -1e9, 8
_EMPTY = 0


def hash_text(text: str) -> int:
    """64 bits of a text, as int64: the same in every process, and nobody finds two texts alike."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def joined(first: Int64, second: Int64) -> Int64:
    """64 bits of two, in this order: the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = first.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ second.view(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.where(mixed == _EMPTY, np.uint64(1), mixed).view(np.int64)


class TextHashes:
    """``hash_text`` of many texts; remembers some of the short ones, as these come again.

    What is remembered is no state: it changes no result.
    """

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, texts: Sequence[str]) -> Int64:
        """(texts,) the bits of each."""
        known = self._known
        found = list(map(known.get, texts))
        if None in found:
            fresh = {text: hash_text(text) for text in texts if text not in known}
            found = [
                fresh[t] if bits is None else bits for t, bits in zip(texts, found, strict=True)
            ]
            if len(known) + len(fresh) > _MOST_KNOWN:
                known.clear()
            known.update((t, bits) for t, bits in fresh.items() if len(t) <= _LONGEST_KNOWN)
        return np.array(found, dtype=np.int64)


class Sightings:
    """Counts of things by their 64 bits, aged by event time.

    Buckets of eight entries, as in a processor's cache: 24 bytes a thing, exact but for two things
    of the same 64 bits, and each has its own age and count, which a Bloom filter has not. What was
    not seen for ``memory`` is forgotten. Where a bucket is full that goes which is worth least: its
    uses, of which an idle one is taken to have half after an eighth of ``memory``, as in
    ``KeyTable``. So a flood of what comes once drives out its own kind.

    New things wait until ``settle``, which comes after so many events wherever these were cut:
    what a bucket forgets depends on nothing else.

    State: at most ``capacity`` things, and those that wait.
    """

    def __init__(self, capacity: int, memory_ms: int) -> None:
        """``capacity`` is rounded up to a power of two."""
        self._memory_ms = memory_ms
        self._most = max(1 << (-(-capacity // WAYS) - 1).bit_length(), 1)
        self._waiting: dict[int, tuple[int, int]] = {}
        self.evicted = 0
        self._make(min(_FIRST_BUCKETS, self._most))

    def _make(self, buckets: int) -> None:
        self._tags: Int64 = np.full((buckets, WAYS), _EMPTY)
        self._counts: Int64 = np.zeros((buckets, WAYS), dtype=np.int64)
        self._last_ms: Int64 = np.zeros((buckets, WAYS), dtype=np.int64)
        self._held = 0

    def __len__(self) -> int:
        return self._held + len(self._waiting)

    def see(self, things: Int64, times_ms: Int64) -> Int64:
        """Take sightings in, in their order; ``times_ms`` never goes back.

        Returns:
            (things,) how often each was seen before, as far as that is remembered.
        """
        order = np.argsort(things, kind="stable")
        tags, times = things[order], times_ms[order]
        first = np.ones(len(tags), dtype=np.bool_)
        np.not_equal(tags[1:], tags[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        places, known, last = self._find(tags[starts])
        index = np.arange(len(tags))
        before = np.empty_like(times)
        before[1:], before[starts] = times[:-1], last
        # Each run of sightings without a pause of ``memory`` counts for itself.
        begins = first | (times - before > self._memory_ms)
        begin = np.maximum.accumulate(np.where(begins, index, 0))
        base = np.zeros_like(times)
        base[starts] = np.where(times[starts] - last > self._memory_ms, 0, known)
        seen = np.empty_like(times)
        seen[order] = counts = base[begin] + index - begin
        ends = np.append(starts[1:], len(tags)) - 1
        self._keep(tags[starts], places, counts[ends] + 1, times[ends])
        return seen

    def _find(self, tags: Int64) -> tuple[Int64, Int64, Int64]:
        """Place of each in the table (-1: none), its count and when it was seen last."""
        buckets = tags & (len(self._tags) - 1)
        equal = self._tags[buckets] == tags[:, None]
        found = equal.any(axis=1)
        places = np.where(found, buckets * WAYS + equal.argmax(axis=1), -1)
        counts = np.where(found, self._counts.ravel()[places], 0)
        last = np.where(found, self._last_ms.ravel()[places], 0)
        for at in np.flatnonzero(~found).tolist() if self._waiting else ():
            waiting = self._waiting.get(int(tags[at]))
            if waiting is not None:
                counts[at], last[at] = waiting
        return places, counts, last

    def _keep(self, tags: Int64, places: Int64, counts: Int64, times: Int64) -> None:
        found = places >= 0
        at = places[found]
        self._counts.ravel()[at] = np.minimum(counts[found], LARGEST_COUNT)
        self._last_ms.ravel()[at] = times[found]
        new = ~found
        pairs = zip(counts[new].tolist(), times[new].tolist(), strict=True)
        self._waiting.update(zip(tags[new].tolist(), pairs, strict=True))

    def settle(self, now_ms: int) -> None:
        """Put what waits in its place."""
        if not self._waiting:
            return
        tags = np.array(sorted(self._waiting), dtype=np.int64)
        kept = np.array([self._waiting[tag] for tag in tags.tolist()], dtype=np.int64)
        self._waiting = {}
        while len(self._tags) < self._most and self._crowded(tags):
            self._grow()
        self._place(tags, kept[:, 0], kept[:, 1], now_ms)

    def _crowded(self, new: Int64) -> bool:
        """Tell whether a bucket is too small for what comes, and it is not chance alone."""
        last = len(self._tags) - 1
        used = (self._tags != _EMPTY).sum(axis=1) + np.bincount(new & last, minlength=last + 1)
        return bool(used.max() > WAYS) and self._held + len(new) > _LEAST_FULL * self._tags.size

    def _grow(self) -> None:
        used = self._tags != _EMPTY
        tags, counts, last = self._tags[used], self._counts[used], self._last_ms[used]
        self._make(2 * len(self._tags))
        self._place(tags, counts, last, 0)  # half of a bucket's room is enough for all of it

    def _place(self, tags: Int64, counts: Int64, last_ms: Int64, now_ms: int) -> None:
        """Put new things in their buckets, in rounds of one a bucket."""
        buckets = tags & (len(self._tags) - 1)
        order = np.lexsort((tags, buckets))
        while len(order):
            first = np.ones(len(order), dtype=np.bool_)
            first[1:] = buckets[order[1:]] != buckets[order[:-1]]
            now = order[first]
            rows = buckets[now]
            way = self._least(rows, now_ms)
            old = self._tags[rows, way] != _EMPTY
            self.evicted += int(old.sum())
            self._held += int((~old).sum())
            self._tags[rows, way] = tags[now]
            self._counts[rows, way] = counts[now]
            self._last_ms[rows, way] = last_ms[now]
            order = order[~first]

    def _least(self, rows: Int64, now_ms: int) -> NDArray[np.intp]:
        """(rows,) the entry of each bucket that is worth least; of equals that of the least bits.

        Which entry of its bucket a thing has is no part of the state.
        """
        tags = self._tags[rows]
        age = now_ms - self._last_ms[rows]
        worth = _HALVINGS[np.minimum(self._counts[rows], _MOST_USES)]
        worth = worth - age * (_HALVES / self._memory_ms)
        worth = np.where(tags == _EMPTY, _WORTH_NOTHING, worth)
        least = worth == worth.min(axis=1)[:, None]
        way: NDArray[np.intp] = np.where(least, tags, np.iinfo(np.int64).max).argmin(axis=1)
        return way

    def restart(self, mark_ms: int) -> None:
        """Time has gone back to ``mark_ms``: what was seen later was seen then."""
        np.minimum(self._last_ms, max(mark_ms, 0), out=self._last_ms)
        self._waiting = {
            tag: (count, min(last, max(mark_ms, 0))) for tag, (count, last) in self._waiting.items()
        }

    def state(self) -> State:
        """The things in the order of their bits."""
        used = self._tags != _EMPTY
        tags, counts, last = self._tags[used], self._counts[used], self._last_ms[used]
        order = np.argsort(tags)
        waiting = sorted((tag, *kept) for tag, kept in self._waiting.items())
        return {
            "buckets": len(self._tags),
            "tags": tags[order],
            "counts": counts[order],
            "last_ms": last[order],
            "waiting": np.array(waiting, dtype=np.int64).reshape(-1, 3),
            "evicted": self.evicted,
        }

    def restore(self, state: State, latest_ms: int, most_waiting: int) -> None:
        """Take the state in. Raises ``StateMismatchError`` where it is no such table."""
        buckets = read_count(state, "buckets", high=self._most)
        if buckets < min(_FIRST_BUCKETS, self._most) or buckets & (buckets - 1):
            raise StateMismatchError(f"{buckets} buckets are none that such a table grows to")
        tags = read_array(state, "tags", (-1,), np.int64)
        waiting = read_array(state, "waiting", (-1, 3), np.int64)
        counts = read_array(state, "counts", (len(tags),), np.int64, low=1, high=LARGEST_COUNT)
        last = read_array(state, "last_ms", (len(tags),), np.int64, low=0, high=latest_ms)
        numbers = {"waiting": waiting[:, 1], "waited": waiting[:, 2]}
        read_array(numbers, "waiting", (-1,), np.int64, low=1, high=LARGEST_COUNT)
        read_array(numbers, "waited", (-1,), np.int64, low=0, high=latest_ms)
        if len(waiting) > most_waiting:
            raise StateMismatchError(f"{len(waiting)} things wait, at most {most_waiting} may")
        every = np.concatenate([tags, waiting[:, 0]])
        if len(np.unique(every)) < len(every) or (every == _EMPTY).any():
            raise StateMismatchError("things repeat, or are none")
        if len(tags) and np.bincount(tags & (buckets - 1)).max() > WAYS:
            raise StateMismatchError("more things than a bucket holds")
        evicted = read_count(state, "evicted")
        self._make(buckets)
        self._place(tags, counts, last, 0)
        self.evicted = evicted
        self._waiting = {tag: (count, at) for tag, count, at in waiting.tolist()}
