"""The status page: what it shows and to whom, hostile events as text, labels behind a guard."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from support.browser import browser, chromium
from support.process import wait_until
from support.streams import SOURCE, configuration, new_pipeline, records, run_in_cuts

from stream_detector.cli.status import running_of, shows_alerts
from stream_detector.config.loading.load import parse
from stream_detector.config.models.config import MetricsConfig
from stream_detector.decoding.label_words import label_for, label_words
from stream_detector.errors import ConfigurationError, OutputError
from stream_detector.events import PlainRecord
from stream_detector.pipeline import BatchResult
from stream_detector.telemetry.access import Access
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.logs import configure_logging, register_secret
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.requests import MAX_BODY_BYTES
from stream_detector.telemetry.server import MetricsServer
from stream_detector.telemetry.status.labelling import Labelling
from stream_detector.telemetry.status.pages import StatusPages
from stream_detector.telemetry.status.recent import (
    ALERTS_KEPT,
    STEP_SECONDS,
    STEPS_KEPT,
    Recent,
    RecentAlert,
)
from stream_detector.telemetry.status.shifts import ShiftWatch
from stream_detector.telemetry.status.sparkline import sparkline

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'\u202e&"
TOKEN = "canary-token-0123456789"
PASSWORD = "canary-password"


def hostile_outcomes() -> list[BatchResult]:
    """A stream in whose alerts everything that can be text is hostile."""
    stream = []
    for record in records(2000):
        event = json.loads(record.value or b"")
        event["id"] = f"{event['id']}{HOSTILE}"
        event["user"] = f"{event['user']}{HOSTILE}"
        if event["label"]:
            event["kind"] = HOSTILE
        event["note"] = "</pre>" + HOSTILE
        value = json.dumps(event).encode()
        stream.append(PlainRecord(record.offset, record.timestamp, record.key, value))
    config = configuration()
    return run_in_cuts(new_pipeline(config), config, stream, [700])


@pytest.fixture(scope="module")
def recent() -> Recent:
    made = Recent()
    for outcome in hostile_outcomes():
        made.take(outcome)
    assert len(made.alerts()) > 10
    return made


Serve = Callable[..., int]


@pytest.fixture
def serve(recent: Recent) -> Iterator[Serve]:
    """Starts a server with the page and gives its port."""
    with ExitStack() as stack:

        def start(access: Access | None = None, **pages: Any) -> int:
            metrics, health = Metrics(severities=("low",)), HealthState()
            made = StatusPages(metrics, health, recent, running_of(configuration(), None), **pages)
            server = MetricsServer(metrics, health, "127.0.0.1", 0, made, access=access)
            server.start()
            stack.callback(server.stop)
            return server.port

        yield start


def ask(
    port: int, path: str, method: str = "GET", body: str | None = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


# --- what is kept --------------------------------------------------------------------------------


def test_what_is_kept_is_bounded_and_newest_first(recent: Recent) -> None:
    made = Recent()
    outcomes = hostile_outcomes()
    for _ in range(20):
        for outcome in outcomes:
            made.take(outcome)
    alerts = made.alerts()
    assert len(alerts) == ALERTS_KEPT
    last = json.loads(outcomes[-1].alerts[-1].value or b"")
    assert alerts[0].id == last["id"]
    assert alerts[0].event_id == last["event_id"]
    assert all(len(alert.event) < 2200 for alert in alerts)
    assert all(len(reason.value) <= 301 for alert in alerts for reason in alert.reasons)


def test_time_without_events_is_empty_steps_and_never_more_than_are_kept() -> None:
    now = [100.0]
    made = Recent(monotonic=lambda: now[0])
    made.take(BatchResult(np.array([1.0, 5.0, np.nan]), np.zeros(3, dtype=bool)))
    now[0] += 3 * STEP_SECONDS
    made.take(BatchResult(np.array([2.0]), np.zeros(1, dtype=bool)))
    assert [step.events for step in made.steps()] == [3, 0, 0, 1]
    assert made.steps()[0].highest == 5.0
    assert np.isnan(made.steps()[1].highest)
    now[0] += 1e6
    assert len(made.steps()) == STEPS_KEPT
    assert sum(step.events for step in made.steps()) == 0
    began = [step.began for step in made.steps()]
    assert np.allclose(np.diff(began), STEP_SECONDS)
    assert now[0] - began[-1] < STEP_SECONDS


def test_a_shift_is_the_mean_of_late_against_the_mean_before() -> None:
    rng = np.random.default_rng(3)
    before = rng.normal([10.0, 0.0], [2.0, 1.0], (5000, 2))
    late = rng.normal([16.0, 0.0], [2.0, 1.0], (1000, 2))
    both = np.concatenate([before, late])
    watch = ShiftWatch()
    groups = {"level": [0], "same": [1]}
    for when, rows in ((0.0, before), (30.0, both)):
        count = np.full(2, float(len(rows)))
        watch.observe(when, groups, count, rows.mean(axis=0), rows.std(axis=0))
        if when == 0.0:
            assert watch.shifts() == []
    level, same = watch.shifts()
    assert level.now == pytest.approx(late[:, 0].mean())
    assert level.deviations == pytest.approx(
        (late[:, 0].mean() - before[:, 0].mean()) / before[:, 0].std()
    )
    assert abs(same.deviations) < 0.2


# --- what is shown -------------------------------------------------------------------------------


def test_a_hostile_event_is_text(serve: Serve, recent: Recent) -> None:
    status, headers, body = ask(serve(), "/")
    assert status == 200
    assert "<script" not in body
    assert "<img" not in body
    assert "\u202e" not in body
    assert "&lt;script&gt;document.title=&#x27;owned&#x27;&lt;/script&gt;" in body
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "script-src" not in policy  # so `default-src 'none'` holds
    for link in ("/metrics", "/healthz", "/readyz", "/help"):
        assert f'href="{link}"' in body
    assert not re.search(r'(?:src|href)="(?:https?:)?//', body)
    assert recent.alerts()[0].id in body


def test_the_page_explains_itself_and_every_metric(serve: Serve) -> None:
    _, _, body = ask(serve(), "/help")
    scraped = ask(serve(), "/metrics")[2]
    named = set(
        re.findall(r"^# TYPE (stream_detector_\w+) (?:gauge|counter)", scraped, re.MULTILINE)
    )
    assert len(named) > 30
    assert {name.removesuffix("_total") for name in named} <= {
        name.removesuffix("_total") for name in re.findall(r"stream_detector_\w+", body)
    }


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1:9108", True),
        ("[::1]:9108", True),
        ("localhost:9108", True),
        ("rebound.example:9108", False),
        ("", False),
        ("[broken", False),
    ],
)
def test_a_foreign_name_for_this_machine_is_not_shown_any_event(
    serve: Serve, recent: Recent, host: str, shown: bool
) -> None:
    status, _, body = ask(serve(), "/", Host=host)
    assert status == 200
    assert (recent.alerts()[0].id in body) is shown
    assert ("metrics.show_alerts" in body) is not shown


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({}, None),
        ({"host": "localhost"}, None),
        ({"host": "0.0.0.0"}, False),
        ({"host": "metrics.example"}, False),
        ({"host": "0.0.0.0", "show_alerts": True}, True),
        ({"show_alerts": False}, False),
        ({"host": "0.0.0.0", "username": "u", "password": "p"}, True),
    ],
)
def test_who_sees_alerts_by_default(section: dict[str, Any], expected: bool | None) -> None:
    assert shows_alerts(MetricsConfig(**section)) is expected


def test_the_page_asks_for_the_password_too(serve: Serve) -> None:
    access = Access(MetricsConfig(username="u", password=PASSWORD))
    port = serve(access, labelling=labelling(Recent(), []))
    for method, path in (("GET", "/"), ("GET", "/help"), ("GET", "/label"), ("POST", "/label")):
        assert ask(port, path, method)[0] == 401


def test_the_figures_of_the_page_are_those_of_the_metrics(recent: Recent) -> None:
    metrics, health = Metrics(severities=("low",)), HealthState()
    metrics.add_events({SOURCE: 12_345})
    metrics.set_lag(SOURCE, 678, 90.0)
    metrics.add_decisions(0, 1000, {"low": 3}, 1)
    metrics.set_threshold(0, 4.25, 0.005)
    body = StatusPages(metrics, health, recent).get({"PATH_INFO": "/", "HTTP_HOST": "x"})
    assert body is not None
    text = body[2].decode()
    for shown in ("12,345 in all", "678 records", "1 min 30 s", "0.4 %", "budget 0.5 %", "4.25"):
        assert shown in text
    assert re.search(r"memory</dt><dd>\d+ MiB", text)
    assert "not ready" in text


@pytest.mark.parametrize("values", [[], [1.0], [np.nan] * 3, [1.0, np.nan, 3.0, 2.0], [5.0] * 4])
def test_a_sparkline_takes_any_series(values: list[float]) -> None:
    for rule in (np.nan, 2.0):
        for area in (True, False):
            drawn = sparkline(values, "<x>", rule=rule, area=area)
            assert "nan" not in drawn
            assert "&lt;x&gt;" in drawn
            numbers = re.findall(r"(-?\d+\.\d),(-?\d+\.\d)", drawn)
            assert all(0 <= float(x) <= 300 and 0 <= float(y) <= 60 for x, y in numbers)


# --- labels --------------------------------------------------------------------------------------


def labelling(recent: Recent, written: list[tuple[str | None, str]], **options: Any) -> Labelling:
    def write(alert: RecentAlert, word: str) -> None:
        if word == "fails":
            raise OutputError(f"the broker is away, {TOKEN}")
        written.append((alert.event_id, word))

    return Labelling(TOKEN, ("fraud", "normal", "fails"), recent, write, **options)


def post(port: int, body: dict[str, str], **changes: str) -> tuple[int, str]:
    headers = {
        "Content_Type": "application/x-www-form-urlencoded",
        "Origin": f"http://127.0.0.1:{port}",
        **changes,
    }
    headers = {name: value for name, value in headers.items() if value}
    status, _, text = ask(port, "/label", "POST", urlencode(body), **headers)
    return status, text


def test_without_a_token_nobody_can_label(serve: Serve, recent: Recent) -> None:
    port = serve()
    assert "/label" not in ask(port, "/")[2]
    assert ask(port, "/label?alert=x")[0] == 404
    assert post(port, {"alert": "x", "label": "fraud", "token": ""})[0] == 405


def test_a_label_is_written_once_for_a_right_request(
    serve: Serve, recent: Recent, caplog: pytest.LogCaptureFixture
) -> None:
    written: list[tuple[str | None, str]] = []
    port = serve(labelling=labelling(recent, written))
    alert = recent.alerts()[0]
    form = ask(port, f"/label?alert={alert.id}")[2]
    assert "<script" not in form
    assert "</pre>&lt;" not in form
    assert 'value="fraud"' in form
    right = {"alert": alert.id, "label": "fraud", "token": TOKEN}
    with caplog.at_level("DEBUG"):
        status, text = post(port, right, Sec_Fetch_Site="same-origin")
    assert (status, written) == (200, [(alert.event_id, "fraud")])
    page = ask(port, "/")[2]
    assert "labelled fraud" in page
    for place in (form, text, page, caplog.text):
        assert TOKEN not in place


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Origin": ""}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Content_Type": "text/plain"}, 415),
    ],
)
def test_a_request_of_another_site_is_refused_even_with_the_token(
    serve: Serve, recent: Recent, changes: dict[str, str], expected: int
) -> None:
    written: list[tuple[str | None, str]] = []
    port = serve(labelling=labelling(recent, written))
    body = {"alert": recent.alerts()[0].id, "label": "fraud", "token": TOKEN}
    assert post(port, body, **changes)[0] == expected
    assert written == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"token": "wrong"}, 403),
        ({"token": ""}, 403),
        ({"label": "froud"}, 400),
        ({"alert": "events-0-999999999"}, 404),
        ({"padding": "x" * MAX_BODY_BYTES}, 413),
    ],
)
def test_a_wrong_form_is_refused(
    serve: Serve, recent: Recent, changes: dict[str, str], expected: int
) -> None:
    written: list[tuple[str | None, str]] = []
    port = serve(labelling=labelling(recent, written))
    body = {"alert": recent.alerts()[0].id, "label": "fraud", "token": TOKEN, **changes}
    assert post(port, body)[0] == expected
    assert written == []


def test_a_label_is_never_given_by_get(serve: Serve, recent: Recent) -> None:
    written: list[tuple[str | None, str]] = []
    port = serve(labelling=labelling(recent, written))
    alert = recent.alerts()[0].id
    ask(port, f"/label?alert={alert}&label=fraud&token={TOKEN}")
    for method in ("PUT", "DELETE"):
        assert ask(port, "/label", method)[0] == 405
    assert written == []


def test_a_broker_that_does_not_take_it_is_told_without_the_secret(
    serve: Serve, recent: Recent, capsys: pytest.CaptureFixture[str]
) -> None:
    register_secret(TOKEN)
    configure_logging("text", "debug")
    port = serve(labelling=labelling(recent, []))
    body = {"alert": recent.alerts()[0].id, "label": "fails", "token": TOKEN}
    status, text = post(port, body)
    assert status == 502
    assert "the broker is away" in text
    logged = capsys.readouterr().err
    assert "label-failed" in logged
    assert TOKEN not in text + logged


def test_a_token_is_long_and_has_a_topic_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter than 16"):
        MetricsConfig(label_token="short")
    with pytest.raises(ValueError, match="one of label_token"):
        MetricsConfig(label_token=TOKEN, label_token_file="x")
    settings = {"name": "t", "features": [{"numeric": "x"}], "metrics": {"label_token": TOKEN}}
    with pytest.raises(ConfigurationError, match=r"needs `kafka.labels`") as raised:
        parse(json.dumps(settings), "f", {})
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("labels", "words", "known", "unknown"),
    [
        ({}, ("fraud", "normal"), {"1": "fraud", "genuine": "normal"}, ["froud", ""]),
        (
            {"positive": ["neptune", "smurf"]},
            ("neptune", "smurf", "normal"),
            {"fraud": "neptune", "smurf": "smurf", "normal": "normal"},
            ["benign", "neptun", "1"],
        ),
        (
            {"negative": ["benign"]},
            ("fraud", "benign"),
            {"normal": "benign", "fraud": "fraud"},
            ["malign"],
        ),
    ],
)
def test_labels_have_the_words_of_the_configuration(
    labels: dict[str, Any], words: tuple[str, ...], known: dict[str, str], unknown: list[str]
) -> None:
    section = configuration(labels={"field": "label", "delay": "1h", **labels}).labels
    assert section is not None
    assert label_words(section) == words
    assert {word: label_for(word, section) for word in known} == known
    for word in unknown:
        with pytest.raises(ConfigurationError, match="is no label"):
            label_for(word, section)


# --- in a browser --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "dark"), [(1200, False), (1200, True), (390, False)], ids=["light", "dark", "phone"]
)
def test_in_a_browser_nothing_runs_and_nothing_is_fetched(
    serve: Serve, recent: Recent, tmp_path: Path, width: int, dark: bool
) -> None:
    programme = chromium()
    if programme is None:
        pytest.skip("no Chromium: apt-get install chromium")
    port = serve(labelling=labelling(recent, []))
    with browser(programme) as page:
        page.open(f"http://127.0.0.1:{port}/", width=width, dark=dark)
        assert page.complaints == []
        assert page.requests == [f"http://127.0.0.1:{port}/"]
        assert page.value("document.title") == "test - stream-detector"
        assert page.value("document.querySelectorAll('script,img,iframe').length") == 0
        assert page.value("document.body.innerText").count("<script>document.title") > 10
        # The style sheet is in force, and nothing is wider than the screen.
        colour = page.value("getComputedStyle(document.body).backgroundColor")
        assert colour == ("rgb(15, 20, 25)" if dark else "rgb(244, 246, 248)")
        assert page.value("document.documentElement.scrollWidth") <= width
        page.screenshot(tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 10_000


def test_in_a_browser_a_label_is_given_by_the_form(serve: Serve, recent: Recent) -> None:
    programme = chromium()
    if programme is None:
        pytest.skip("no Chromium: apt-get install chromium")
    written: list[tuple[str | None, str]] = []
    port = serve(labelling=labelling(recent, written))
    alert = recent.alerts()[2]
    with browser(programme) as page:
        page.open(f"http://127.0.0.1:{port}/label?alert={alert.id}")
        assert page.complaints == []
        page.value("document.querySelector('[value=normal]').checked = true")
        page.value(f"document.querySelector('[type=password]').value = {json.dumps(TOKEN)}")
        page.value("document.querySelector('button').click()")
        wait_until(lambda: written or page.value("''"), "the label")
        assert written == [(alert.event_id, "normal")]
