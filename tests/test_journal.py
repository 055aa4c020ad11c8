"""The journal: its records, and that following it gives what live work gave, however it was cut."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.streams import configuration, records

from stream_detector.commits import slices as cuts
from stream_detector.commits.slices import composed, fitting
from stream_detector.connectors.base import Commit, Fetched
from stream_detector.daemon.shard import Shard
from stream_detector.errors import StateError
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.journal import JournalRecord, Range, decode, encode, last_beginning
from stream_detector.telemetry.metrics import Metrics

TOPICS = {"alerts": "a", "dead_letters": "d"}
PARTITIONS = [TopicPartition("events", number) for number in range(3)]
CONFIG = configuration(detector={"kind": "loda"}, processing={"chunk_size": 64})


def logs(count: int, seed: int = 0) -> dict[TopicPartition, list[PlainRecord]]:
    """One stream over three partitions, with gaps in the offsets as transactions leave them."""
    rng = np.random.default_rng(seed)
    found: dict[TopicPartition, list[PlainRecord]] = {one: [] for one in PARTITIONS}
    ends = dict.fromkeys(PARTITIONS, 0)
    for record in records(count, seed):
        one = PARTITIONS[int(rng.integers(3))]
        found[one].append(record._replace(offset=ends[one]))
        ends[one] += 1 + int(rng.random() < 0.1)
    return found


class Live:
    """A shard fed at random, as a live topic feeds it: late partitions, early releases."""

    def __init__(self, seed: int, count: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.logs = logs(count, seed)
        self.shard = Shard(0, CONFIG, Metrics())
        self.alerts: list[bytes | None] = []
        for one in PARTITIONS:
            self.shard.add(one, 0)

    def commits(self) -> Iterator[Commit]:
        """Work the logs off; what each commit would write."""
        left = {one: list(records) for one, records in self.logs.items()}
        number = 0
        while any(left.values()) or self.shard.dirty:
            for one in PARTITIONS:
                take = int(self.rng.integers(0, 30))
                if left[one] and take:
                    self.shard.take_in(Fetched(one, left[one][:take]))
                    del left[one][:take]
            # Now and then a partition counts as being at its end although more is to come.
            at_end = {one for one in PARTITIONS if not left[one] or self.rng.random() < 0.5}
            self.shard.advance(at_end)
            if self.shard.dirty and (self.rng.random() < 0.3 or not any(left.values())):
                number += 1
                commit = composed(self.shard.take_slices(), number, TOPICS)
                self.alerts += [m.value for m in commit.messages[0][1]]
                yield commit


def follow(shard: Shard, script: list[JournalRecord], live: Live) -> list[bytes | None]:
    """Read the logs as recovery does, and give the alerts that came out."""
    shard.replay.records.extend(script)
    alerts: list[bytes | None] = []
    left = {
        one: [r for r in live.logs[one] if r.offset >= shard.input.fetch_positions[one]]
        for one in PARTITIONS
    }

    def position(one: TopicPartition) -> int:
        return left[one][0].offset if left[one] else 1 << 40

    while shard.replaying:
        shard.follow(position, lambda outcome: alerts.extend(m.value for m in outcome.alerts))
        for one in PARTITIONS:
            if shard.needs(one) and left[one]:
                take = int(live.rng.integers(1, 40))
                shard.take_in(Fetched(one, left[one][:take]))
                del left[one][:take]
    return alerts


@pytest.mark.parametrize("seed", range(6))
def test_following_the_journal_gives_the_state_and_the_alerts_of_live_work(seed: int) -> None:
    live = Live(seed, 2000)
    script = [decode(commit.journal) for commit in live.commits()]
    again = Shard(0, CONFIG, Metrics())
    for one in PARTITIONS:
        again.add(one, 0)
    assert follow(again, script, live) == live.alerts
    assert len(live.alerts) > 5
    assert again.replay.mismatches == 0
    assert again.pipeline.fingerprint == live.shard.pipeline.fingerprint
    assert again.positions() == live.shard.positions()


@pytest.mark.parametrize("seed", range(3))
def test_a_snapshot_and_the_journal_after_it_give_the_same(seed: int) -> None:
    live = Live(seed, 2000)
    script, kept = [], None
    for count, commit in enumerate(live.commits(), start=1):
        script.append(decode(commit.journal))
        if count == 7:
            kept = live.shard.snapshot({"written_at": 0.0, "journal": {"offset": 0, "number": 7}})
            alerts_before = len(live.alerts)
    assert kept is not None
    again = Shard(0, CONFIG, Metrics())
    again.restore(kept)
    assert again.journal_place == (0, 7)
    for one in PARTITIONS:
        again.add(one, again.restored_positions().get(one) or 0)
    assert follow(again, script[7:], live) == live.alerts[alerts_before:]
    assert again.replay.mismatches == 0
    assert again.pipeline.fingerprint == live.shard.pipeline.fingerprint


def test_ranges_join_over_all_records_and_end_where_the_commit_says() -> None:
    live = Live(3, 1500)
    ends = dict.fromkeys(PARTITIONS, 0)
    for number, commit in enumerate(live.commits(), start=1):
        record = decode(commit.journal)
        assert record.number == number
        for one in record.ranges():
            assert one.start == ends[one.source] < one.end
            ends[one.source] = one.end
        assert commit.offsets == ends
    assert all(end == live.logs[one][-1].offset + 1 for one, end in ends.items())


def test_a_backlog_is_one_step_however_it_is_polled() -> None:
    steps = []
    for seed in range(4):
        shard, rng = Shard(0, CONFIG, Metrics()), np.random.default_rng(seed)
        for one in PARTITIONS:
            shard.add(one, 0)
        left = logs(800)
        while any(left.values()):
            for one in PARTITIONS:
                take = int(rng.integers(0, 50))
                if left[one] and take:
                    shard.take_in(Fetched(one, left[one][:take]))
                    del left[one][:take]
            shard.advance({one for one in PARTITIONS if not left[one]})
        (step,) = decode(composed(shard.take_slices(), 1, TOPICS).journal).steps
        steps.append(step)
    assert all(step == steps[0] for step in steps)


@pytest.mark.parametrize("seed", range(4))
def test_wherever_commits_are_cut_output_and_replay_are_the_same(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Bounds, slices and how many of them make a commit, at random."""
    rng = np.random.default_rng(seed)
    whole, wanted = run_whole()
    assert len(wanted) > 5
    monkeypatch.setattr(cuts, "SLICE_BYTES", int(rng.integers(1, 20_000)))
    monkeypatch.setattr(cuts, "SLICE_RANGES", int(rng.integers(1, 8)))
    monkeypatch.setattr(cuts, "RELEASE_EVENTS", int(rng.integers(1, 90)))
    monkeypatch.setattr(cuts, "RELEASE_BYTES", int(rng.integers(1, 5000)))
    shard, slices = Shard(0, CONFIG, Metrics()), []
    for one in PARTITIONS:
        shard.add(one, 0)
    left = {one: list(records) for one, records in logs(1500).items()}
    while any(left.values()):
        for one in PARTITIONS:
            take = int(rng.integers(0, 200))
            if left[one][:take]:
                shard.take_in(Fetched(one, left[one][:take]))
                del left[one][:take]
        while shard.advance({one for one in PARTITIONS if not left[one]}) is not None:
            pass
        if rng.random() < 0.3 or not any(left.values()):
            slices += shard.take_slices()
    assert not shard.take_slices()
    assert len(slices) > 2
    assert shard.pipeline.fingerprint == whole.pipeline.fingerprint
    script, alerts = [], []
    while slices:
        count = int(rng.integers(1, 6))
        commit = composed(slices[:count], len(script) + 1, TOPICS)
        del slices[:count]
        alerts += [m.value for m in commit.messages[0][1]]
        script.append(decode(commit.journal))
    assert alerts == wanted
    again = Shard(0, CONFIG, Metrics())
    for one in PARTITIONS:
        again.add(one, 0)
    live = Live(seed, 0)
    live.logs = logs(1500)
    assert follow(again, script, live) == wanted
    assert again.replay.mismatches == 0
    assert again.positions() == shard.positions() == whole.positions()


def run_whole() -> tuple[Shard, list[bytes | None]]:
    """The same backlog as one commit."""
    shard = Shard(0, CONFIG, Metrics())
    for one in PARTITIONS:
        shard.add(one, 0)
        shard.take_in(Fetched(one, logs(1500)[one]))
    while shard.advance(set(PARTITIONS)) is not None:
        pass
    commit = composed(shard.take_slices(), 1, TOPICS)
    return shard, [m.value for m in commit.messages[0][1]]


@pytest.mark.parametrize("chunk", [64, 512, 2048])
@pytest.mark.parametrize("quiet", [False, True])
def test_what_is_released_ends_with_a_chunk_and_stays_within_its_bounds(
    chunk: int, *, quiet: bool
) -> None:
    times = cuts.QUIET_TIMES if quiet else 1
    whole = max(chunk, cuts.RELEASE_EVENTS * times)
    sequence = 0
    for rejected in [0, 3, 700, 0, 41, 1023, 0, 0]:
        events, size = cuts.release_bounds(sequence, 4, quiet=quiet)
        assert 0 < events <= 1.5 * cuts.RELEASE_EVENTS * times
        assert size == cuts.RELEASE_BYTES * times
        assert (sequence + events) % min(whole, cuts.RELEASE_EVENTS * times) == 0
        sequence += max(events - rejected, 1)


def test_many_partitions_are_released_a_few_events_at_a_time() -> None:
    """Each of them may be a range of the journal's record."""
    few, many = (cuts.release_bounds(0, count, quiet=True)[0] for count in (500, 501))
    assert few == cuts.QUIET_TIMES * many == cuts.QUIET_TIMES * cuts.RELEASE_EVENTS


def test_a_record_of_very_many_ranges_fits() -> None:
    """Thousands of partitions with the longest of names, offsets without an event included."""
    shard = Shard(0, CONFIG, Metrics())
    sources = [TopicPartition("t" * 249, number) for number in range(6000)]
    (record,) = records(1)
    for one in sources:
        shard.add(one, 1_000_000_000_000)
    for one in sources[:3000]:
        shard.take_in(Fetched(one, [record._replace(offset=1_000_000_000_000)]))
    for one in sources[3000:]:
        shard.input.fetch_positions[one] += 1  # passed, as the marker of a transaction is
    while not shard.full and shard.advance(set(sources)) is not None:
        pass
    assert shard.full
    assert sum(map(shard.waiting, sources)) > 0
    while shard.advance(set(sources)) is not None:
        pass
    slices, ends, number = shard.take_slices(), {}, 0
    while slices:
        number += 1
        count = fitting(slices)
        commit = composed(slices[:count], number, TOPICS)
        del slices[:count]
        assert len(commit.journal) < 900_000
        ends |= {r.source: r.end for r in decode(commit.journal).ranges()}
        assert all(commit.offsets[source] == end for source, end in ends.items())
    assert number > 1
    assert ends == dict.fromkeys(sources, 1_000_000_000_001)


def test_a_replay_that_goes_differently_is_noticed() -> None:
    live = Live(1, 1500)
    script = [decode(commit.journal) for commit in live.commits()]
    other = configuration(detector={"kind": "loda", "seed": 5}, processing={"chunk_size": 64})
    again = Shard(0, other, Metrics())
    for one in PARTITIONS:
        again.add(one, 0)
    follow(again, script, live)
    assert again.replay.mismatches > 0


ranges = st.builds(
    lambda topic, partition, start, length: Range(
        TopicPartition(topic, partition), start, start + length
    ),
    st.text(min_size=1, max_size=5),
    st.integers(0, 100),
    st.integers(0, 2**40),
    st.integers(0, 1000),
)
journal_records = st.builds(
    JournalRecord,
    shard=st.integers(0, 100),
    number=st.integers(1, 2**40),
    steps=st.lists(st.lists(ranges, max_size=3).map(tuple), max_size=3).map(tuple),
    lost=st.lists(ranges, max_size=2).map(tuple),
    sequence=st.integers(0, 2**50),
    fingerprint=st.text(max_size=8),
    configuration=st.text(max_size=8),
    group=st.text(max_size=4),
    previous=st.just(""),
)


@given(journal_records)
@settings(max_examples=100, deadline=None)
def test_a_record_comes_back_as_it_was_written(record: JournalRecord) -> None:
    assert decode(encode(record)) == record


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(StateError):
        decode(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"version":1', b'"version":2'), (b"100,180", b"100,80"), (b'"number":1', b'"number":"1"')],
)
def test_a_record_that_makes_no_sense_is_refused(old: bytes, new: bytes) -> None:
    step = (Range(PARTITIONS[0], 100, 180),)
    data = encode(JournalRecord(0, 1, (step,), (), 5, "f", "c"))
    assert old in data
    with pytest.raises(StateError):
        decode(data.replace(old, new))


def test_the_present_state_began_at_the_last_record_with_number_one() -> None:
    def numbered(*numbers: int) -> list[tuple[int, JournalRecord]]:
        return [(i, JournalRecord(0, n, (), (), 0, "", "")) for i, n in enumerate(numbers)]

    assert last_beginning(numbered(1, 2, 3, 1, 2)) == 3
    assert last_beginning(numbered(4, 5)) is None
    assert last_beginning([]) is None
