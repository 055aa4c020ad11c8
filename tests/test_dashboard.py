"""The dashboard shows data of a running detector, in Prometheus' own judgement, panel by panel."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from kafka_broker.broker import free_ports

from stream_detector.events import Rejection, TopicPartition
from stream_detector.telemetry.families import STAGES
from stream_detector.telemetry.metrics import Metrics

REPOSITORY = Path(__file__).resolve().parents[1]
DASHBOARD = json.loads((REPOSITORY / "config" / "grafana" / "stream-detector.json").read_text())
PANELS = DASHBOARD["panels"]
TARGETS = [
    pytest.param(panel, target, id=f"{panel['title']} {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
MATCHERS = {'job=~"$job"', 'instance=~"$instance"'}
SCRAPES, SCRAPE_INTERVAL = 41, 15
METRIC = re.compile(r"\bstream_detector_\w+")


def test_the_dashboard_is_of_a_form_that_current_grafana_takes():
    assert 36 <= DASHBOARD["schemaVersion"] <= 38
    assert DASHBOARD["editable"] is False
    assert DASHBOARD["uid"]
    kinds = {panel["type"] for panel in PANELS}
    assert kinds <= {"timeseries", "stat", "table", "heatmap", "bargauge"}


def test_the_variables_are_data_source_job_and_instance():
    assert list(VARIABLES) == ["datasource", "job", "instance"]
    assert "id" not in VARIABLES["datasource"]  # with one, panels say it was not found
    for name in ("job", "instance"):
        variable = VARIABLES[name]
        assert variable["datasource"]["uid"] == "${datasource}"
        assert (variable["multi"], variable["allValue"], variable["refresh"]) == (True, ".+", 2)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_says_what_it_shows_and_in_which_unit(panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"


def test_panels_have_their_own_numbers_and_titles_and_do_not_overlap():
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    covered: set[tuple[int, int]] = set()
    for grid in (panel["gridPos"] for panel in PANELS):
        assert grid["x"] + grid["w"] <= 24
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & covered
        covered |= cells


@pytest.mark.parametrize(("panel", "target"), TARGETS)
def test_every_expression_heeds_job_and_instance_and_the_rate_interval(panel, target):
    expression = target["expr"]
    selectors = re.findall(r"stream_detector_\w+(\{[^}]*\})?", expression)
    assert selectors
    for selector in selectors:
        assert set(selector.strip("{}").split(", ")) >= MATCHERS, expression
    assert set(re.findall(r"\[(.+?)\]", expression)) <= {"$__rate_interval", "1h"}
    for counter in re.finditer(r"(\w*)\(stream_detector_\w+_(?:total|bucket|sum)\b", expression):
        assert counter.group(1) in {"rate", "increase"}, expression


def record_activity(metrics: Metrics, step: int) -> None:
    """What the daemon reports between two scrapes, touching every family that a panel shows."""
    source = TopicPartition("transactions", step % 2)
    metrics.add_events({source: 3000 + step})
    metrics.add_rejections([Rejection("decode", "json", "")])
    metrics.observe_scores(np.random.default_rng(step).normal(10.0, 4.0, 3000))
    for shard in range(2):
        metrics.begin_shard(shard)
        metrics.add_decisions(shard, 1500, {"high": 1}, 1)
        metrics.set_threshold(shard, 25.0)
        metrics.add_learning(shard, 6, 1500, 75)
        metrics.set_keys(shard, "customer", 1000 + step)
        metrics.add_evicted_keys(shard, "customer", 1)
        metrics.set_newest_snapshot(shard, time.time(), 1 << 20)
    for stage in STAGES:
        metrics.observe_stage(stage, 0.01)
    metrics.set_lag(source, 10, 0.5)
    metrics.set_assignment(2, 2)
    metrics.add_rebalance()
    metrics.add_broker_error("timeout")
    metrics.watch_ready(lambda: True)


def scraped_lines(end: int) -> Iterator[str]:
    """Ten minutes of scrapes of one detector, as OpenMetrics text with timestamps."""
    metrics = Metrics()
    for step in range(SCRAPES):
        record_activity(metrics, step)
        moment = end - (SCRAPES - 1 - step) * SCRAPE_INTERVAL
        for family in metrics.collect():
            for sample in family.samples:
                labels = {**sample.labels, "job": "stream-detector", "instance": "detector:9108"}
                text = ",".join(f'{name}="{value}"' for name, value in labels.items())
                yield f"{sample.name}{{{text}}} {sample.value} {moment}\n"
    yield "# EOF\n"


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], list[Any]]]:
    """Asks a real Prometheus that has scraped a detector for ten minutes."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        pytest.skip("prometheus is not installed: the dashboard's expressions were NOT run")
    directory = tmp_path_factory.mktemp("prometheus")
    end = int(time.time()) - 60
    (directory / "metrics").write_text("".join(scraped_lines(end)))
    (directory / "prometheus.yml").write_text("")
    fill = ["promtool", "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run(
        [*fill, str(directory / "metrics"), str(directory / "data")],
        capture_output=True,
        check=True,
        timeout=60,
    )
    (port,) = free_ports(1)
    server = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_ready(address, server)
        yield lambda expression: _instant_query(address, expression, end)
    finally:
        server.kill()
        server.wait(timeout=10)


def _wait_until_ready(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{address}/-/ready", timeout=5).close()
        except OSError:  # not listening yet, or not ready (an HTTPError is an OSError, too)
            assert server.poll() is None, "prometheus ended while starting"
            assert time.monotonic() < deadline, "prometheus did not become ready"
            time.sleep(0.05)
        else:
            return


def _instant_query(address: str, expression: str, moment: int) -> list[Any]:
    form = urllib.parse.urlencode({"query": expression, "time": moment}).encode()
    try:
        with urllib.request.urlopen(f"{address}/api/v1/query", form, timeout=10) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        pytest.fail(f"{expression}: {json.load(error)['error']}")
    return answer["data"]["result"]


def fill_in(expression: str) -> str:
    """The expression as Grafana sends it with everything selected."""
    values = {"$__rate_interval": "1m", "$job": ".+", "$instance": ".+"}
    for variable, value in values.items():
        expression = expression.replace(variable, value)
    return expression


@pytest.mark.parametrize(("panel", "target"), TARGETS)
def test_every_expression_brings_data_with_the_labels_of_its_legend(panel, target, query):
    result = query(fill_in(target["expr"]))
    assert result, target["expr"]
    for series in result:
        assert np.isfinite(float(series["value"][1])), target["expr"]
        shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
        assert all(series["metric"].get(label) for label in shown), series["metric"]


def test_the_heatmap_is_given_cumulative_buckets(query):
    (panel,) = (panel for panel in PANELS if panel["type"] == "heatmap")
    assert [target["format"] for target in panel["targets"]] == ["heatmap"]
    result = query(fill_in(panel["targets"][0]["expr"]))
    counts = sorted((float(each["metric"]["le"]), float(each["value"][1])) for each in result)
    assert counts[-1][0] == float("inf")
    assert all(low <= high + 1e-9 for (_, low), (_, high) in pairwise(counts))


def test_the_variables_find_the_detector(query):
    assert query(fill_in(re.search(r"\((.+?), ", VARIABLES["job"]["definition"]).group(1)))


def test_the_rules_speak_only_of_metrics_that_the_detector_has():
    metrics = Metrics()
    record_activity(metrics, 0)
    known = {sample.name for family in metrics.collect() for sample in family.samples}
    rules = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "rules.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        assert set(METRIC.findall(rule["expr"])) <= known, rule["alert"]
