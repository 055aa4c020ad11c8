"""The daemon on a real broker: alerts, dead letters, metrics, order, stop and restart."""

from __future__ import annotations

import json
import os
import signal
import zlib
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from support.process import DaemonProcess, alerts_in, wait_until
from support.streams import SETTINGS, records

from stream_detector.events import PlainRecord


def topics(bootstrap: str, partitions: int = 1) -> dict[str, Any]:
    """Fresh topics and a fresh group, as the section ``kafka`` of a configuration."""
    names = {
        "input": create_topic(bootstrap, unique_name("in"), partitions, {"retention.ms": "-1"}),
        "alerts": create_topic(bootstrap, unique_name("alerts"), 1, {"retention.ms": "-1"}),
        "dead": create_topic(bootstrap, unique_name("dead"), 1, {"retention.ms": "-1"}),
    }
    return {
        "bootstrap_servers": bootstrap,
        "topics": [names["input"]],
        "group": unique_name("group"),
        "alerts": names["alerts"],
        "dead_letters": names["dead"],
    }


DEFAULT = {"kind": "adaptive_ensemble"}
LIGHT = {"kind": "half_space_forest", "trees": 30}
"""Without scikit-learn a daemon begins two seconds earlier, and most tests are not about models."""


def settings(kafka: dict[str, Any], directory: Path, **changes: Any) -> dict[str, Any]:
    return {
        **SETTINGS,
        "detector": LIGHT,
        "kafka": kafka,
        "state": {"directory": str(directory / "state")},
        "metrics": {"port": 0},
        **changes,
    }


def messages(some: list[PlainRecord], partitions: int) -> list[Message]:
    """Records keyed by user, as a producer would."""
    made = []
    for record in some:
        user = json.loads(record.value or b"{}")["user"].encode()
        partition = zlib.crc32(user) % partitions
        made.append(Message(record.value, partition, user, record.timestamp))
    return made


def keyed(alerts: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What must not depend on a topic's name."""
    return [
        (a["event_id"], a["score"], a["threshold"], json.dumps(a["reasons"]), a["receipt"]["state"])
        for a in alerts
    ]


@pytest.mark.parametrize("partitions", [1, 4, 12])
def test_alerts_of_a_backlog_are_the_same_bytes_whatever_the_polls(
    kafka, tmp_path: Path, partitions: int
) -> None:
    section = topics(kafka.bootstrap, partitions)
    stream = messages(records(4000), partitions)
    produce(kafka.bootstrap, section["topics"][0], stream)
    values = []
    for max_poll, buffered in ((5000, 20_000), (7, 50)):
        alerts = create_topic(kafka.bootstrap, unique_name("alerts"), 1, {"retention.ms": "-1"})
        changed = {**section, "alerts": alerts, "group": unique_name("group")}
        processing = {"max_poll_records": max_poll, "max_buffered_records": buffered}
        config = settings(changed, tmp_path / str(max_poll), processing=processing)
        other_seed = max_poll == 7  # of hashes: the forks of this process share theirs
        place = tmp_path / str(max_poll)
        with DaemonProcess(place, config, interpreter=other_seed) as daemon:
            daemon.wait_ready().wait_processed(4000)
            assert daemon.stop() == 0, daemon.text()
        values.append([r.value for r in consume_all(kafka.bootstrap, alerts)])
    assert len(values[0]) > 20
    assert values[0] == values[1]


def test_a_stop_and_a_restart_give_the_alerts_of_one_run(kafka, tmp_path: Path) -> None:
    section = topics(kafka.bootstrap, 4)
    stream = messages(records(6000), 4)
    produce(kafka.bootstrap, section["topics"][0], stream)
    with DaemonProcess(
        tmp_path / "one",
        settings(section, tmp_path / "one", detector=DEFAULT),
        interpreter=True,
    ) as daemon:
        daemon.wait_ready().wait_processed(6000)
        assert daemon.stop() == 0
    expected = [r.value for r in consume_all(kafka.bootstrap, section["alerts"])]
    alerts = create_topic(kafka.bootstrap, unique_name("alerts"), 1, {"retention.ms": "-1"})
    again = {**section, "alerts": alerts, "group": unique_name("group")}
    config = settings(
        again, tmp_path / "two", detector=DEFAULT, processing={"max_poll_records": 50}
    )
    starts = 0
    with DaemonProcess(tmp_path / "two", config) as daemon:
        done = 0.0
        while done < 6000:
            if starts:
                daemon.start()
            starts += 1
            daemon.wait_processed(min(1500, 6000 - int(done)))
            assert daemon.stop() == 0, daemon.text()
            text = daemon.text()
            assert "ERROR" not in text, text
            done = max(done, float(text.rsplit("events=", 1)[1].split()[0]))
    assert starts >= 3
    assert [r.value for r in consume_all(kafka.bootstrap, alerts)] == expected


def test_bad_records_go_to_the_dead_letters_and_change_no_alert(kafka, tmp_path: Path) -> None:
    clean, dirty = topics(kafka.bootstrap), topics(kafka.bootstrap)
    stream = messages(records(3000), 1)
    produce(kafka.bootstrap, clean["topics"][0], stream)
    bad = [
        b"{",
        b"",
        None,
        b'{"id":"x","time":1600000000000,"user":"u1","amount":"twelve","kind":"a"}',
        b'{"id":"x","time":1600000000000,"user":"u1","kind":"a"}',
        b'{"id":"x","time":1600000000000,"user":"u1","amount":NaN,"kind":"a"}',
        b'{"id":"x","time":1600000000000,"user":"u1","amount":Infinity,"kind":"a"}',
        b'{"id":"x","user":"' + b"u" * 1_000_000 + b'"}',
        b'{"id":"x","unread":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"id":"x","time":"2999-01-01T00:00:00","user":"u1","amount":1,"kind":"a"}',
    ]
    mixed: list[Message] = []
    for number, message in enumerate(stream):
        mixed.append(message)
        if number % 100 == 50:
            value = bad[number // 100 % len(bad)]
            mixed.append(Message(value, 0, b"bad", message.timestamp_ms, (("h", b"1"),)))
    produce(kafka.bootstrap, dirty["topics"][0], mixed)
    found = []
    for name, section, count in (("clean", clean, 3000), ("dirty", dirty, 3030)):
        with DaemonProcess(tmp_path / name, settings(section, tmp_path / name)) as daemon:
            daemon.wait_ready().wait_processed(count)
            if name == "dirty":
                assert daemon.metric("rejected_total") == 30
                for reason in ("malformed", "empty", "tombstone", "wrong_type", "missing_field"):
                    assert daemon.metric("rejected_total", reason=reason) >= 3
                for reason in ("too_large", "time_invalid", "too_deep"):
                    assert daemon.metric("rejected_total", reason=reason) == 3, reason
            assert daemon.stop() == 0
        found.append(keyed(alerts_in(kafka.bootstrap, section["alerts"])))
    assert len(found[0]) > 20
    assert found[0] == found[1]
    letters = consume_all(kafka.bootstrap, dirty["dead_letters"])
    assert len(letters) == 30
    assert [letter.value for letter in letters[:10]] == bad
    headers = dict(letters[0].headers)
    assert headers["__connect.errors.exception.class.name"] == b"malformed"
    assert headers["h"] == b"1"
    assert letters[0].key == b"bad"


def test_metrics_and_health_over_http(kafka, tmp_path: Path) -> None:
    section = topics(kafka.bootstrap, 2)
    produce(kafka.bootstrap, section["topics"][0], messages(records(2000), 2))
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready().wait_processed(2000)
        assert daemon.get("/healthz")[0] == 200
        wait_until(lambda: daemon.metric("snapshot_size_bytes") >= 0, "metrics")
        assert daemon.metric("events_total", topic=section["topics"][0]) == 2000
        assert daemon.metric("partitions_assigned") == 2
        assert daemon.metric("ready") == 1
        assert daemon.metric("learning_steps_total") >= 60
        assert daemon.metric("score_bucket", le="+Inf") == 2000
        wait_until(lambda: daemon.metric("keys_held") > 0, "the keys gauge")
        daemon.wait_worked_off()
        assert daemon.metric("alerts_total") == len(alerts_in(kafka.bootstrap, section["alerts"]))
        for stage in ("decode", "features", "score", "learn", "commit"):
            assert daemon.metric("stage_duration_seconds_count", stage=stage) > 0, stage
        for part in ("arrival", "decision", "wait", "commit", "all"):
            counted = daemon.metric("alert_latency_seconds_count", stage=part)
            assert counted == daemon.metric("alerts_total"), part
        assert daemon.stop() == 0
    assert list((tmp_path / "state").rglob("*.snapshot"))


def test_shards_share_the_partitions_and_a_further_worker_stands_by(kafka, tmp_path: Path) -> None:
    section = topics(kafka.bootstrap, 4)
    produce(kafka.bootstrap, section["topics"][0], messages(records(4000), 4))
    quick = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 500}
    config = settings({**section, "consumer": quick}, tmp_path, processing={"shards": 2})
    workers = [DaemonProcess(tmp_path, config, name=f"worker{i}") for i in range(3)]
    try:
        for worker in workers:
            worker.start()

        def owned() -> list[float]:
            return sorted(worker.metric("shards_owned") for worker in workers)

        wait_until(lambda: owned() == [0, 1, 1], "two workers with a shard each, one without")
        produce(kafka.bootstrap, section["topics"][0], messages(records(2000, seed=5), 4))
        busy = [worker for worker in workers if worker.metric("shards_owned") == 1]
        busy[0].kill()
        left = [worker for worker in workers if worker is not busy[0]]
        wait_until(
            lambda: sorted(worker.metric("shards_owned") for worker in left) == [1, 1],
            "the standby to take over",
        )
        for worker in left:
            worker.wait_worked_off()
            assert worker.stop() == 0, worker.text()
    finally:
        for worker in workers:
            worker.kill()


def test_an_absent_topic_is_waited_for_then_named(kafka, tmp_path: Path) -> None:
    section = topics(kafka.bootstrap)
    missing = unique_name("missing")
    section |= {"topics": [missing], "wait_for_input": "3s"}
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        wait_until(lambda: daemon.metric("waiting_for_input") == 1, "the metric")
        assert daemon.get("/readyz")[0] == 503
        assert daemon.wait() == 3
        assert missing in daemon.text()
    with pytest.raises(ValueError, match="does not exist"):
        consume_all(kafka.bootstrap, missing)  # nobody has created it


def test_a_topic_that_appears_in_time_is_read(kafka, tmp_path: Path) -> None:
    section = topics(kafka.bootstrap)
    late = unique_name("late")
    section |= {"topics": [late], "wait_for_input": "60s"}
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        wait_until(lambda: daemon.metric("waiting_for_input") == 1, "the metric")
        create_topic(kafka.bootstrap, late, 1, {"retention.ms": "-1"})
        produce(kafka.bootstrap, late, messages(records(500), 1))
        daemon.wait_ready().wait_processed(500)
        assert daemon.stop() == 0


def test_no_broker_gives_one_clear_message_and_exit_3(tmp_path: Path) -> None:
    section = {
        "bootstrap_servers": "127.0.0.1:1",
        "topics": ["t"],
        "group": "g",
        "alerts": "a",
        "dead_letters": "d",
        "wait_for_input": "2s",
        "request_timeout": "1s",
    }
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        assert daemon.wait() == 3
        assert "cannot reach the broker at 127.0.0.1:1" in daemon.text()
        assert "Traceback" not in daemon.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_waiting_ends_at_once_with_0(
    kafka, tmp_path: Path, number: signal.Signals
) -> None:
    section = topics(kafka.bootstrap) | {"topics": [unique_name("missing")]}
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        wait_until(lambda: daemon.metric("waiting_for_input") == 1, "the metric")

        os.kill(daemon.pid, number)
        assert daemon.wait(20) == 0


def test_a_state_of_another_configuration_is_refused_by_name(kafka, tmp_path: Path) -> None:
    section = topics(kafka.bootstrap)
    produce(kafka.bootstrap, section["topics"][0], messages(records(500), 1))
    config = settings(section, tmp_path)
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(500)
        assert daemon.stop() == 0
    config["detector"] = {"kind": "loda"}
    with DaemonProcess(tmp_path, config) as daemon:
        assert daemon.wait() == 4
        assert "detector" in daemon.text()
        assert "--reset-state" in daemon.text()
    with DaemonProcess(tmp_path, config, arguments=("--reset-state",)) as daemon:
        daemon.wait_ready()
        assert daemon.stop() == 0


def test_a_damaged_snapshot_is_skipped_for_the_one_before(kafka, tmp_path: Path) -> None:
    section = topics(kafka.bootstrap)
    produce(kafka.bootstrap, section["topics"][0], messages(records(500), 1))
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready().wait_processed(500)
        assert daemon.stop() == 0
        produce(kafka.bootstrap, section["topics"][0], messages(records(100, seed=3), 1))
        daemon.start().wait_ready().wait_processed(100)
        assert daemon.stop() == 0
        newest = max((tmp_path / "state").rglob("*.snapshot"))
        newest.write_bytes(newest.read_bytes()[:-100])
        daemon.start().wait_ready()
        assert daemon.metric("snapshots_total", result="damaged") == 1
        assert daemon.stop() == 0
        assert "is skipped" in daemon.text()


def test_without_snapshots_the_journal_gives_the_state_back(kafka, tmp_path: Path) -> None:
    section = topics(kafka.bootstrap, 2)
    stream = messages(records(4000), 2)
    produce(kafka.bootstrap, section["topics"][0], stream[:2500])
    config = settings(section, tmp_path)
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        # Before anything is committed, so that a crash in the first minute loses nothing either.
        assert list((tmp_path / "state").rglob("*.snapshot"))
        daemon.wait_processed(2500)
        assert daemon.stop() == 0
        for path in (tmp_path / "state").rglob("*.snapshot"):
            path.unlink()
        produce(kafka.bootstrap, section["topics"][0], stream[2500:])
        daemon.start().wait_ready().wait_processed(1500)
        assert daemon.metric("replayed_events_total") == 2500
        assert daemon.metric("replay_mismatches_total") == 0
        assert daemon.metric("replay_remaining_records") == 0
        assert daemon.stop() == 0
    found = [r.value for r in consume_all(kafka.bootstrap, section["alerts"])]
    alerts = create_topic(kafka.bootstrap, unique_name("alerts"), 1, {"retention.ms": "-1"})
    again = {**section, "alerts": alerts, "group": unique_name("group")}
    with DaemonProcess(tmp_path / "one", settings(again, tmp_path / "one")) as daemon:
        daemon.wait_ready().wait_processed(4000)
        assert daemon.stop() == 0
    assert len(found) > 20
    assert found == [r.value for r in consume_all(kafka.bootstrap, alerts)]


def test_lost_state_stops_the_start_unless_it_is_given_up(kafka, tmp_path: Path) -> None:
    section = {**topics(kafka.bootstrap), "delivery": "at_least_once"}
    produce(kafka.bootstrap, section["topics"][0], messages(records(500), 1))
    config = settings(section, tmp_path)
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(500)
        assert daemon.metric("config_info", delivery="at_least_once") == 1
        assert daemon.stop() == 0
    for path in (tmp_path / "state").rglob("*.snapshot"):
        path.unlink()
    with DaemonProcess(tmp_path, config) as daemon:
        assert daemon.wait() == 4
        assert "its state is lost" in daemon.text()
    with DaemonProcess(tmp_path, config, arguments=("--reset-state",)) as daemon:
        daemon.wait_ready()
        assert daemon.stop() == 0


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_after_kills_the_alerts_are_those_of_one_run(kafka, tmp_path: Path, delivery: str) -> None:
    quick = {"session_timeout_ms": 1500, "heartbeat_interval_ms": 300}
    section = {**topics(kafka.bootstrap, 4), "delivery": delivery, "consumer": quick}
    produce(kafka.bootstrap, section["topics"][0], messages(records(6000), 4))
    config = settings(section, tmp_path / "one")
    with DaemonProcess(tmp_path / "one", config, interpreter=True) as daemon:
        daemon.wait_ready().wait_processed(6000)
        assert daemon.stop() == 0
    expected = [r.value for r in consume_all(kafka.bootstrap, section["alerts"])]
    alerts = create_topic(kafka.bootstrap, unique_name("alerts"), 1, {"retention.ms": "-1"})
    again = {**section, "alerts": alerts, "group": unique_name("group")}
    config = settings(again, tmp_path / "two", processing={"max_poll_records": 50})
    with DaemonProcess(tmp_path / "two", config) as daemon:
        for _ in range(3):
            daemon.wait_ready().wait_processed(1000)
            daemon.kill()
            daemon.start()
        daemon.wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    values = [r.value for r in consume_all(kafka.bootstrap, alerts)]
    if delivery == "at_least_once":
        values = list(dict.fromkeys(values))
    assert values == expected
