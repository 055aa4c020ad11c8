"""The ledger: every doubt is settled by the journal, and nothing is written twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stream_detector.commits import committer as committer_module
from stream_detector.commits.committer import Committer
from stream_detector.commits.slices import Slice
from stream_detector.connectors.base import Commit
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
from stream_detector.journal import JournalRecord, Range, decode, encode, link_of
from stream_detector.messages import Outgoing
from stream_detector.telemetry.metrics import Metrics

PLACE = TopicPartition("events", 0)
TOPICS = {"alerts": "a", "dead_letters": "d"}


def cut(name: str, size_bytes: int = 0, end: int = 0) -> Slice:
    """A slice of one message whose journal record names itself by its fingerprint."""
    message = Outgoing(PLACE, end, None, name.encode(), [], None)
    steps = ((Range(PLACE, end - 1, end),),) if end else ()
    record = JournalRecord(0, 0, steps, (), end, name, "")
    return Slice({"alerts": [message]}, record, {PLACE: end}, size_bytes)


def backlog(count: int, size_bytes: int = 256 * 1024) -> list[Slice]:
    return [cut(f"slice {end}", size_bytes, end) for end in range(1, count + 1)]


def names(journal: list[bytes]) -> list[str]:
    return [decode(one).fingerprint for one in journal]


def record(number: int, **values: str) -> bytes:
    """A record of the group that the ledgers here belong to, or of another one."""
    plain = {"fingerprint": "f", "configuration": "c", "group": "ours", **values}
    return encode(JournalRecord(0, number, (), (), 5, **plain))


NOISE = [b"garbage", b"", record(1, group="theirs"), record(2, previous="0" * 32), record(1)[:-9]]
"""What does not continue the journal."""


class Broker:
    """A journal and an output in memory whose commits go wrong as told.

    This stands in for a broker only where a real one cannot be made to fail on the very byte; the
    tests of faults do the same with a real one.
    """

    atomic = True

    def __init__(self, *happenings: str) -> None:
        self.happenings = list(happenings)
        self.journal: list[bytes] = []
        self.openings = 0
        self.clock: Clock | None = None
        self.most_bytes: int | None = None
        self.sizes: list[int] = []

    def open(self) -> None:
        self.openings += 1
        if self.happenings[:1] == ["away"]:
            self.happenings.pop(0)
            raise ConnectorError("nobody there")

    def commit(self, commit: Commit, membership: Any) -> int:
        assert membership == "member"
        what = self.happenings.pop(0) if self.happenings else "ok"
        if self.most_bytes is not None and len(commit.journal) > self.most_bytes:
            raise JournalRecordTooLargeError("the journal takes less")
        self.sizes.append(len(commit.messages[0][1]))
        if what in ("ok", "landed"):
            self.journal.append(commit.journal)
        if what == "foreign":
            self.journal.append(record(1, previous="@0", fingerprint="another worker's"))
        if what == "noise":
            self.journal += NOISE
            what = "landed" if self.happenings.pop(0) == "landed" else "lost"
            if what == "landed":
                self.journal += [commit.journal, *NOISE]
        if what in ("landed", "lost", "foreign"):
            raise CommitDoubtError(what)
        if what == "refused":
            raise CommitRefusedError("moved on")
        if what == "slow":
            assert self.clock is not None
            self.clock.now += 31.0
            raise CommitDoubtError("not confirmed in time")
        if what == "forbidden":
            raise RefusedError("no right")
        return len(self.journal)

    def close(self) -> None: ...

    def bounds(self, shard: int) -> tuple[int, int]:  # noqa: ARG002 - there is one
        return 0, len(self.journal)

    def read(self, shard: int, start: int) -> Iterator[tuple[int, bytes]]:  # noqa: ARG002
        yield from enumerate(self.journal[start:], start)


class Clock:
    """Time that passes when one waits for it."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(committer_module, "time", found)
    return found


Make = Callable[..., tuple[Committer, Broker, Metrics]]


@pytest.fixture
def make() -> Make:
    def build(*happenings: str) -> tuple[Committer, Broker, Metrics]:
        broker, metrics = Broker(*happenings), Metrics()
        made = Committer(
            0, broker, broker, 60.0, metrics, "ours", topics=TOPICS, patience_seconds=30.0
        )
        made.offset = 0
        made.begin([cut("record 1")])
        return made, broker, metrics

    return build


def write_until_done(ledger: Committer, clock: Clock, attempts: int = 50) -> int:
    for attempt in range(1, attempts + 1):
        if ledger.write("member"):
            return attempt
        clock.now += 1.0
    raise AssertionError("never done")


def commits(metrics: Metrics, result: str) -> float | None:
    return metrics.registry.get_sample_value("stream_detector_commits_total", {"result": result})


@pytest.mark.parametrize(
    ("happenings", "attempts"),
    [
        ((), 1),
        (("landed",), 2),
        (("lost",), 2),
        (("lost", "lost", "landed"), 4),
        (("lost", "away", "away", "ok"), 4),
        (("refused", "refused"), 3),
        (("refused", "landed"), 3),
    ],
)
def test_whatever_happens_the_commit_is_written_once(
    make: Make, clock: Clock, happenings: tuple[str, ...], attempts: int
) -> None:
    ledger, broker, metrics = make(*happenings)
    assert write_until_done(ledger, clock) <= attempts + happenings.count("away")
    first = broker.journal[0]
    assert names(broker.journal) == ["record 1"]
    assert decode(first).previous == "@0"
    assert (ledger.number, ledger.offset, ledger.pending) == (1, 1, False)
    assert commits(metrics, "ok") == 1
    doubts = happenings.count("landed") + happenings.count("lost")
    assert commits(metrics, "in_doubt") == doubts
    # A doubt is settled by a new producer, a refusal is not one.
    assert (broker.openings > 0) == (doubts > 0)
    ledger.begin([cut("record 2")])
    assert write_until_done(ledger, clock) == 1
    assert names(broker.journal) == ["record 1", "record 2"]
    assert decode(broker.journal[1]).previous == link_of(first)


@pytest.mark.parametrize("outcome", ["landed", "lost"])
def test_records_of_others_are_not_taken_for_another_worker_and_hide_nothing(
    make: Make, clock: Clock, outcome: str
) -> None:
    ledger, broker, _ = make("noise", outcome)
    write_until_done(ledger, clock)
    assert sum(b'"record 1"' in one for one in broker.journal) == 1
    chain = ledger.look()
    assert chain is None or not chain.held
    # They are said once, not at each look.
    broker.journal += NOISE
    chain = ledger.look()
    assert chain is not None
    assert chain.count >= len(NOISE)
    assert ledger.look() is None


def test_somebody_elses_record_ends_the_ownership(make: Make, clock: Clock) -> None:
    ledger, broker, _ = make("foreign")
    with pytest.raises(ForeignCommitError):
        write_until_done(ledger, clock)
    assert len(broker.journal) == 1


def test_what_waiting_cannot_cure_is_not_tried_again(make: Make, clock: Clock) -> None:
    ledger, broker, metrics = make("forbidden")
    with pytest.raises(RefusedError):
        ledger.write("member")
    assert broker.journal == []
    assert commits(metrics, "failed") == 1


def test_nothing_is_written_without_membership(make: Make, clock: Clock) -> None:
    ledger, broker, _ = make()
    assert not ledger.write(None)
    assert broker.journal == []
    assert ledger.write("member")


def test_an_outage_is_sat_out_and_then_given_up(make: Make, clock: Clock) -> None:
    ledger, _, metrics = make("lost", *["away"] * 1000)
    with pytest.raises(OutputError, match="60 s"):
        write_until_done(ledger, clock, attempts=1000)
    assert 60 <= clock.now < 70
    failing = metrics.registry.get_sample_value("stream_detector_output_failing", {"shard": "0"})
    assert failing == 1


def test_the_pauses_between_two_attempts_grow(make: Make, clock: Clock) -> None:
    ledger, broker, _ = make("lost", *["away"] * 20)
    for _ in range(200):
        ledger.write("member")
        clock.now += 0.1
    assert broker.openings < 12


@pytest.fixture
def many(make: Make, clock: Clock) -> Make:
    """A ledger with a backlog of slices, on a broker whose slow commits take time of the clock."""

    def build(*happenings: str) -> tuple[Committer, Broker, Metrics]:
        ledger, broker, metrics = make()
        assert ledger.write("member")
        broker.happenings, broker.clock, broker.sizes = list(happenings), clock, []
        return ledger, broker, metrics

    return build


def drain(ledger: Committer, clock: Clock, attempts: int = 200) -> None:
    for _ in range(attempts):
        if ledger.write("member") and not ledger.pending:
            return
        clock.now += 1.0
    raise AssertionError("never done")


def check_whole(broker: Broker, count: int) -> None:
    """Every range is in the journal once, each record as of the end of what it holds."""
    records = [decode(one) for one in broker.journal[1:]]
    assert [record.number for record in records] == list(range(2, len(records) + 2))
    ends = [one.end for record in records for one in record.ranges()]
    assert ends == list(range(1, count + 1))
    for record in records:
        last = list(record.ranges())[-1].end
        assert (record.sequence, record.fingerprint) == (last, f"slice {last}")


def test_a_commit_is_bounded_and_what_is_over_follows(many: Make, clock: Clock) -> None:
    ledger, broker, _ = many()
    ledger.begin(backlog(40))
    drain(ledger, clock)
    assert broker.sizes == [32, 8]  # 8 MiB in slices of a quarter
    check_whole(broker, 40)


def test_what_was_too_slow_is_tried_in_smaller_parts_and_grows_again(
    many: Make, clock: Clock
) -> None:
    ledger, broker, metrics = many("slow", "slow")
    ledger.begin(backlog(120))
    drain(ledger, clock)
    assert broker.sizes == [32, 8, *[2] * 16, *[4] * 16, *[8] * 3]
    assert sum(broker.sizes[2:]) == 120
    check_whole(broker, 120)
    assert commits(metrics, "in_doubt") == 2


def test_what_failed_for_another_reason_is_small_for_a_moment_only(
    many: Make, clock: Clock
) -> None:
    ledger, broker, _ = many("lost")
    ledger.begin(backlog(80))
    drain(ledger, clock)
    assert broker.sizes == [32, 8, 16, 32, 24]


def test_a_slow_commit_that_has_landed_is_not_cut(many: Make, clock: Clock) -> None:
    ledger, broker, _ = many("landed")
    ledger.begin(backlog(8))
    drain(ledger, clock)
    assert broker.sizes == [8]
    check_whole(broker, 8)


def test_where_even_the_smallest_is_too_slow_the_quota_is_named(many: Make, clock: Clock) -> None:
    """However short ``give_up_after`` is: it counts from the last attempt that can be cut."""
    ledger, broker, _ = many(*["slow"] * 100)
    ledger.begin(backlog(40))
    with pytest.raises(OutputError) as caught:
        drain(ledger, clock)
    assert broker.sizes == [32, 8, 2, 1, 1]
    for part in ("producer_byte_rate", "kafka.transaction_timeout", "docs/runbook.md#"):
        assert part in str(caught.value)


def test_a_journal_that_takes_less_is_given_less(many: Make, clock: Clock) -> None:
    ledger, broker, _ = many()
    broker.most_bytes = 400
    ledger.begin(backlog(100, size_bytes=0))
    drain(ledger, clock)
    assert max(broker.sizes) < 100
    check_whole(broker, 100)


def test_a_journal_that_takes_not_even_the_smallest_ends_it(many: Make, clock: Clock) -> None:
    ledger, broker, _ = many()
    broker.most_bytes = 100
    ledger.begin(backlog(10))
    with pytest.raises(JournalRecordTooLargeError):
        drain(ledger, clock)
    assert broker.sizes == []
