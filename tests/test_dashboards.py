"""The dashboards and rules by themselves: their form, their words, and metrics that exist."""

from __future__ import annotations

import re

import pytest
import yaml
from support.panels import (
    DASHBOARDS,
    DIRECTORY,
    METRIC,
    alerts,
    every_panel,
    operands,
    panels,
    rules,
    targets,
)
from support.prometheus import REPOSITORY, RULES

from dashboards.__main__ import text
from dashboards.parts import RUNBOOK, lines
from stream_detector.telemetry.forward_metrics import ForwardMetrics
from stream_detector.telemetry.metrics import Metrics

QUERIES = [pytest.param(target["expr"], id=name) for name, target in targets()]
PANELS = [pytest.param(panel, id=f"{name}: {panel['title']}") for name, panel in every_panel()]
WORDS = (REPOSITORY / "docs" / "runbook.md").read_text()
HERE = {'job=~"$job"', 'instance=~"$instance"'}
OF_PARTITIONS = HERE | {'topic=~"$topic"', 'partition=~"$partition"'}


def anchors() -> set[str]:
    """As a Markdown viewer makes them of the runbook's headings."""
    headings = re.findall(r"^#+ (.+)$", WORDS, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def exported() -> set[str]:
    """Every series' name that a detector or its forwarder can show, as Prometheus stores it."""
    names = {"up"}
    forward = ForwardMetrics(["desk"], ["timeout"])
    for family in (*Metrics().registry.collect(), *forward.registry.collect()):
        if family.type == "histogram":
            names.add(f"{family.name}_bucket")
            # A score may be negative, and OpenMetrics forbids a sum that may fall.
            if not family.name.endswith("score"):
                names |= {f"{family.name}_sum", f"{family.name}_count"}
        else:
            names.add(family.name + ("_total" if family.type == "counter" else ""))
    return names


@pytest.mark.parametrize("name", ["operations", "detection"])
def test_the_json_is_what_its_source_gives(name):
    assert (DIRECTORY / f"{name}.json").read_text() == text(name), "run: make dashboards"


def test_there_is_no_dashboard_without_a_source():
    assert set(DASHBOARDS) == {"operations", "detection"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_of_a_form_that_current_grafana_takes(name):
    dashboard = DASHBOARDS[name]
    assert 36 <= dashboard["schemaVersion"] <= 38
    assert dashboard["editable"] is False
    assert dashboard["uid"] == f"stream-detector-{name}"
    kinds = {panel["type"] for panel in panels(name)}
    assert kinds <= {"timeseries", "stat", "table", "heatmap", "bargauge"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_variables_narrow_down_to_a_partition(name):
    variables = {each["name"]: each for each in DASHBOARDS[name]["templating"]["list"]}
    chosen = ["job", "group", "instance", "topic", "partition"]
    assert list(variables) == ["datasource", *chosen, "runbook"]
    assert "id" not in variables["datasource"]  # with one, panels say it was not found
    for variable in (variables[each] for each in chosen):
        assert variable["datasource"]["uid"] == "${datasource}"
        assert (variable["multi"], variable["refresh"]) == (True, 2)
    # "All" of the instances are those of the groups chosen, not any.
    assert "allValue" not in variables["instance"]
    assert 'group=~"$group"' in variables["instance"]["query"]["query"]
    assert variables["runbook"]["query"] == RUNBOOK


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_says_what_it_shows_in_which_unit_and_leads_to_the_runbook(panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert len(panel["description"]) > 25
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    (link,) = panel["links"]
    address, anchor = link["url"].split("#")
    assert address == "${runbook}"
    assert anchor in anchors()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_their_own_numbers_and_titles_and_do_not_overlap(name):
    placed = DASHBOARDS[name]["panels"]
    assert len({panel["id"] for panel in placed}) == len(placed)
    assert len({panel["title"] for panel in placed}) == len(placed)
    covered: set[tuple[int, int]] = set()
    for grid in (panel["gridPos"] for panel in placed):
        assert grid["x"] + grid["w"] <= 24
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & covered
        covered |= cells


@pytest.mark.parametrize("expression", QUERIES)
def test_every_expression_heeds_the_variables_and_the_rate_interval(expression):
    selectors = re.findall(r"\b((?:stream_detector|process|python)_\w+)(\{[^}]*\})?", expression)
    assert selectors
    for _, selector in selectors:
        matchers = set(selector.strip("{}").split(", "))
        assert matchers >= HERE, expression
        assert not matchers & (OF_PARTITIONS - HERE) or matchers >= OF_PARTITIONS, expression
    assert "{@" not in expression
    for found in re.finditer(r"(\w*)\(stream_detector_\w+_(?:total|bucket|sum)\b", expression):
        totals = ("labelled_events_total", "replay_mismatches_total")
        assert found[1] in {"rate", "increase"} or any(each in expression for each in totals)


def test_every_metric_by_partition_can_be_narrowed_to_one():
    for _, target in targets():
        for name in ("consumer_lag_records", "consumer_lag_seconds", "buffered_records"):
            for selector in re.findall(rf"stream_detector_{name}(\{{[^}}]*\}})", target["expr"]):
                assert set(selector.strip("{}").split(", ")) >= OF_PARTITIONS


@pytest.mark.parametrize("expression", QUERIES)
def test_a_panel_asks_only_for_metrics_that_a_detector_shows(expression):
    assert set(METRIC.findall(expression)) <= exported()


def test_a_rule_asks_only_for_metrics_that_a_detector_shows_or_a_rule_records():
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        expression = rule["expr"]
        for name in recorded:
            expression = expression.replace(name, "")
        assert set(METRIC.findall(expression)) <= exported(), rule
        assert set(re.findall(r"\w+:\w+:\w+", rule["expr"])) <= recorded, rule


def test_a_metric_that_does_not_exist_would_be_found():
    (target,) = lines(
        "t", "d", "s", _query("rate(stream_detector_evnts_total{@}[5m])"), runbook=""
    ).at(1, 0, 0)["targets"]
    assert not set(METRIC.findall(target["expr"])) <= exported()


def _query(expression: str):
    from dashboards.parts import Query  # noqa: PLC0415 - of this test alone

    return Query(expression)


# --- alert rules ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_has_a_severity_words_and_a_section_in_the_runbook(rule):
    assert rule["labels"]["severity"] in {"critical", "warning"}
    annotations = rule["annotations"]
    assert annotations["summary"]
    assert annotations["description"].endswith(".")
    assert annotations["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
    assert rule["alert"].lower() in anchors()


def test_every_section_of_an_alert_says_what_it_means_how_to_look_and_what_to_do():
    sections = re.split(r"^## ", WORDS, flags=re.MULTILINE)
    named = {section.split("\n", 1)[0]: section for section in sections}
    assert {name for name in named if name.startswith("StreamDetector")} == {
        rule["alert"] for rule in alerts()
    }
    for rule in alerts():
        for heading in ("**Means.**", "**Look.**", "**Do.**"):
            assert heading in named[rule["alert"]], rule["alert"]


def test_every_panel_that_the_runbook_names_exists():
    words = WORDS.replace("\n", " ")
    titles = {panel["title"] for _, panel in every_panel()}
    titles |= {
        dashboard["title"].replace("Stream detector: ", "") for dashboard in DASHBOARDS.values()
    }
    lower = {title.lower() for title in titles}
    named = set(re.findall(r"(?<!\*)\*([A-Z][\w -]+)\*(?!\*)", words))
    assert len(named) > 20
    assert {name for name in named if name.lower() not in lower} <= {"Targets", "Now", "Rising"}


def test_every_alert_is_tested_firing_and_quiet():
    files = sorted(RULES.parent.glob("rules.*test.yml"))
    assert len(files) == 2
    every = [test for file in files for test in yaml.safe_load(file.read_text())["tests"]]
    firing, quiet = set(), set()
    for test in every:
        for case in test.get("alert_rule_test", []):
            (firing if case["exp_alerts"] else quiet).add(case["alertname"])
        for case in test.get("promql_expr_test", []):
            for name in re.findall(r'alertname="(\w+)"', case["expr"]):
                (firing if case["exp_samples"] else quiet).add(name)
    names = {rule["alert"] for rule in alerts()}
    assert firing == names
    assert quiet == names


def test_an_alert_rule_is_taken_apart_at_its_comparisons():
    assert operands("a > 1\nand on (job)\nb - c < 2 * d\nunless\ne == 0\n") == [
        "a > bool 1",
        "b - c < bool 2 * d",
        "e == bool 0",
    ]
