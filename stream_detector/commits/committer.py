"""A shard's commits, one after the other, each written exactly once.

The steps of a commit, numbered as in docs/architecture.md, with the failpoint at each:

1. begin; send alerts, incidents, dead letters and the journal's record (``mid_produce``);
2. wait for every future, with a deadline (``after_flush``);
3. send the offsets with the group's metadata as of the last poll (``after_offsets``);
4. commit (``after_commit``).

A doubt about the outcome is never guessed away. The output is opened anew, which ends whatever was
under way, and then the journal tells: its end is our record (the commit has landed), or the one
before (nothing was written: it is written again), or somebody else's (the shard is not ours).
The state in memory is a function of the input and does not depend on the outcome, so it stays.

What is to be written comes in slices, and a commit is as many of them as are worth it. After a
doubt the next attempt is a quarter of the size, so that a quota or a slow network that lets nothing
of that size through in time is not met with the same for ever; commits that are quick grow again,
the more slowly the more often that was too much (``commit_size``).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from stream_detector.commits.alert_times import stages
from stream_detector.commits.commit_size import CommitSize
from stream_detector.commits.journal_chain import Chain, Kind, began_at
from stream_detector.commits.slices import Slice, composed, fitting
from stream_detector.connectors.base import Commit, Journal, Output
from stream_detector.errors import (
    CommitDoubtError,
    CommitRefusedError,
    ConnectorError,
    ForeignCommitError,
    JournalRecordTooLargeError,
    OutputError,
    RefusedError,
)
from stream_detector.events import TopicPartition
from stream_detector.failpoints import failpoint
from stream_detector.journal import decode, encode, link_of
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_REFUSED_PAUSE_SECONDS = 0.05

_SLOW_SHARE = 0.9
"""Of the time that a commit has: where it took longer, time was what it lacked."""

RUNBOOK = "see docs/runbook.md#a-commit-takes-too-long"


class Committer:
    """Writes the commits of one shard.

    State: the place in the journal, the slices to write, the commit under way, how large commits
    may be at present, and since when none can be written.

    Attributes:
        number: of the journal's last record.
        offset: in the journal, after that record.
        link: of that record; empty where it is not known, and before the first.
        ends: where the ranges up to there end.
    """

    def __init__(
        self,
        shard: int,
        output: Output,
        journal: Journal | None,
        give_up_after_seconds: float,
        metrics: Metrics,
        group: str = "",
        *,
        topics: Mapping[str, str],
        patience_seconds: float,
    ) -> None:
        """Take the parts.

        Args:
            shard: the shard's number.
            output: where commits go.
            journal: of all shards; None where there is none.
            give_up_after_seconds: how long output that fails is tried again.
            metrics: counts what happens.
            group: whose records the journal's are.
            topics: that it writes to, by what they are for.
            patience_seconds: how long the output gives a commit.
        """
        self._shard, self._group = shard, group
        self._output = output
        self._journal = journal
        self._give_up_after = give_up_after_seconds
        self._metrics = metrics
        self._topics = topics
        self._patience = patience_seconds
        self._slices: deque[Slice] = deque()
        self._commit: Commit | None = None
        self._left_out: frozenset[TopicPartition] = frozenset()
        self._count = 0
        self._begun = 0.0
        self._size = 0
        self._bound = CommitSize(patience_seconds)
        self._took = 0.0
        self._was_slow = False
        self._in_doubt = False
        self._failing_since: float | None = None
        self._attempts = 0
        self._not_before = 0.0
        self.number = 0
        self.offset = -1
        self.link = ""
        self.ends: dict[TopicPartition, int] = {}

    @property
    def pending(self) -> bool:
        """Tell whether anything is left to write."""
        return bool(self._slices)

    def open(self) -> None:
        """Take the shard over from whoever wrote for it before. Raises ``ConnectorError``."""
        self._output.open()

    def go_on(
        self, number: int, offset: int, link: str, ends: Mapping[TopicPartition, int]
    ) -> None:
        """Take the journal's last record as it was found."""
        self.number, self.offset, self.link, self.ends = number, offset, link, dict(ends)

    def begin(self, slices: Iterable[Slice]) -> None:
        """Take what is to be written; nothing may be left of before."""
        assert not self._slices
        self._slices.extend(slices)

    def leave_out(self, sources: Collection[TopicPartition]) -> None:
        """Commit no offsets of partitions that are gone: the broker would refuse the whole."""
        self._left_out = frozenset(sources)

    def write(self, membership: Any) -> bool:
        """Try to write the next commit; whether one was written, or nothing is left to write.

        Does not try again before a pause has passed. Raises ``RefusedError`` and ``OutputError``
        where trying again is no cure or has been tried for long enough, and
        ``ForeignCommitError`` where somebody else has written for the shard.
        """
        now = time.monotonic()
        if not self._slices or now < self._not_before or membership is None:
            return not self._slices
        self._took = 0.0
        try:
            if self._in_doubt and self._settle():
                return True
            end = self._attempt(membership)
        except CommitRefusedError as error:
            self._metrics.add_commit("rebalanced")
            self._not_before = now + _REFUSED_PAUSE_SECONDS
            log.info("%s", error, extra=fields("commit-refused", shard=self._shard))
            return False
        except JournalRecordTooLargeError:
            if self._count > 1:
                self._make_smaller()
                return False
            self._metrics.add_commit("failed")
            raise
        except (RefusedError, OutputError, ForeignCommitError):
            self._metrics.add_commit("failed")
            raise
        except ConnectorError as error:
            self._doubt(error)
            return False
        failpoint("after_commit")
        self._bound.grow(self._count, self._took)
        self._done(end)
        return True

    def _attempt(self, membership: Any) -> int:
        """Write a commit: the one under way, or the next slices, as many as may go at once."""
        if self._commit is None:
            slices = list(islice(self._slices, self._bound.most))
            slices = slices[: fitting(slices)]
            self._begun = time.time()
            self._count, self._size = len(slices), sum(one.size_bytes for one in slices)
            self._commit = self._chained(composed(slices, self.number + 1, self._topics))
        offsets = self._commit.offsets
        if not offsets.keys().isdisjoint(self._left_out):
            offsets = {s: o for s, o in offsets.items() if s not in self._left_out}
        started = time.monotonic()
        try:
            return self._output.commit(replace(self._commit, offsets=offsets), membership)
        finally:
            self._took = time.monotonic() - started

    def _chained(self, commit: Commit) -> Commit:
        """The commit, its journal record chained to the one before."""
        if self._journal is None or not self._group:
            return commit
        previous = self.link if self.number else began_at(self.offset)
        record = replace(decode(commit.journal), group=self._group, previous=previous)
        return replace(commit, journal=encode(record))

    def _make_smaller(self) -> None:
        """The next commit is less of what waits. Nothing of this one may have been written."""
        self._commit = None
        self._bound.shrink(self._count, slow=self._was_slow)
        self._was_slow = False

    def _settle(self) -> bool:
        """End what was under way and learn whether the commit has landed."""
        self._output.open()
        if self._journal is not None and self._output.atomic:
            found = list(self._journal.read(self._shard, self.offset))
            assert self._commit is not None
            ours = [offset for offset, value in found if value == self._commit.journal]
            others = self._others(found)
            if others.held or any(one.kind is Kind.FORK for one in others.passed):
                raise ForeignCommitError(
                    f"shard {self._shard}: another worker has written to the journal"
                )
            if ours:
                self._in_doubt = False
                self._done(ours[0] + 1)
                return True
        self._in_doubt = False
        self._make_smaller()
        return False

    def _others(self, found: Sequence[tuple[int, bytes]]) -> Chain:
        """Return what was found after our place, without the commit under way.

        Records of others than workers of this group are passed over; what counts is what follows
        our last record, or the one under way.
        """
        assert self._commit is not None
        chain = self._chain()
        for offset, value in found:
            chain.take(offset, value)
        mine = link_of(self._commit.journal)
        chain.held = [one for one in chain.held if one.link != mine]
        return chain

    def _chain(self) -> Chain:
        return Chain(self._group, self._shard, self.number, self.link, self.ends)

    def look(self) -> Chain | None:
        """Return what others have written since the last look; None where nothing was written.

        Cheap then: one question for the journal's end. Raises ``ConnectorError``.
        """
        if self._journal is None or self.pending or self.offset < 0:
            return None
        _, end = self._journal.bounds(self._shard)
        if end <= self.offset + 1:  # the end of our own transaction
            return None
        chain = self._chain()
        for offset, value in self._journal.read(self._shard, self.offset):
            chain.take(offset, value)
        if not chain.held:  # else the next commit finds out
            self.offset = end
        return chain

    def _done(self, end: int) -> None:
        if self._commit is not None:
            self.link = link_of(self._commit.journal)
            self.ends.update(self._commit.offsets)
        self._commit = None
        times = [one for _ in range(self._count) for one in self._slices.popleft().times]
        if times:
            self._metrics.latency.observe(stages(times, self._begun, time.time()))
        self.number += 1
        self.offset = end
        if self._failing_since is not None:
            took = time.monotonic() - self._failing_since
            log.info(
                "shard %d writes again after %.1f s",
                self._shard,
                took,
                extra=fields("output-back", shard=self._shard, seconds=round(took, 1)),
            )
        self._failing_since, self._attempts, self._not_before = None, 0, 0.0
        self._was_slow = False
        self._metrics.add_commit("ok")
        self._metrics.set_output_failing(self._shard, failing=False)

    def _doubt(self, error: ConnectorError) -> None:
        now = time.monotonic()
        self._in_doubt = True
        if isinstance(error, CommitDoubtError):
            self._metrics.add_commit("in_doubt")
        self._metrics.set_output_failing(self._shard, failing=True)
        if self._failing_since is None:
            self._failing_since = now
        slow = self._took > _SLOW_SHARE * self._patience
        self._was_slow |= slow
        if slow and self._count > 1:
            # Smaller parts have their time from now on; and there are but few sizes.
            self._failing_since = now
        if now - self._failing_since > self._give_up_after:
            cause = f". {self._why_slow()}" if slow else ""
            raise OutputError(
                f"no output could be written for {self._give_up_after:g} s: {error}{cause}"
            ) from error
        pause = min(_FIRST_PAUSE_SECONDS * 2**self._attempts, _LONGEST_PAUSE_SECONDS)
        self._attempts += 1
        self._not_before = now + pause
        log.warning(
            "shard %d cannot write: %s. %sIts input is paused; next attempt in %.1f s",
            self._shard,
            error,
            f"{self._why_slow()}. " if slow else "",
            pause,
            extra=fields("output-failing", stage="commit", shard=self._shard),
        )

    def _why_slow(self) -> str:
        less = "the next attempt is smaller" if self._count > 1 else "there is no smaller one"
        return (
            f"The commit's {self._size:,} bytes of messages did not go through in "
            f"{self._took:.1f} s ({less}). A producer quota of the broker (producer_byte_rate of "
            "this client or user) or a slow network is the likely cause: raise the quota, or "
            f"kafka.transaction_timeout (a commit has half of it); {RUNBOOK}"
        )

    def close(self) -> None:
        """Give the output back; what is under way is left to the next owner to find out."""
        self._output.close()
