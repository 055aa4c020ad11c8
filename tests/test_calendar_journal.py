"""Other calendars after a restart: replays go by those of then, and the journal says since when."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from support.streams import SOURCE, configuration

from stream_detector.commits.slices import composed
from stream_detector.config.derived.calendars import calendars_of
from stream_detector.connectors.base import Fetched
from stream_detector.daemon.journal_replay import JournalReplay
from stream_detector.daemon.shard import Shard
from stream_detector.events import PlainRecord
from stream_detector.journal import JournalRecord, decode, encode
from stream_detector.snapshots import Snapshot
from stream_detector.snapshots import decode as read_snapshot
from stream_detector.snapshots import encode as write_snapshot
from stream_detector.telemetry.metrics import Metrics

HOUR = 3_600_000
START = 1_704_067_200_000
DAYS = 6
TOPICS = {"alerts": "alerts", "dead_letters": "dead"}


def config_of(*hours: str) -> Any:
    calendars = [{"name": "work", "weekly": list(hours), "skip": ["alert", "learning"]}]
    return configuration(
        event={"time": {"field": "t", "format": "unix_ms"}},
        features=[{"categorical": "k", "encoding": "rarity"}],
        windows=[],
        calendars=calendars if hours else [],
        monitors=[
            {
                "name": "m",
                "kind": "rate",
                "key": "k",
                "season": "hour_of_day",
                "calendars": ["work"] if hours else [],
            }
        ],
    )


def events() -> list[PlainRecord]:
    """Ten events an hour of each key, five on every other day; of one of them none at noon."""
    records = []
    for minute in range(0, DAYS * 24 * 60, 6):
        if minute // 1440 % 2 and minute % 12:
            continue
        for key in "ab":
            if key == "b" or minute // 60 % 24 != 12:
                time_ms = START + minute * 60_000
                value = json.dumps({"t": time_ms, "k": key}).encode()
                records.append(PlainRecord(len(records), time_ms, None, value, ()))
    return records


RECORDS = events()
THIRD = len(RECORDS) // 3


def advance(shard: Shard, start: int, stop: int) -> list[JournalRecord]:
    shard.take_in(Fetched(SOURCE, RECORDS[start:stop]))
    while shard.advance({SOURCE}) is not None:
        pass
    slices = shard.take_slices()
    return [decode(composed([one], 0, TOPICS).journal) for one in slices]


def usual(shard: Shard) -> bytes:
    return write_snapshot(Snapshot({}, shard.pipeline.monitors.state()["monitors"]["m"]))


def begun(config: Any, records: list[JournalRecord], position: int = 0) -> Shard:
    shard = Shard(0, config, Metrics())
    shard.add(SOURCE, position)
    shard.begin_to_follow(records)
    return shard


def numbered(records: list[JournalRecord], after: int = 0) -> list[JournalRecord]:
    return [replace(record, number=after + n) for n, record in enumerate(records, start=1)]


def follow(shard: Shard, start: int = 0, stop: int = 2 * THIRD) -> None:
    shard.take_in(Fetched(SOURCE, RECORDS[start:stop]))
    for _ in range(10_000):
        if not shard.replaying:
            return
        shard.follow(lambda _source: stop)
    raise AssertionError("the replay does not end")


FIRST, SECOND = config_of("daily 12:00-13:00"), config_of("daily 12:00-13:00", "daily 14:00-15:00")


def test_a_replay_goes_by_the_calendars_of_then_and_new_ones_count_from_its_end_on() -> None:
    shard = begun(FIRST, [])
    records = advance(shard, 0, THIRD)
    assert records[0].calendars == calendars_of(FIRST)
    assert all(record.calendars is None for record in records[1:])
    snapshot = read_snapshot(write_snapshot(shard.snapshot({"written_at": 1.0})))
    more = advance(shard, THIRD, 2 * THIRD)
    assert all(record.calendars is None for record in more)
    then = usual(shard)

    # The same log by other calendars alone comes to something else.
    other = begun(SECOND, [])
    advance(other, 0, 2 * THIRD)
    assert usual(other) != then

    # From the beginning, by the journal alone.
    replayed = begun(SECOND, numbered(records + more))
    follow(replayed)
    assert usual(replayed) == then
    after = advance(replayed, 2 * THIRD, len(RECORDS))
    assert after[0].calendars == calendars_of(SECOND)

    # From a snapshot, which has the calendars of then.
    restored = Shard(0, SECOND, Metrics())
    restored.restore(snapshot)
    restored.add(SOURCE, THIRD)
    restored.begin_to_follow(numbered(more, len(records)))
    follow(restored, THIRD)
    assert usual(restored) == then
    assert restored.pipeline.monitors.calendars == calendars_of(FIRST)
    advance(restored, 2 * THIRD, len(RECORDS))
    assert restored.pipeline.monitors.calendars == calendars_of(SECOND)

    # A later replay over the change comes to the same, whatever the configuration says by then.
    live = usual(replayed)
    later = begun(config_of(), numbered(records + more + after))
    follow(later, 0, len(RECORDS))
    assert usual(later) == live
    later.tick(START + (DAYS + 1) * 24 * HOUR)
    said = [decode(composed([one], 0, TOPICS).journal) for one in later.take_slices()]
    assert [record.calendars for record in said] == [""]


@pytest.mark.parametrize("others", [SECOND, config_of()])
def test_a_snapshot_before_the_first_commit_by_other_calendars_holds_those_of_then(
    others: Any,
) -> None:
    # Worker after worker that snapshots what it begins with, and ends before it commits anything.
    shard = begun(FIRST, [])
    records = advance(shard, 0, THIRD)
    then = shard.pipeline.monitors.calendars
    for _ in range(2):
        snapshot = read_snapshot(write_snapshot(shard.snapshot({"written_at": 1.0})))
        shard = Shard(0, others, Metrics())
        shard.restore(snapshot)
        shard.add(SOURCE, THIRD)
        shard.begin_to_follow([])
        assert not shard.dirty
        assert shard.pipeline.monitors.calendars == then
    more = advance(shard, THIRD, len(RECORDS))
    assert more[0].calendars == calendars_of(others)
    replayed = begun(FIRST, numbered(records + more))
    follow(replayed, 0, len(RECORDS))
    assert usual(replayed) == usual(shard)
    # By the calendars of then alone it comes to something else.
    same = begun(FIRST, [])
    advance(same, 0, len(RECORDS))
    assert usual(same) != usual(shard)


def test_the_snapshot_of_a_new_state_goes_by_none_until_the_journal_says_so() -> None:
    shard = begun(FIRST, [])
    snapshot = read_snapshot(write_snapshot(shard.snapshot({"written_at": 1.0})))
    again = Shard(0, FIRST, Metrics())
    again.restore(snapshot)
    again.add(SOURCE, 0)
    again.begin_to_follow([])
    records = advance(again, 0, len(RECORDS))
    assert records[0].calendars == calendars_of(FIRST)
    replayed = begun(FIRST, numbered(records))
    follow(replayed, 0, len(RECORDS))
    assert usual(replayed) == usual(again)


def test_a_loss_before_the_first_act_leaves_the_calendars_in_the_record() -> None:
    shard = Shard(0, FIRST, Metrics())
    shard.add(SOURCE, 5, lost_from=0)
    shard.begin_to_follow([])
    shard.tick(START)
    slices = shard.take_slices()
    assert decode(composed(slices, 0, TOPICS).journal).calendars == calendars_of(FIRST)


def test_a_journal_of_before_there_were_calendars_is_followed_without_any() -> None:
    shard = begun(config_of(), [])
    records = numbered(advance(shard, 0, 2 * THIRD))
    assert b"calendars" not in encode(records[0])
    replayed = begun(SECOND, records)
    follow(replayed)
    assert usual(replayed) == usual(shard)


@pytest.mark.parametrize("calendars", [None, "", "abc"])
def test_a_record_holds_calendars(calendars: str | None) -> None:
    record = JournalRecord(0, 2, (), (), 1, "f", "c", "g", "p", calendars=calendars)
    assert decode(encode(record)) == record
    replay = JournalReplay()
    replay.begin([record])
    assert replay.calendars == calendars
