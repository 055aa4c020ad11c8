"""Ticks: where nothing arrives, event time goes on, and a replay of the journal does likewise."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from kafka_broker.clients import Message, consume_all, produce
from support.process import DaemonProcess, alerts_in, wait_until
from support.streams import configuration
from test_daemon import settings, topics
from test_docs import VALIDATOR
from test_state_verify import verify

from stream_detector.commits.slices import composed
from stream_detector.connectors.base import Fetched
from stream_detector.daemon.idle_clock import OLDEST_LIVE_MS, IdleClock
from stream_detector.daemon.shard import Shard
from stream_detector.errors import StateError
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.journal import JournalRecord, Range, decode, encode
from stream_detector.pipeline import BatchResult
from stream_detector.snapshots.format import decode as decode_snapshot
from stream_detector.snapshots.format import encode as encode_snapshot
from stream_detector.telemetry.metrics import Metrics

RATES = {"kind": "rate", "bucket": "10s", "season": "none", "widths": [1, 2], "deviations": 3}
MONITORS = [{"name": "all", **RATES}, {"name": "users", "key": "user", **RATES}]
SOURCE = TopicPartition("events", 0)
HOUR = 3_600_000
TOPICS = {"alerts": "a", "dead_letters": "d"}


def events(first_ms: int, last_ms: int, a_second: float = 2.0, seed: int = 0) -> list[PlainRecord]:
    """Events of four users from one time to another, as chance has it."""
    random = np.random.default_rng(seed)
    count = random.poisson((last_ms - first_ms) / 1000 * a_second)
    made = []
    for offset, time_ms in enumerate(sorted(random.integers(first_ms, last_ms, count).tolist())):
        event = {
            "id": f"e{offset}",
            "time": time_ms,
            "user": f"u{random.integers(4)}",
            "amount": float(random.lognormal(3, 1)),
            "kind": "a",
        }
        made.append(PlainRecord(offset, time_ms, b"k", json.dumps(event).encode()))
    return made


# --- the clock ----------------------------------------------------------------------------------


class Stream:
    """A clock, and what it is shown: a wall clock and a monotonic one of the test's own."""

    def __init__(self, wall_ms: int = 1_700_000_000_000) -> None:
        self.clock = IdleClock()
        self.now, self.wall_ms, self.mark_ms = 1000.0, wall_ms, -1

    def wait(self, seconds: float, *, answered: bool = True) -> None:
        """Turns of the loop in which nothing comes."""
        until = self.now + seconds
        while self.now < until:
            step = min(5.0, until - self.now)
            self.now += step
            self.wall_ms += round(1000 * step)
            if answered:
                self.clock.answered(self.now)
            self.clock.look(self.mark_ms, self.now, self.wall_ms, idle=True)

    def come(self, *times_ms: int) -> None:
        """Events come, and all is processed in the same turn."""
        marks = np.maximum.accumulate(np.array([self.mark_ms, *times_ms]))[1:]
        self.clock.take(self.mark_ms, marks)
        self.mark_ms = int(marks[-1])
        self.clock.look(self.mark_ms, self.now, self.wall_ms, idle=True)

    @property
    def behind_seconds(self) -> float:
        """How far the time that has certainly come is behind the wall clock."""
        time_ms = self.clock.time_ms(self.now, self.wall_ms)
        assert time_ms is not None
        return (self.wall_ms - time_ms) / 1000


def live(stream: Stream, count: int = 100, every: float = 5.0, late_ms: int = 300) -> Stream:
    for _ in range(count):
        stream.wait(every)
        stream.come(stream.wall_ms - late_ms)
    return stream


def test_of_a_live_stream_time_goes_on_with_the_clock() -> None:
    stream = live(Stream())
    stream.wait(600)
    assert 0 <= stream.behind_seconds < 1


def test_hourly_deliveries_make_no_silence_of_every_hour() -> None:
    stream = Stream()
    stream.wait(5)
    stream.come(stream.wall_ms)
    ahead = []
    for turn in range(30):
        stream.wait(3590 + 20 * (turn % 2))
        if turn > 1:
            time_ms = stream.clock.time_ms(stream.now, stream.wall_ms)
            assert time_ms is not None
            ahead.append(time_ms - stream.mark_ms)
        stream.come(*range(stream.mark_ms + 1000, stream.wall_ms, 10_000))
    assert max(ahead) <= 0  # it never goes beyond what was delivered
    stream.wait(3 * 3600)
    assert 3600 < stream.behind_seconds < 1.5 * 3600  # and a real end is seen all the same


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_wrong_clock_of_the_daemon_costs_its_error_at_most(minutes: int) -> None:
    stream = Stream()
    for _ in range(200):
        stream.wait(5)
        stream.come(stream.wall_ms - minutes * 60_000)
    stream.wait(1800)
    time_ms = stream.clock.time_ms(stream.now, stream.wall_ms)
    assert time_ms is not None
    true_ms = stream.wall_ms - minutes * 60_000
    assert -1000 <= true_ms - time_ms <= max(-minutes, 0) * 60_000 + 1000


def test_while_the_broker_does_not_answer_time_stands() -> None:
    stream = live(Stream())
    stream.wait(3600, answered=False)
    assert stream.clock.time_ms(stream.now, stream.wall_ms) is None
    stream.clock.answered(stream.now)
    assert 3590 < stream.behind_seconds < 3610
    # What was written meanwhile, or waited for the broker, is no late delivery.
    stream.come(*range(stream.mark_ms + 5000, stream.wall_ms, 5000))
    live(stream, 3)
    stream.wait(60)
    assert stream.behind_seconds < 20


def test_what_came_while_the_daemon_was_held_up_was_not_late() -> None:
    stream = live(Stream())
    for seconds in (60, 1, 7):  # a frozen process, a slow commit, a busy machine
        stream.now += seconds
        stream.wall_ms += 1000 * seconds
        stream.come(*range(stream.mark_ms + 500, stream.wall_ms, 500))
        live(stream, 3)
    stream.wait(60)
    assert 0 <= stream.behind_seconds < 2


def test_a_restart_within_a_silence_counts_the_time_away() -> None:
    stream = live(Stream())
    stream.wait(100)
    later = Stream(stream.wall_ms + 2 * HOUR)
    later.clock.restore(stream.clock.state(), later.now)
    later.mark_ms = stream.mark_ms
    later.wait(10)
    assert 0 <= later.behind_seconds < 2
    # A backlog that had come meanwhile counts likewise, from its end.
    third = Stream(stream.wall_ms + 2 * HOUR)
    third.clock.restore(stream.clock.state(), third.now)
    third.clock.look(stream.mark_ms, third.now, third.wall_ms, idle=False)
    third.mark_ms = stream.mark_ms
    third.come(*range(stream.mark_ms + 1000, stream.mark_ms + HOUR, 1000))
    third.wait(10)
    assert 0 <= third.behind_seconds < 2


def test_a_first_start_within_a_silence_waits_as_long_as_the_newest_event_is_old() -> None:
    stream = Stream()
    stream.clock.look(stream.wall_ms - HOUR, stream.now, stream.wall_ms, idle=False)
    stream.mark_ms = stream.wall_ms - HOUR
    stream.wait(60)
    assert stream.behind_seconds > 2 * 3600
    again = Stream(stream.wall_ms + 600_000)
    again.clock.restore(stream.clock.state(), again.now)
    again.mark_ms = stream.mark_ms
    again.wait(60)
    assert again.behind_seconds == pytest.approx(stream.behind_seconds, abs=2)


def test_of_a_replay_of_years_ago_there_is_no_silence() -> None:
    stream = Stream()
    stream.wait(5)
    then = stream.wall_ms - 10 * 365 * 24 * HOUR
    for _ in range(50):
        stream.come(*range(max(stream.mark_ms, then), max(stream.mark_ms, then) + HOUR, 60_000))
        stream.wait(5)
    assert stream.clock.stale
    stream.wait(3600)
    assert stream.clock.time_ms(stream.now, stream.wall_ms) is None
    stream.come(stream.wall_ms - OLDEST_LIVE_MS // 2)
    live(stream)
    assert not stream.clock.stale
    assert stream.clock.time_ms(stream.now, stream.wall_ms) is not None


def test_a_topic_that_never_had_an_event_has_no_time() -> None:
    stream = Stream()
    stream.wait(3600)
    assert stream.clock.time_ms(stream.now, stream.wall_ms) is None
    live(stream, 3)  # and then it is live at once
    stream.wait(60)
    assert 0 <= stream.behind_seconds < 2


def test_one_lagging_partition_does_not_hold_time_back() -> None:
    stream = live(Stream())
    for _ in range(200):
        stream.wait(5)
        stream.come(stream.wall_ms - HOUR)  # moves no watermark
    assert 0 <= stream.behind_seconds < 2


# --- the journal --------------------------------------------------------------------------------


def record(**changes: Any) -> JournalRecord:
    steps = ((Range(SOURCE, 0, 5),), (Range(SOURCE, 5, 9),))
    return JournalRecord(0, 1, steps, (), 9, "f", "c", "group", "@0", **changes)


def test_a_record_holds_its_ticks_and_is_as_before_without_any() -> None:
    ticks = ((0, 100), (2, 200), (2, 300))
    assert decode(encode(record(ticks=ticks))).ticks == ticks
    assert b"ticks" not in encode(record())


@pytest.mark.parametrize("ticks", [((3, 1),), ((1, 5), (0, 6)), ((0, 5), (1, 5)), ((0, -1),)])
def test_ticks_without_a_place_are_refused(ticks: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(StateError, match="tick"):
        decode(encode(record(ticks=ticks)))


def _shard() -> Shard:
    config = configuration(detector={"kind": "loda"}, monitors=MONITORS)
    shard = Shard(0, config, Metrics())
    shard.add(SOURCE, 0)
    return shard


@examples(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 120), st.integers(0, 3), st.booleans()), max_size=12))
def test_a_replay_of_the_journal_follows_ticks_in_their_place(
    acts: list[tuple[int, int, bool]],
) -> None:
    """Each act: events, ticks after them, and whether a commit follows."""
    start = 1_700_000_000_000
    log, live_shard = events(start, start + 400_000), _shard()
    alerts: list[bytes | None] = []
    journal: list[JournalRecord] = []
    kept, begun = None, 0

    def commit() -> None:
        if live_shard.dirty:
            made = composed(live_shard.take_slices(), len(journal) + 1, TOPICS)
            alerts.extend(message.value for message in made.messages[0][1])
            journal.append(decode(made.journal))

    done = 0
    for count, ticks, commits in acts:
        if some := log[done : done + count]:
            live_shard.take_in(Fetched(SOURCE, some))
            done += len(some)
            while live_shard.advance({SOURCE}) is not None:
                pass
        for _ in range(ticks):
            live_shard.tick(max(due(live_shard), live_shard.pipeline.watermark_ms) + 10_500)
        if commits:
            commit()
            if kept is None and journal:
                kept, begun = encode_snapshot(live_shard.snapshot({})), len(journal)
    commit()
    for first, shard in ((0, _shard()), (begun, restored(kept))):
        if shard is None:
            continue
        replayed: list[bytes | None] = []
        shard.begin_to_follow(journal[first:])
        reached = shard.input.fetch_positions.get(SOURCE, 0)
        shard.take_in(Fetched(SOURCE, log[reached:])) if reached < len(log) else None

        def witness(outcome: BatchResult, found: list[bytes | None] = replayed) -> None:
            found.extend(message.value for message in outcome.alerts)

        while shard.replaying:
            shard.follow(lambda _: 1 << 40, witness)
        assert replayed == alerts[len(alerts) - len(replayed) :]
        assert first or replayed == alerts
        assert shard.replay.mismatches == 0
        ours, theirs = (one.pipeline.state() for one in (shard, live_shard))
        assert repr(ours["monitors"]) == repr(theirs["monitors"])
        assert ours.get("ticked_ms") == theirs.get("ticked_ms")


def due(shard: Shard) -> int:
    return shard.pipeline.monitors.due_ms or 0


def restored(kept: bytes | None) -> Shard | None:
    if kept is None:
        return None
    shard = Shard(0, configuration(detector={"kind": "loda"}, monitors=MONITORS), Metrics())
    shard.restore(decode_snapshot(kept))
    shard.add(SOURCE, shard.restored_positions()[SOURCE])
    return shard


# --- a real broker --------------------------------------------------------------------------------


POINTS = ("ticked", "mid_produce", "after_flush", "after_offsets", "after_commit", "snap_tmp")


def _messages(some: list[PlainRecord], partitions: int) -> list[Message]:
    return [Message(one.value, one.offset % partitions, b"k", one.timestamp) for one in some]


@pytest.fixture
def silent(kafka, tmp_path: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A topic of two partitions, and a configuration of two shards."""
    quick = {"session_timeout_ms": 1500, "heartbeat_interval_ms": 300}
    section = {**topics(kafka.bootstrap, 2), "consumer": quick}
    config = settings(
        section,
        tmp_path,
        processing={"shards": 2, "commit_interval": "100ms", "tick": "1s"},
        state={"directory": str(tmp_path / "state"), "interval": "2s"},
        monitors=MONITORS,
    )
    return kafka.bootstrap, section, config


def speak(bootstrap: str, section: dict[str, Any]) -> None:
    """Ten minutes of events up to now; then silence."""
    now = round(time.time() * 1000)
    produce(bootstrap, section["topics"][0], _messages(events(now - 600_000, now, 8), 2))


def ticked(bootstrap: str, section: dict[str, Any]) -> list[dict[str, Any]]:
    alerts = alerts_in(bootstrap, section["alerts"])
    return [alert for alert in alerts if "tick" in alert["receipt"]]


def test_a_topic_gone_silent_alerts_by_ticks_and_can_be_computed_again(
    silent: tuple[str, dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    bootstrap, section, config = silent
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        speak(bootstrap, section)
        found = wait_until(lambda: ticked(bootstrap, section), "an alert by a tick")
        shards = lambda: {one["receipt"]["shard"] for one in ticked(bootstrap, section)}  # noqa: E731
        wait_until(lambda: shards() == {0, 1}, "both shards to alert")
        assert daemon.metric("ticks_total") > 0
        assert daemon.stop() == 0, daemon.text()
    first = found[0]
    VALIDATOR.validate(first)
    assert first["reasons"][0]["value"] < first["monitor"]["expected"]
    assert not {"topic", "partition", "offset"} & first["receipt"].keys()
    code, shards_found = verify(daemon.config)
    assert code == 0, shards_found
    assert sum(one["alerts_expected"] for one in shards_found) >= 2


def test_kills_at_every_failpoint_of_a_tick_lose_and_double_nothing(
    silent: tuple[str, dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    bootstrap, section, config = silent
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        speak(bootstrap, section)
        daemon.wait_processed(4000).wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    for point in POINTS:
        armed = {"FAILPOINT": f"{point}:1"}
        with DaemonProcess(tmp_path, config, environment=armed, name=point) as killed:
            assert killed.wait(120) == -9, killed.text()
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        wait_until(lambda: daemon.metric("ticks_total") > 1, "further ticks")
        assert daemon.stop() == 0, daemon.text()
    code, found = verify(daemon.config)
    assert code == 0, json.dumps(found, indent=1)
    alerts = ticked(bootstrap, section)
    assert alerts
    names = [(one["id"], one["monitor"]["end"], one["receipt"]["shard"]) for one in alerts]
    assert len(names) == len(set(names))
    journal = [decode(r.value) for r in consume_all(bootstrap, f"{section['group']}-journal")]
    assert sum(len(one.ticks) for one in journal) >= 3


def test_a_shard_that_moves_in_the_midst_of_a_silence_goes_on_with_its_time(
    silent: tuple[str, dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    bootstrap, section, config = silent
    first, second = (DaemonProcess(tmp_path, config, name=name) for name in ("first", "second"))

    def shards() -> dict[int, list[str]]:
        found: dict[int, list[str]] = {0: [], 1: []}
        for alert in ticked(bootstrap, section):
            found[alert["receipt"]["shard"]].append(alert["receipt"]["tick"])
        return found

    with first, second:
        first.wait_ready()
        second.wait_ready()
        # A shard that moves while it reads the first events takes them for late ones, and waits.
        wait_until(
            lambda: [one.metric("shards_owned") for one in (first, second)] == [1, 1],
            "a shard each",
        )
        speak(bootstrap, section)
        # What a busy machine reads late is allowed to come late: the patience grows with it.
        wait_until(lambda: all(shards().values()), "an alert of each shard", 240)
        first.kill()
        wait_until(lambda: second.metric("shards_owned") == 2, "the second to have both shards")
        before = second.metric("ticks_total")
        wait_until(lambda: second.metric("ticks_total") >= before + 4, "further ticks")
        assert second.stop() == 0, second.text()
    code, found = verify(second.config)
    assert code == 0, json.dumps(found, indent=1)
    for times in shards().values():
        assert times == sorted(times)
