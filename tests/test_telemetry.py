"""Metrics, health and the server, asked by a real HTTP client."""

from __future__ import annotations

import gzip
import json
import re
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from support.prometheus import require
from support.streams import configuration, records

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.base import Rebalance
from stream_detector.connectors.embedded import CollectingOutput, EmbeddedSource
from stream_detector.daemon.loop import Daemon
from stream_detector.daemon.recovery import open_shard
from stream_detector.daemon.shard import Shard
from stream_detector.daemon.shard_assignment import ShardFactories
from stream_detector.errors import ConnectorError
from stream_detector.events import Rejection, TopicPartition
from stream_detector.snapshots import DirectoryStore, encode
from stream_detector.telemetry import connections
from stream_detector.telemetry import server as server_module
from stream_detector.telemetry.families import STAGES
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.histograms import SCORE_BUCKETS, BulkHistogram
from stream_detector.telemetry.memory import memory_limit_bytes
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.series import MAX_LABEL_SETS
from stream_detector.telemetry.server import MetricsServer

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
FIRST, SECOND = TopicPartition("events", 0), TopicPartition("events", 1)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def exercised() -> Metrics:
    """Metrics of which every family has a value."""
    metrics = Metrics(severities=("low", "high"))
    metrics.add_events({FIRST: 3, SECOND: 2})
    metrics.add_rejections([Rejection("decode", "not_json", "x")])
    metrics.observe_scores(np.array([-20.0, 1.0, 1.0, 500.0]))
    metrics.begin_shard(0)
    metrics.add_decisions(0, 4, {"high": 1}, 1)
    metrics.add_reasons({"amount": 1})
    metrics.incidents.add(0, {"opened": 2}, 1, 3)
    metrics.incidents.set_open(0, {"high": 1})
    metrics.add_drift("inputs", "amount")
    metrics.challenger.observe_scores(np.array([1.0]))
    metrics.challenger.add_decisions(0, champion=True, challenger=False, events=3)
    metrics.challenger.set_threshold(0, 9.5)
    metrics.challenger.ranking.set(0, 0.8, 0.4, {10: 0.6})
    metrics.set_threshold(0, 12.5, 0.001)
    metrics.members.set(0, {"loda": 1.0, "neighbours": 5.0})
    metrics.add_learning(0, 1, 256, 12)
    metrics.set_keys(0, "card", 10)
    metrics.labels.set_risk_events(0, "card", "counted", 5)
    metrics.add_evicted_keys(0, "card", 2)
    metrics.monitors.set_band(0, "m", "a", {"actual": 1, "expected": 2, "low": 0, "high": 5})
    metrics.monitors.add_alerts(0, "m", 1)
    metrics.monitors.add(0, "m", 1, 2, 3, 4)
    metrics.monitors.set_keys(0, "m", 5, 4)
    metrics.labels.add(0, 3, 1)
    metrics.labels.set_waiting(0, 40)
    metrics.labels.add_labelled(0, anomalous=True, raised=False, events=2.5)
    metrics.labels.ranking.set(0, 0.9, 0.5, {10: 0.7})
    for stage in STAGES:
        with metrics.stage(stage):
            pass
    metrics.set_lag(FIRST, 7, 1.5)
    metrics.set_buffered(FIRST, 4, 0.0)
    metrics.set_assignment(2, 1)
    metrics.add_rebalance()
    metrics.rules.add_acts(0, "rule-add", "taken", 1)
    metrics.rules.add_hidden({"rent": 2})
    metrics.rules.add_disabled(0, 1)
    metrics.rules.set_held(0, {"active": 1}, 3)
    metrics.rules.add_forgotten(0, 1)
    metrics.ticks.add_shift("back")
    metrics.ticks.set_watermark(0, 1e9)
    metrics.set_stable_offset_age(FIRST, 0.0)
    metrics.set_paused_partitions(1)
    metrics.set_waiting_for_input(True)
    metrics.add_broker_error("ends")
    metrics.add_commit("ok")
    metrics.set_output_failing(0, failing=True)
    metrics.add_replay(0, 1000, 1, 12)
    metrics.add_lost_records(FIRST, 10)
    metrics.add_foreign_records(FIRST, 1)
    metrics.add_snapshot("ok")
    metrics.set_newest_snapshot(0, 1e9, 4096)
    metrics.set_config("cards", "group", "ensemble", "exactly_once")
    return metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value("stream_detector_" + name, labels)


# --- what is exported ---------------------------------------------------------------------------


def exported(metrics: Metrics) -> dict[str, tuple[str, frozenset[str]]]:
    families = {}
    for family in metrics.registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert family.samples, f"{name} was not exercised"
        families[name] = (family.type, frozenset(labels))
    return families


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    row = re.compile(r"^\| `([a-z0-9_]+)` \| (\w+) \| ([\w, ]*)\| (.+) \|$", re.MULTILINE)
    families = {}
    for name, kind, labels, _ in row.findall(DOCUMENT.read_text(encoding="utf-8")):
        assert name not in families, f"{name} stands twice"
        families[name] = (kind, frozenset(filter(None, labels.replace(" ", "").split(","))))
    return families


def test_the_document_lists_exactly_the_exported_metrics_with_type_and_labels():
    assert documented() == exported(exercised())


def test_every_stage_in_the_document_is_measured():
    (row,) = re.findall(
        r"^\| `stream_detector_stage_duration.*$",
        DOCUMENT.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert tuple(re.findall(r"`(\w+)`", row)[1:]) == STAGES


def test_promtool_finds_nothing_to_say():
    require("promtool")
    scrape = generate_latest(exercised().registry)
    found = subprocess.run(
        ["promtool", "check", "metrics"],
        input=scrape,
        capture_output=True,
        check=False,
        timeout=240,
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


def test_several_metrics_live_in_one_process_and_leave_the_global_registry_alone():
    first, second = exercised(), Metrics()
    assert value(first, "suppressed_total") == 1
    assert value(second, "suppressed_total") == 0
    assert not [f for f in REGISTRY.collect() if f.name.startswith("stream_detector")]


def test_counters_with_known_labels_start_at_zero():
    metrics = Metrics(severities=("low",))
    assert value(metrics, "alerts_total", severity="low") == 0
    assert value(metrics, "commits_total", result="in_doubt") == 0
    assert value(metrics, "snapshots_total", result="damaged") == 0
    assert value(metrics, "rejected_total", stage="decode", reason="malformed") == 0
    assert value(metrics, "rejected_total", stage="order", reason="time_behind") == 0
    assert value(metrics, "stage_duration_seconds_count", stage="poll") == 0


# --- values -------------------------------------------------------------------------------------


def test_counts_add_up_by_label():
    metrics = exercised()
    metrics.add_events({FIRST: 10})
    metrics.add_rejections(
        [Rejection("decode", "not_json", "a"), Rejection("features", "nan", "b")]
    )
    assert value(metrics, "events_total", topic="events", partition="0") == 13
    assert value(metrics, "events_total", topic="events", partition="1") == 2
    assert value(metrics, "rejected_total", stage="decode", reason="not_json") == 2
    assert value(metrics, "rejected_total", stage="features", reason="nan") == 1
    assert value(metrics, "alerts_total", severity="high") == 1
    assert value(metrics, "rows_learned_total", shard="0") == 256
    assert value(metrics, "rows_refused_total", shard="0") == 12


def test_revoked_partitions_take_all_their_series_along():
    metrics = exercised()
    metrics.set_lag(SECOND, 1, 1.0)
    metrics.forget_partitions([FIRST, TopicPartition("never", 9)])
    left = [
        sample.labels["partition"]
        for family in metrics.registry.collect()
        for sample in family.samples
        if "partition" in sample.labels
    ]
    assert left == ["1", "1", "1"]


def test_labels_without_end_are_gathered_under_other():
    metrics = Metrics()
    for number in range(MAX_LABEL_SETS + 50):
        metrics.add_reasons({f"feature {number}": 1})
    assert value(metrics, "alert_reasons_total", feature="feature 0") == 1
    assert value(metrics, "alert_reasons_total", feature="other") == 50


def test_the_alert_rate_is_the_share_of_events_over_the_threshold_by_shard():
    metrics = Metrics()
    assert value(metrics, "alert_rate_ratio", shard="0") is None
    metrics.add_decisions(0, 0, {}, 0)
    assert value(metrics, "alert_rate_ratio", shard="0") is None
    metrics.add_decisions(0, 1000, {"low": 6, "high": 3}, 1)
    metrics.add_decisions(1, 1000, {"low": 40}, 10)
    assert value(metrics, "alert_rate_ratio", shard="0") == pytest.approx(0.01)
    assert value(metrics, "alert_rate_ratio", shard="1") == pytest.approx(0.05)
    for _ in range(300):
        metrics.add_decisions(0, 1000, {"low": 20}, 0)
    assert value(metrics, "alert_rate_ratio", shard="0") == pytest.approx(0.02, rel=1e-6)
    assert value(metrics, "alert_rate_ratio", shard="1") == pytest.approx(0.05)


def test_throughput_covers_the_last_ten_seconds_and_falls_when_nothing_comes():
    clock = Clock()
    metrics = Metrics(monotonic=clock)
    for _ in range(300):
        clock.now += 0.1
        metrics.add_events({FIRST: 10})
    assert value(metrics, "throughput_events_per_second") == pytest.approx(100, rel=0.02)
    for _ in range(300):
        clock.now += 0.1
        metrics.add_events({FIRST: 50})
    assert value(metrics, "throughput_events_per_second") == pytest.approx(500, rel=0.02)
    assert len(metrics._rate._points) <= 13
    clock.now += 1000
    assert value(metrics, "throughput_events_per_second") < 6


def test_the_snapshot_age_counts_from_a_shards_beginning_until_there_is_one():
    clock = Clock()
    metrics = Metrics(clock=clock)
    assert value(metrics, "snapshot_age_seconds", shard="3") is None
    metrics.begin_shard(3)
    clock.now = 1060
    assert value(metrics, "snapshot_age_seconds", shard="3") == 60
    assert value(metrics, "snapshot_timestamp_seconds", shard="3") is None
    metrics.set_newest_snapshot(3, 1055, 4096)
    assert value(metrics, "snapshot_age_seconds", shard="3") == 5
    assert value(metrics, "snapshot_size_bytes", shard="3") == 4096


def test_the_age_of_a_restored_snapshot_outlives_the_beginning_of_its_shard():
    metrics = Metrics(clock=Clock())
    metrics.set_newest_snapshot(0, 400, 4096)
    metrics.begin_shard(0)
    assert value(metrics, "snapshot_age_seconds", shard="0") == 600


def series_of_shards(metrics: Metrics) -> set[tuple[str, str]]:
    return {
        (family.name.removeprefix("stream_detector_"), sample.labels["shard"])
        for family in metrics.registry.collect()
        for sample in family.samples
        if "shard" in sample.labels
    }


def record_shard(metrics: Metrics, shard: int) -> None:
    """Give every family that is labelled by shard a value, a different one for each shard."""
    metrics.begin_shard(shard)
    metrics.add_decisions(shard, 100, {"low": shard}, 0)
    metrics.set_threshold(shard, 10.0 + shard, shard / 1000)
    metrics.members.set(shard, {"neighbours": 5.0 - shard})
    metrics.ticks.set_watermark(shard, 700.0 + shard)
    metrics.add_learning(shard, 1, 200 + shard, shard)
    metrics.set_keys(shard, "card", 1000 + shard)
    metrics.labels.set_risk_events(shard, "card", "waiting", shard)
    metrics.add_evicted_keys(shard, "card", shard)
    metrics.monitors.set_band(shard, "m", "a", {"actual": 1, "expected": 2, "low": 0, "high": 5})
    metrics.monitors.add_alerts(shard, "m", 1)
    metrics.monitors.add(shard, "m", 1, 2, 3, 4)
    metrics.monitors.set_keys(shard, "m", 5, 4)
    metrics.incidents.add(shard, {"opened": 2}, 1, 3)
    metrics.incidents.set_open(shard, {"high": 1})
    metrics.rules.add_acts(shard, "rule-add", "taken", 1)
    metrics.rules.set_held(shard, {"active": shard}, shard)
    metrics.labels.add(shard, 10 + shard, shard)
    metrics.labels.set_waiting(shard, shard)
    metrics.labels.add_labelled(shard, anomalous=True, raised=False, events=shard)
    metrics.labels.ranking.set(shard, 0.9, 0.5, {10: 0.1 * shard})
    metrics.challenger.add_decisions(shard, champion=True, challenger=False, events=shard)
    metrics.challenger.set_threshold(shard, 20.0 + shard)
    metrics.challenger.ranking.set(shard, 0.8, 0.4, {10: 0.1 * shard})
    metrics.set_output_failing(shard, failing=bool(shard % 2))
    metrics.add_replay(shard, 10 + shard, shard, 5 + shard)
    metrics.set_newest_snapshot(shard, 500.0 + shard, 4096 + shard)


def test_a_shard_does_not_overwrite_what_another_shows():
    metrics = Metrics(clock=Clock())
    for shard in (1, 2):
        record_shard(metrics, shard)
    for shard in (1, 2):
        shown = {"shard": str(shard)}
        assert value(metrics, "threshold", **shown) == 10 + shard
        assert value(metrics, "member_weight", member="neighbours", **shown) == 5 - shard
        assert value(metrics, "alert_rate_ratio", **shown) == pytest.approx(shard / 100)
        assert value(metrics, "alert_budget_ratio", **shown) == shard / 1000
        assert value(metrics, "label_precision_at_ratio", k="10", **shown) == 0.1 * shard
        assert value(metrics, "learning_steps_total", **shown) == 1
        assert value(metrics, "rows_learned_total", **shown) == 200 + shard
        assert value(metrics, "rows_refused_total", **shown) == shard
        assert value(metrics, "keys_held", key="card", **shown) == 1000 + shard
        assert value(metrics, "keys_evicted_total", key="card", **shown) == shard
        assert value(metrics, "snapshot_timestamp_seconds", **shown) == 500 + shard
        assert value(metrics, "snapshot_age_seconds", **shown) == 500 - shard
        assert value(metrics, "snapshot_size_bytes", **shown) == 4096 + shard


def test_a_shard_given_up_takes_all_its_series_along_and_begins_anew():
    metrics = exercised()
    of_first = {name for name, _ in series_of_shards(metrics)}
    record_shard(metrics, 1)
    assert {name for name, shard in series_of_shards(metrics) if shard == "1"} == of_first
    metrics.forget_shard(0)
    metrics.forget_shard(9)
    assert series_of_shards(metrics) == {(name, "1") for name in of_first}
    assert value(metrics, "events_total", topic="events", partition="0") == 3
    metrics.begin_shard(0)
    assert value(metrics, "rows_learned_total", shard="0") == 0
    assert value(metrics, "snapshot_age_seconds", shard="0") < 1e6  # not the old one's, of 2001
    metrics.add_decisions(0, 1000, {}, 0)
    assert value(metrics, "alert_rate_ratio", shard="0") == 0


def test_every_shard_keeps_its_own_series_however_many_there_are():
    metrics = Metrics()
    for shard in range(MAX_LABEL_SETS + 50):
        record_shard(metrics, shard)
    assert value(metrics, "threshold", shard="0") == 10
    assert value(metrics, "threshold", shard=str(MAX_LABEL_SETS + 49)) == MAX_LABEL_SETS + 59
    assert not [each for each in series_of_shards(metrics) if each[1] == "other"]


def test_a_new_configuration_replaces_the_old_one():
    metrics = exercised()
    metrics.set_config("other", "group", "loda", "exactly_once")
    text = generate_latest(metrics.registry).decode()
    assert len(re.findall(r"^stream_detector_config_info\{", text, re.MULTILINE)) == 1


def test_a_stage_that_raises_is_measured_too():
    metrics = Metrics()
    with pytest.raises(ZeroDivisionError), metrics.stage("decode"):
        _ = 1 / 0
    assert value(metrics, "stage_duration_seconds_count", stage="decode") == 1


def test_an_unknown_stage_is_an_error_and_not_a_new_label():
    with pytest.raises(KeyError):
        Metrics().observe_stage("lunch", 1.0)


def test_a_scrape_never_sees_half_a_batch():
    metrics = Metrics()
    metrics.begin_shard(0)
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            metrics.add_learning(0, 1, 256, 3)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(20):
            families = {
                family.name: family.samples[0].value
                for family in metrics.collect()
                if "rows_" in family.name
            }
            learned = families["stream_detector_rows_learned"]
            assert learned * 3 == families["stream_detector_rows_refused"] * 256
    finally:
        done.set()
        worker.join(30)


SCORES = st.floats(-1e6, 1e6) | st.sampled_from([*SCORE_BUCKETS, np.nan, np.inf, -np.inf])


@given(
    parts=st.lists(
        arrays(np.float64, st.integers(0, 20), elements=SCORES),
        max_size=4,
    )
)
def test_the_bulk_histogram_counts_as_one_by_one_and_is_not_poisoned(parts):
    bulk, single = BulkHistogram(SCORE_BUCKETS), BulkHistogram(SCORE_BUCKETS)
    for part in parts:
        bulk.observe_many(part)
        for each in part.tolist():
            single.observe(each)
    values = [each for part in parts for each in part.tolist() if np.isfinite(each)]
    counts, _ = bulk.samples()
    assert counts == single.samples()[0]
    bounds = (*SCORE_BUCKETS, np.inf)
    assert [count for _, count in counts] == [
        sum(each <= bound for each in values) for bound in bounds
    ]
    assert counts[-1][0] == "+Inf"


def test_one_nan_does_not_poison_the_sum():
    histogram = BulkHistogram([1.0, 2.0])
    histogram.observe_many(np.array([0.5, np.nan, np.inf, 1.5]))
    histogram.observe(float("nan"))
    assert histogram.samples() == ([("1.0", 1.0), ("2.0", 2.0), ("+Inf", 2.0)], 2.0)


@pytest.mark.parametrize("bounds", [[], [1.0, 1.0], [2.0, 1.0], [1.0, float("inf")]])
def test_buckets_that_do_not_rise_are_refused(bounds):
    with pytest.raises(ValueError, match="finite and rising"):
        BulkHistogram(bounds)


def test_score_buckets_can_be_set():
    metrics = Metrics(score_buckets=(0.5, 1.0))
    metrics.observe_scores(np.array([0.4, 0.5, 0.7, 3.0]))
    assert value(metrics, "score_bucket", le="0.5") == 2
    assert value(metrics, "score_bucket", le="+Inf") == 4
    assert value(metrics, "score_count") == 4


# --- what the daemon tells ----------------------------------------------------------------------


class Passing(EmbeddedSource):
    """Gives partition 1 to another worker when its records are used up."""

    def take_rebalance(self) -> Rebalance | None:
        if self.exhausted():
            return Rebalance(frozenset({FIRST}), frozenset(), lost=False)
        return super().take_rebalance()


def run_daemon(source: EmbeddedSource, directory: Path) -> Metrics:
    metrics = Metrics()
    kafka = KafkaConfig(
        bootstrap_servers="none", topics=["events"], group="g", alerts="a", dead_letters="d"
    )
    Daemon(
        configuration(processing={"shards": 2}),
        kafka,
        source,
        metrics,
        HealthState(broker_timeout_seconds=None),
        ShardFactories(
            store=lambda number: DirectoryStore(directory / str(number), 3),
            output=lambda _shard: CollectingOutput(source),
        ),
        stopping=lambda: False,
    ).run()
    return metrics


def test_a_shard_that_the_daemon_gives_up_is_shown_no_longer(tmp_path):
    stream = records(600)
    polls = [{0: stream[:300], 1: stream[:300]}, {0: stream[300:]}]
    kept = run_daemon(EmbeddedSource(2, polls), tmp_path / "kept")
    assert {shard for _, shard in series_of_shards(kept)} == {"0", "1"}
    assert (
        value(kept, "rows_learned_total", shard="0")
        > value(kept, "rows_learned_total", shard="1")
        > 0
    )
    passed = run_daemon(Passing(2, polls), tmp_path / "passed")
    assert {shard for _, shard in series_of_shards(passed)} == {"0"}


def test_a_restored_snapshot_is_shown_with_its_age_and_size(tmp_path):
    config, clock = configuration(), Clock()
    data = encode(Shard(0, config, Metrics()).snapshot({"written_at": 940.0}))
    store = DirectoryStore(tmp_path, 3)
    store.write(7, data)
    store.write(8, data[:-1])
    metrics = Metrics(clock=clock)
    open_shard(0, config, store, metrics)
    assert value(metrics, "snapshot_timestamp_seconds", shard="0") == 940
    assert value(metrics, "snapshot_age_seconds", shard="0") == 60
    assert value(metrics, "snapshot_size_bytes", shard="0") == len(data)
    assert value(metrics, "snapshots_total", result="damaged") == 1


# --- health -------------------------------------------------------------------------------------


def healthy(clock: Clock) -> HealthState:
    health = HealthState(clock, broker_timeout_seconds=30, loop_timeout_seconds=300)
    health.set_assigned()
    health.broker_answered()
    health.set_recovering(False)
    return health


def test_a_new_process_is_alive_but_not_ready_and_says_why():
    health = HealthState(Clock())
    assert health.alive() == (True, [])
    ready, reasons = health.ready()
    assert not ready
    assert reasons == [
        "not yet a member of the group",
        "recovery not done",
        "broker has not answered yet",
    ]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda health, _: health.set_recovering(True), "recovery not done"),
        (lambda health, _: health.set_stopping(), "stopping"),
        (
            lambda _, clock: setattr(clock, "now", 1031.0),
            "broker has not answered for 31 s",
        ),
    ],
)
def test_each_reason_alone_makes_unready(spoil, reason):
    clock = Clock()
    health = healthy(clock)
    assert health.ready() == (True, [])
    spoil(health, clock)
    assert health.ready() == (False, [reason])


def test_a_silent_broker_that_answers_again_makes_ready_again():
    clock = Clock()
    health = healthy(clock)
    clock.now += 31
    assert not health.ready()[0]
    health.broker_answered()
    assert health.ready()[0]


def test_without_a_broker_its_silence_does_not_count():
    health = HealthState(Clock(), broker_timeout_seconds=None)
    health.set_assigned()
    health.set_recovering(False)
    assert health.ready() == (True, [])


def test_a_loop_that_hangs_is_not_alive():
    clock = Clock()
    health = healthy(clock)
    clock.now += 299
    assert health.alive()[0]
    clock.now += 2
    assert health.alive() == (False, ["the main loop has not turned for 301 s"])
    health.loop_turned()
    assert health.alive() == (True, [])


# --- server -------------------------------------------------------------------------------------


@dataclass
class Running:
    server: MetricsServer
    metrics: Metrics
    health: HealthState
    clock: Clock

    def request(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        url = f"http://127.0.0.1:{self.server.port}{path}"
        request = urllib.request.Request(url, method=method, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=20) as response:
                return response.status, dict(response.headers), response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()


Start = Callable[..., Running]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(server_module, "SHUTDOWN_POLL_SECONDS", 0.02)
    servers = []

    def run(**options: object) -> Running:
        clock = Clock()
        metrics, health = exercised(), healthy(clock)
        server = MetricsServer(metrics, health, "127.0.0.1", 0, **options)
        server.start()
        servers.append(server)
        return Running(server, metrics, health, clock)

    yield run
    for server in servers:
        server.stop()


@pytest.fixture
def running(start: Start) -> Running:
    return start()


def test_metrics_are_served_as_text_by_default(running):
    status, headers, body = running.request("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"stream_detector_suppressed_total 1.0\n" in body
    assert b"stream_detector_ready 1.0\n" in body


def test_metrics_are_served_as_openmetrics_and_gzipped_on_request(running):
    accept = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}
    status, headers, body = running.request("/metrics", **accept)
    assert status == 200
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert headers["Content-Encoding"] == "gzip"
    families = list(text_string_to_metric_families(gzip.decompress(body).decode()))
    assert "stream_detector_score" in {family.name for family in families}


def test_a_scrape_can_ask_for_single_metrics(running):
    _, _, body = running.request("/metrics?name[]=stream_detector_threshold")
    assert [line for line in body.splitlines() if not line.startswith(b"#")] == [
        b'stream_detector_threshold{shard="0"} 12.5'
    ]


def test_health_pages_follow_the_health_state(running):
    assert running.request("/healthz")[::2] == (200, b"ok\n")
    status, headers, body = running.request("/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "reasons": []})
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    running.clock.now += 301
    running.health.set_stopping()
    status, _, body = running.request("/healthz")
    assert (status, body) == (503, b"the main loop has not turned for 301 s\n")
    status, _, body = running.request("/readyz")
    assert status == 503
    assert json.loads(body) == {
        "ready": False,
        "reasons": ["stopping", "broker has not answered for 301 s"],
    }
    assert b"stream_detector_ready 0.0\n" in running.request("/metrics")[2]


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "/favicon.ico", "/%2e%2e/etc/passwd"])
def test_other_paths_are_not_found(running, path):
    assert running.request(path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/metrics"])
def test_other_methods_are_refused(running, method, path):
    status, headers, _ = running.request(path, method)
    assert status == 405
    assert headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/nothing"])
def test_head_answers_as_get_without_the_body(running, path):
    got, asked = running.request(path), running.request(path, "HEAD")
    assert asked[0] == got[0]
    assert asked[1]["Content-Type"] == got[1]["Content-Type"]
    assert int(asked[1]["Content-Length"]) > 0
    assert asked[2] == b""


def test_answers_tell_neither_python_nor_its_version(running):
    assert running.request("/")[1]["Server"] == "stream-detector"


def test_a_page_that_fails_is_logged_and_does_not_stop_the_server(
    start, caplog, capfd, monkeypatch
):
    def fails(*_: object) -> None:
        raise RuntimeError("status broke")

    monkeypatch.setattr("stream_detector.telemetry.status.pages.figures", fails)
    running = start()
    status, _, body = running.request("/")
    assert status == 500
    assert b"status broke" not in body
    assert "status broke" in caplog.text
    assert capfd.readouterr().err == ""
    assert running.request("/healthz")[0] == 200


def test_requests_leave_no_trace_on_standard_error(running, capfd):
    running.request("/metrics")
    running.request("/nothing")
    with closing(connect(running)) as client:
        client.sendall(b"\x16\x03\x01 not HTTP\r\n\r\n")
        read_all(client)
    assert capfd.readouterr().err == ""


def connect(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.server.port), timeout=20)


def read_all(client: socket.socket) -> bytes:
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass  # cut while unread bytes were waiting
    return b"".join(parts)


def test_idle_clients_do_not_keep_a_scrape_out(start, monkeypatch):
    monkeypatch.setattr(connections._RequestHandler, "timeout", 60.0)  # no way out but the cut
    running = start(deadline_seconds=60.0)
    idle = [connect(running) for _ in range(3 * connections.MAX_CONNECTIONS)]
    try:
        for client in idle:
            client.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert running.request("/metrics")[0] == 200
        assert len(running.server._server._open) <= connections.MAX_CONNECTIONS
        assert read_all(idle[0]) == b""
    finally:
        for client in idle:
            client.close()


def test_a_client_that_drips_is_cut_at_the_deadline(start):
    running = start(deadline_seconds=0.3)
    with closing(connect(running)) as client:
        client.settimeout(0.05)
        client.sendall(b"GET / HTTP/1.1\r\n")
        ended = False
        for _ in range(90):  # fewer lines than a header may have
            try:
                client.sendall(b"X-Drip: 1\r\n")
                ended = client.recv(4096)[9:12] in (b"", b"408")
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                ended = True
            if ended:
                break
    assert ended
    assert running.request("/healthz")[0] == 200


def test_it_can_be_bound_to_an_ipv6_address():
    server = MetricsServer(Metrics(), HealthState(), "::1", 0)
    try:
        server.start()
    except ConnectorError as error:
        pytest.skip(str(error))
    try:
        with closing(socket.create_connection(("::1", server.port), timeout=20)) as client:
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert read_all(client).startswith(b"HTTP/1.0 200 OK\r\n")
    finally:
        server.stop()


def test_a_port_in_use_is_a_clear_error(running):
    port = running.server.port
    other = MetricsServer(Metrics(), HealthState(), "127.0.0.1", port)
    with pytest.raises(ConnectorError, match=rf"127\.0\.0\.1, port {port}: .*set metrics\.port"):
        other.start()
    other.stop()


def test_an_address_of_another_machine_is_a_clear_error():
    with pytest.raises(ConnectorError, match=r"192\.0\.2\.1, port 0: .*set metrics\.host"):
        MetricsServer(Metrics(), HealthState(), "192.0.2.1", 0).start()


def test_a_host_without_an_address_is_a_clear_error():
    with pytest.raises(ConnectorError, match=r"nowhere\.invalid"):
        MetricsServer(Metrics(), HealthState(), "nowhere.invalid", 0).start()


def test_stopping_gives_the_port_back_cuts_connections_and_may_be_repeated(start):
    running = start()
    port = running.server.port
    with closing(connect(running)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        assert running.request("/healthz")[0] == 200  # so the first one has been accepted too
        running.server.stop()
        running.server.stop()
        assert read_all(client) == b""
    again = MetricsServer(Metrics(), HealthState(), "127.0.0.1", port)
    again.start()
    assert again.port == port
    again.stop()


def test_who_has_connected_before_the_stop_is_answered_and_not_reset(start, monkeypatch):
    running = start()
    inner = running.server._server
    busy, stopping = threading.Event(), threading.Event()

    def stuck() -> None:
        """A busy machine: the thread that accepts gets no time until the stop was asked for."""
        busy.set()
        assert stopping.wait(20)

    def shutdown() -> None:
        inner._BaseServer__shutdown_request = True  # as the method itself, before it waits
        stopping.set()

    monkeypatch.setattr(inner, "service_actions", stuck)
    monkeypatch.setattr(inner, "shutdown", shutdown)
    assert busy.wait(20)
    with closing(connect(running)) as early, closing(connect(running)) as late:
        early.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        late.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        running.server.stop()
        for client in (early, late):
            assert read_all(client).startswith(b"HTTP/1.0 200 OK\r\n")


# --- the memory's limit --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal:       2048 kB\nMemFree: 1 kB\n"}, 2 << 20),
        ({"sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"sys/fs/cgroup/memory.max": "4096\n", "proc/meminfo": "MemTotal: 8 kB\n"}, 4096),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 2**63 - 4096),
        (
            {
                "proc/self/cgroup": "0::/system.slice/detector.service\n",
                "sys/fs/cgroup/system.slice/memory.max": "5000\n",
                "sys/fs/cgroup/system.slice/detector.service/memory.max": "6000\n",
            },
            5000,
        ),
    ],
)
def test_the_memory_limit_is_the_least_that_holds_for_the_process(tmp_path, files, expected):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert memory_limit_bytes(tmp_path) == expected
