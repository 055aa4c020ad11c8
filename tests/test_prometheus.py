"""A real Prometheus scrapes a running detector: every panel and every rule brings data."""

from __future__ import annotations

import itertools
import json
import math
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.clients import Message, produce, unique_name
from support.panels import DASHBOARDS, alerts, every_panel, filled_in, operands, rules, targets
from support.process import DaemonProcess, wait_until
from support.prometheus import Prometheus, require, shortened
from support.streams import SETTINGS, records
from test_labels_topic import label

from stream_detector.alerts import SEVERITIES
from stream_detector.config.loading.load import parse
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.embedded import CollectingOutput, EmbeddedSource
from stream_detector.daemon.loop import Daemon
from stream_detector.daemon.shard_assignment import ShardFactories
from stream_detector.events import PlainRecord, Record
from stream_detector.snapshots import DirectoryStore
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.server import MetricsServer

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
ABSENT = "StreamDetectorMetricsMissing"
"""The one expression without data while all is well: ``absent()`` of what is there."""

OF_FORWARD = "stream_detector_forward_"
"""Metrics of another process: promtool tests their rules, ``test_dashboards`` their names."""

OF_JOURNAL = "StreamDetectorForeignRecords 0"
"""Has no data without a broker, where there is no journal; the test at a real one asks for it."""

SHORT = {"bucket": "10m", "season": "none"}
LABELLED: dict[str, Any] = {
    **SETTINGS,
    "labels": {"field": "label", "delay": "1h", "absent": "normal", "keep_first": 1000},
    "drift": [{"on": "inputs"}, {"on": "score"}],
    "challenger": {"detector": {"kind": "loda"}},
    "state": {"interval": "2s"},
    "incidents": {},
    "monitors": [
        {"kind": "rate", "name": "by_user", "key": "user", **SHORT, "max_keys": 50},
        {"kind": "rate", "name": "together", **SHORT},
    ],
}


def endless() -> Iterator[PlainRecord]:
    """``records`` without end, in the order of time."""
    start_ms = 0
    for number in itertools.count():
        some = records(2000, seed=number)
        for record in some:
            event = json.loads(record.value or b"")
            time_ms = event["time"] + start_ms
            event |= {"id": f"{number}-{event['id']}", "time": time_ms}
            yield PlainRecord(record.offset, time_ms, b"k", json.dumps(event).encode())
        start_ms += some[-1].timestamp - some[0].timestamp


def polls(stopping: threading.Event) -> Iterator[dict[int, list[Record]]]:
    """Some 1,500 events a second over two partitions, one record in 60 broken, until stopped."""
    offsets, stream = [0, 0], endless()
    while not stopping.wait(0.04):
        polled: dict[int, list[Record]] = {0: [], 1: []}
        for number, record in enumerate(itertools.islice(stream, 60)):
            partition = number % 2
            value = record.value if number else b"{"
            polled[partition].append(PlainRecord(offsets[partition], record.timestamp, b"k", value))
            offsets[partition] += 1
        yield polled


@contextmanager
def embedded(directory: Path) -> Iterator[str]:
    """A whole daemon without a broker, in a thread; gives the address of its metrics."""
    config = parse(json.dumps(LABELLED), "test.yaml", {}).config
    stopping = threading.Event()
    metrics, health = Metrics(severities=SEVERITIES), HealthState(broker_timeout_seconds=None)
    server = MetricsServer(metrics, health, "127.0.0.1", 0)
    server.start()
    metrics.set_config(config.name, "test", config.detector.kind, "embedded")
    source = EmbeddedSource(2, polls(stopping))
    output = CollectingOutput(source, keep=1000)
    kafka = KafkaConfig(
        bootstrap_servers="embedded",
        topics=["events"],
        group="test",
        alerts="alerts",
        dead_letters="dead-letters",
        incidents="incidents",
    )
    parts = ShardFactories(
        store=lambda number: DirectoryStore(directory / str(number), 3),
        output=lambda _shard: output,
    )
    daemon = Daemon(config, kafka, source, metrics, health, parts, stopping=stopping.is_set)
    thread = threading.Thread(target=daemon.run, name="daemon")
    thread.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        stopping.set()
        thread.join(timeout=60)
        server.stop()
    assert not thread.is_alive()


Query = Callable[[str], list[dict[str, Any]]]


def without_journal() -> dict[str, str]:
    """Every expression that has data of a detector without a broker."""
    expressions = of_panels() | of_rules()
    del expressions[OF_JOURNAL]
    return expressions


def finite(series: dict[str, Any]) -> bool:
    return math.isfinite(float(series["value"][1]))


def of_panels() -> dict[str, str]:
    return {name: filled_in(target["expr"]) for name, target in targets()}


def of_rules() -> dict[str, str]:
    """Recording rules as they are, the sides of each alert's conditions one by one."""
    found = {rule["record"]: shortened(rule["expr"]) for rule in rules() if "record" in rule}
    for rule in alerts():
        if rule["alert"] != ABSENT and OF_FORWARD not in rule["expr"]:
            for number, operand in enumerate(operands(rule["expr"])):
                found[f"{rule['alert']} {number}"] = shortened(operand)
    return found


def wait_for_data(query: Query, expressions: dict[str, str]) -> None:
    """Until every expression has brought a number. Fails with those that never do."""
    left, deadline = dict(expressions), time.monotonic() + 100
    while left:
        left = {name: each for name, each in left.items() if not any(map(finite, query(each)))}
        assert not left or time.monotonic() < deadline, f"no data: {left}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, str]]:
    """A detector without a broker and the Prometheus that scrapes it."""
    require("prometheus")
    directory = tmp_path_factory.mktemp("watched")
    with (
        embedded(directory / "state") as address,
        Prometheus(directory / "prometheus", address) as prometheus,
    ):
        wait_for_data(prometheus.query, without_journal())
        yield prometheus, address


def test_every_panel_and_every_rule_brings_data_of_a_running_detector(watched):
    prometheus, _ = watched
    for name, expression in without_journal().items():
        assert prometheus.query(expression), name
    (absent,) = (rule["expr"] for rule in alerts() if rule["alert"] == ABSENT)
    assert prometheus.query(absent) == []


def test_every_series_has_the_labels_of_its_legend(watched):
    prometheus, _ = watched
    for name, target in targets():
        shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
        for series in prometheus.query(filled_in(target["expr"])):
            assert all(series["metric"].get(label) for label in shown), (name, series["metric"])


def test_the_table_has_the_columns_that_it_renames(watched):
    prometheus, _ = watched
    for _, panel in every_panel():
        if panel["type"] == "table":
            (target,), (change,) = panel["targets"], panel["transformations"]
            (columns,) = {tuple(s["metric"]) for s in prometheus.query(filled_in(target["expr"]))}
            assert {*columns, "Value"} == set(change["options"]["renameByName"])


def test_the_heat_maps_are_given_cumulative_buckets(watched):
    prometheus, _ = watched
    maps = [panel for _, panel in every_panel() if panel["type"] == "heatmap"]
    assert len(maps) == 2
    for (target,) in (panel["targets"] for panel in maps):
        assert target["format"] == "heatmap"
        result = prometheus.query(filled_in(target["expr"]))
        counts = sorted((float(each["metric"]["le"]), float(each["value"][1])) for each in result)
        assert counts[-1][0] == math.inf
        values = [count for _, count in counts]
        assert all(low <= high + 1e-9 for low, high in itertools.pairwise(values))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_variable_finds_what_there_is(watched, name):
    prometheus, address = watched
    expected = {
        "job": ["stream-detector"],
        "group": ["test"],
        "instance": [address],
        "topic": ["events"],
        "partition": ["0", "1"],
    }
    for variable in DASHBOARDS[name]["templating"]["list"]:
        if variable["type"] == "query":
            asked = variable["query"]["query"]
            series, wanted = re.fullmatch(r"label_values\((.+), (\w+)\)", asked).groups()
            found = prometheus.ask(f"label/{wanted}/values", **{"match[]": filled_in(series)})
            assert found == expected[variable["name"]], asked


def test_prometheus_evaluates_every_rule_without_a_complaint(watched):
    prometheus, _ = watched
    groups = prometheus.ask("rules")["groups"]
    assert sum(len(group["rules"]) for group in groups) == len(rules())
    for group in groups:
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule


def test_every_metric_shown_has_a_line_in_the_document(watched):
    _, address = watched
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        shown = set(re.findall(r"^# TYPE (\w+) ", answer.read().decode(), re.MULTILINE))
    documented = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE))
    assert len(shown) > 40
    assert shown <= documented


def test_a_detector_that_ends_is_reported_with_its_place_in_the_runbook(tmp_path):
    require("prometheus")
    with ExitStack() as stack:
        with embedded(tmp_path / "state") as address:
            # A second target that never was a detector: of it nothing is said.
            started = Prometheus(tmp_path / "prometheus", address, "127.0.0.1:1")
            prometheus = stack.enter_context(started)
            wait_for_data(prometheus.query, {"build": "stream_detector_build_info"})

        def fired() -> list[dict[str, Any]]:
            found = prometheus.ask("alerts")["alerts"]
            down = [a for a in found if a["labels"]["alertname"] == "StreamDetectorDown"]
            return [each for each in down if each["state"] == "firing"]

        (alert,) = wait_until(fired, "the alert")
        assert alert["labels"]["instance"] == address
        assert alert["annotations"]["summary"] == f"{address} cannot be scraped"
        assert alert["annotations"]["runbook_url"] == "docs/runbook.md#streamdetectordown"


# --- with a real broker --------------------------------------------------------------------------


def test_every_panel_and_every_rule_brings_data_of_a_daemon_at_a_real_broker(
    kafka, topic_factory, tmp_path
):
    require("prometheus")
    kinds = ("events", "labels", "alerts", "dead-letters", "incidents")
    names = {kind: topic_factory(kind) for kind in kinds}
    labelled = {name: part for name, part in LABELLED["labels"].items() if name != "field"}
    settings = {
        **LABELLED,
        "labels": labelled,
        "kafka": {
            "bootstrap_servers": kafka.bootstrap,
            "topics": [names["events"]],
            "labels": names["labels"],
            "group": unique_name("group"),
            "alerts": names["alerts"],
            "dead_letters": names["dead-letters"],
            "incidents": names["incidents"],
        },
        "state": {"directory": str(tmp_path / "state"), "interval": "2s"},
        "metrics": {"port": 0},
    }
    stream = endless()
    stopping = threading.Event()

    def feed() -> None:
        while not stopping.is_set():
            some = [next(stream) for _ in range(500)]
            events = [Message(r.value, 0, timestamp_ms=r.timestamp) for r in some]
            produce(kafka.bootstrap, names["events"], [*events, Message(b"{", 0)])
            found = (label(json.loads(r.value or b""), 0) for r in some)
            produce(
                kafka.bootstrap,
                names["labels"],
                [Message(r.value, 0, timestamp_ms=r.timestamp) for r in found],
            )

    feeder = threading.Thread(target=feed, name="feeder")
    with DaemonProcess(tmp_path, settings) as daemon:
        address = daemon.url().removeprefix("http://")
        feeder.start()
        try:
            with Prometheus(tmp_path / "prometheus", address) as prometheus:
                wait_for_data(prometheus.query, of_panels() | of_rules())
                at_kafka = {
                    "lag": f'stream_detector_consumer_lag_records{{topic="{names["events"]}"}}',
                    "commits": 'rate(stream_detector_commits_total{result="ok"}[2s]) > 0',
                    "labels": 'stream_detector_labels_total{result="matched"} > 0',
                    "found": 'stream_detector_labelled_events_total{label="anomalous"} > 0',
                    "joined": "stream_detector_rebalances_total > 0",
                }
                wait_for_data(prometheus.query, at_kafka)
        finally:
            stopping.set()
            feeder.join(timeout=60)
