"""Chain of a journal's records: those that continue one another, and those of somebody else.

Every record names the group and the digest of the record before it, under a seal. What does not
continue the chain is passed over: garbage, records of another group, copies that a tool of
replication has written again, a copied record under the next number. Records of earlier versions
have neither; they continue by number and by ranges that join, and yield to a sealed record that
continues from before them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from stream_detector.errors import StateError
from stream_detector.events import TopicPartition
from stream_detector.journal import JournalRecord, decode, link_of

_BEGAN = re.compile(r"@([0-9]{1,19})")
_SHOWN = 100
_MOST_NAMED = 1000


class Kind(Enum):
    """Why a record is none of the chain."""

    FOREIGN = auto()
    REPEATED = auto()
    UNCONNECTED = auto()
    LOST_BEFORE = auto()
    FORK = auto()


@dataclass(frozen=True, slots=True)
class Passed:
    """A record that was passed over; ``LOST_BEFORE``: ours, its predecessor was never seen."""

    offset: int
    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """A record of the chain: its offset and what its successor names."""

    offset: int
    record: JournalRecord
    link: str


def began_at(offset: int) -> str:
    """Return the ``previous`` of a state's first record: no two states begin at one place."""
    return f"@{offset}"


class Chain:
    """Follows a shard's journal, record by record.

    State: the records of the chain, one link of each, where ranges end, the first thousand that
    were passed and all that tell of a chain that is broken.

    Attributes:
        held: the records of the chain.
        passed: what is none of it.
        count: of all that was passed.
        ends: where the ranges of each partition end.
    """

    def __init__(
        self,
        group: str,
        shard: int,
        number: int | None = None,
        link: str = "",
        ends: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        """Take where it goes on; without ``number``, at whatever the journal holds first.

        Args:
            group: the consumer group.
            shard: the shard.
            number: of the record before.
            link: of the record before; empty where it is not known.
            ends: where the ranges up to there end.
        """
        self._group, self._shard, self._number, self._link = group, shard, number, link
        self._seen = {link} if link else set()
        self._after: dict[str, int] = {link: 0} if link else {}
        self.ends: dict[TopicPartition, int] = dict(ends or {})
        self.count = 0
        self.held: list[Held] = []
        self.passed: list[Passed] = []

    @property
    def link(self) -> str:
        """Link of the last record; empty where it is not known."""
        return self.held[-1].link if self.held else self._link

    def take(self, offset: int, data: bytes) -> None:
        """Hold the record, or pass it over with a reason."""
        if not data:
            self._pass(offset, Kind.FOREIGN, "empty, or written outside of a transaction")
            return
        try:
            record = decode(data)
        except StateError as error:
            self._pass(offset, Kind.FOREIGN, f"{error!s:.{_SHOWN}}")
            return
        link = link_of(data)
        if record.shard != self._shard:
            self._pass(offset, Kind.FOREIGN, f"a record of shard {record.shard}")
        elif record.group not in ("", self._group):
            self._pass(offset, Kind.FOREIGN, f"a record of the group {record.group!r:.{_SHOWN}}")
        elif link in self._seen:
            self._pass(offset, Kind.REPEATED, f"record {record.number} again")
        else:
            found = self._sealed(offset, record) if record.group else self._unsealed(offset, record)
            if isinstance(found, Passed):
                self._pass(found.offset, found.kind, found.reason)
            elif found is None:
                reason = f"record {record.number} does not continue the journal"
                self._pass(offset, Kind.UNCONNECTED, reason)
            else:
                self._hold(found, Held(offset, record, link))

    def _pass(self, offset: int, kind: Kind, reason: str) -> None:
        self.count += 1
        if len(self.passed) < _MOST_NAMED or kind in (Kind.FORK, Kind.LOST_BEFORE):
            self.passed.append(Passed(offset, kind, reason))

    def _number_at(self, count: int) -> int | None:
        """Number of the record after which ``count`` ones are held."""
        return self.held[count - 1].record.number if count else self._number

    def _sealed(self, offset: int, record: JournalRecord) -> int | Passed | None:
        """After how many of the held records it goes."""
        tip = len(self.held)
        before = self._number_at(tip)
        if began := _BEGAN.fullmatch(record.previous):
            last = self.held[-1].offset if self.held else -1
            begins = record.number == 1 and last < int(began[1]) <= offset
            return tip if begins and (self._number is None or before == 0) else None
        if not self.link or not record.previous:  # one of the two links is not known
            return tip if before in (None, record.number - 1) else None
        after = self._after.get(record.previous)
        if after is None:
            return self._lost(offset, record)
        if self._number_at(after) != record.number - 1:
            return None
        if any(one.record.group for one in self.held[after:]):
            other = self.held[after].offset
            reason = f"record {record.number} is there twice, at offset {other} as well"
            return Passed(offset, Kind.FORK, reason)
        return after

    def _lost(self, offset: int, record: JournalRecord) -> Passed | None:
        before = self._number_at(len(self.held))
        if before is None or record.number <= before + 1:
            return None
        reason = f"record {record.number} stands where {before + 1} should be"
        return Passed(offset, Kind.LOST_BEFORE, reason)

    def _unsealed(self, offset: int, record: JournalRecord) -> int | Passed | None:
        """As ``_sealed``: by its number, and by ranges that begin where those before have ended."""
        tip = len(self.held)
        before = self._number_at(tip)
        if before is None:
            return tip
        starts: dict[TopicPartition, int] = {}
        for one in (*record.lost, *record.ranges()):
            starts.setdefault(one.source, one.start)
        if record.number == before + 1:
            joins = all(self.ends.get(s, start) == start for s, start in starts.items())
            return tip if joins and starts else None
        if self.held and self.held[-1].record.group:
            return None
        if record.number == 1 and self._number is None:
            return tip
        return self._lost(offset, record)

    def _hold(self, after: int, one: Held) -> None:
        for other in self.held[after:]:
            self._pass(other.offset, Kind.FOREIGN, f"record {other.record.number} without a seal")
        dropped = len(self.held) > after
        del self.held[after:]
        if one.record.number == 1:
            self.ends.clear()
            self._after.clear()
        self.held.append(one)
        self._seen.add(one.link)
        self._after[one.link] = len(self.held)
        if dropped:
            self.ends.clear()
        for r in (*one.record.lost, *one.record.ranges()):
            self.ends[r.source] = r.end


def in_words(chain: Chain, partition: object) -> str:
    """Describe others' records: how many, and the first three by offset and reason."""
    named = "; ".join(f"offset {one.offset}: {one.reason}" for one in chain.passed[:3])
    return (
        f"{partition} holds {chain.count} records that are not of this journal and are passed over "
        f"({named}). Nobody else should have Write on the topic; see "
        "docs/runbook.md#records-of-others-in-the-journal"
    )
