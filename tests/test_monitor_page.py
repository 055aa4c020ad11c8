"""Monitors seen from outside: metrics with few labels, the page of a key's band, the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support.browser import browser, chromium
from support.commands import run
from test_monitor_alerts import HOSTILE, SETTINGS, records
from test_monitors import HOUR, START
from test_status_page import ask

from stream_detector.daemon.monitor_reporter import MonitorReporter
from stream_detector.monitors import Monitor, MonitorEvents
from stream_detector.monitors.level import LevelMonitor, LevelMonitorConfig
from stream_detector.monitors.rate import RateMonitor, RateMonitorConfig
from stream_detector.monitors.registry import BUILT_IN
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.server import MetricsServer
from stream_detector.telemetry.status.monitors import monitor_page
from stream_detector.telemetry.status.pages import StatusPages
from stream_detector.telemetry.status.recent import Recent
from stream_detector.telemetry.status.watched import HEAVIEST, WatchedKeys


class OneShard:
    """As much of a shard as the reporter asks for."""

    def __init__(self, *monitors: Monitor) -> None:
        self.number = 0
        self.pipeline: Any = type("Pipeline", (), {"monitors": type("All", (), {"each": monitors})})


def told(monitor: RateMonitor, hour: int, keys: list[str | None]) -> None:
    times = np.full(len(keys), START + hour * HOUR, dtype=np.int64)
    monitor.take(MonitorEvents(times, times, text={"k": keys}))


def reporter_of(metrics: Metrics, recent: Recent, most: int) -> MonitorReporter:
    totals: dict[str, int] = {}

    def increase(_: Any, name: str, total: int) -> int:
        before, totals[name] = totals.get(name, 0), total
        return max(total - before, 0)

    return MonitorReporter(metrics, recent, increase, most)


def labels_of(metrics: Metrics, name: str) -> set[str]:
    (family,) = (f for f in metrics.registry.collect() if f.name == f"stream_detector_{name}")
    return {sample.labels["key"] for sample in family.samples}


@pytest.fixture
def seen() -> tuple[Metrics, Recent, RateMonitor, MonitorReporter, Any]:
    """A monitor of a hundred keys after four days, one of them hostile."""
    metrics, recent = Metrics(), Recent()
    settings = {"name": "orders", "key": "k", "season": "hour_of_day", "bucket": "1h"}
    monitor = RateMonitor(RateMonitorConfig(**settings))
    reporter, shard = reporter_of(metrics, recent, 3), OneShard(monitor)
    reporter.begin(shard)
    keys = [f"key-{n:02}" for n in range(100) for _ in range(1 + n // 10)] + [HOSTILE] * 30
    for hour in range(97):
        told(monitor, hour, [*keys, None])
    reporter.observe(shard)
    return metrics, recent, monitor, reporter, shard


def test_only_the_heaviest_keys_have_series(seen: Any) -> None:
    metrics, _, _, _, _ = seen
    shown = labels_of(metrics, "monitor_actual")
    assert len(shown) == 3
    assert "\u202e" not in "".join(shown)
    assert {"key-90", "key-91"} <= shown
    assert labels_of(metrics, "monitor_high") == shown
    value = metrics.registry.get_sample_value
    owner = {"shard": "0", "monitor": "orders"}
    assert value("stream_detector_monitor_keys_held", owner) == 101
    assert value("stream_detector_monitor_keys_judged", owner) == 101
    assert value("stream_detector_monitor_buckets_closed_total", owner) == 96
    assert value("stream_detector_monitor_events_without_key_total", owner) == 97


def test_what_a_monitor_leaves_out_is_counted_by_what_it_lacks() -> None:
    """Events without the value that is judged, and findings that a calendar silences."""
    metrics = Metrics()
    level = LevelMonitor(LevelMonitorConfig(name="sums", key="k", of="v", compute="sum"))
    reporter, shard = reporter_of(metrics, Recent(), 1), OneShard(level)
    reporter.begin(shard)
    times = np.full(4, START, dtype=np.int64)
    values = np.array([1.0, np.nan, np.inf, 2.0])
    texts = {"k": ["a", "a", "a", None]}
    level.take(MonitorEvents(times, times, text=texts, numbers={"v": values}))
    level.muted += 3
    reporter.observe(shard)
    value = metrics.registry.get_sample_value
    owner = {"shard": "0", "monitor": "sums"}
    assert value("stream_detector_monitor_events_without_key_total", owner) == 3
    assert value("stream_detector_monitor_findings_muted_total", owner) == 3


def test_an_older_states_events_without_a_value_are_counted_on() -> None:
    config = LevelMonitorConfig(name="sums", key="k", of="v", compute="sum")
    old = dict(LevelMonitor(config).state())
    del old["unusable"]
    restored = LevelMonitor(config)
    restored.restore({**old, "without_value": 7}, START)
    assert restored.unusable == 7
    assert restored.state()["unusable"] == 7


def test_a_key_keeps_its_series_until_it_is_far_from_the_heaviest(seen: Any) -> None:
    metrics, _, monitor, reporter, shard = seen
    before = labels_of(metrics, "monitor_actual")
    for hour in range(97, 100):
        told(monitor, hour, ["key-92"] * 30)
    reporter.observe(shard)
    assert labels_of(metrics, "monitor_actual") == before
    for hour in range(100, 240):
        told(monitor, hour, [f"new-{n}" for n in range(9) for _ in range(50)])
    reporter.observe(shard)
    after = labels_of(metrics, "monitor_actual")
    assert len(after) <= 3
    assert not after & before


def test_any_key_can_be_asked_for_and_few_are_kept(seen: Any) -> None:
    _, recent, _, reporter, shard = seen
    (of,) = recent.watched.monitors()["orders"].values()
    assert len(of.heaviest) == HEAVIEST
    assert "key-03" not in of.bands.keys
    recent.watched.want("orders", "key-03")
    reporter.observe(shard)
    (of,) = recent.watched.monitors()["orders"].values()
    assert "key-03" in of.bands.keys
    many = WatchedKeys()
    for number in range(1000):
        many.want("orders", f"k{number}")
    assert len(many.wanted("orders")) == 20
    assert "k999" in many.wanted("orders")
    recent.forget(0)
    assert recent.watched.monitors() == {}


def test_the_page_draws_a_key_and_nothing_in_it_is_markup(seen: Any) -> None:
    _, recent, _, _, _ = seen
    metrics, health = Metrics(), HealthState()
    server = MetricsServer(metrics, health, "127.0.0.1", 0, StatusPages(metrics, health, recent))
    server.start()
    try:
        status, _, page = ask(server.port, "/")
        assert status == 200
        assert "orders" in page
        assert "<script" not in page
        status, _, page = ask(server.port, "/monitor?monitor=orders&key=key-90")
        assert (status, page.count("<figure")) == (200, 1)
        assert "the band in which no alert is raised" in page
        status, _, page = ask(server.port, "/monitor?monitor=orders&key=%3Cscript%3Ealert(1)")
        assert status == 200
        assert "<script" not in page
        assert "reads itself again" in page
        assert ask(server.port, "/monitor?monitor=nobody&key=a")[0] == 404
        assert ask(server.port, "/monitor?monitor=orders&key=" + "a" * 2000)[0] == 404
        # A name may be bound to this machine by a hostile site: keys come from events.
        assert ask(server.port, "/monitor?monitor=orders&key=a", Host="evil.invalid")[0] == 404
        assert "key-90" not in ask(server.port, "/", Host="evil.invalid")[2]
        if (programme := chromium()) is None:
            pytest.skip("chromium is not installed: the page was NOT opened in a browser")
        with browser(programme) as opened:
            for width in (1200, 390):
                opened.open(
                    f"http://127.0.0.1:{server.port}/monitor?monitor=orders&key=key-90", width=width
                )
                assert opened.complaints == []
                assert opened.value("document.documentElement.scrollWidth") == width
                assert opened.value("document.querySelectorAll('svg .area').length") == 1
                box = opened.value("document.querySelector('svg').getBoundingClientRect().height")
                assert 60 < box < 500
    finally:
        server.stop()


KINDS = {
    "new_value": ({"field": "v"}, "of which 2 brought a v that it had never had."),
    "hours": (
        {"zone": "Europe/Berlin"},
        "Usual: Mon Tue Wed Thu Fri Sat Sun 10:00 to 15:00 (Europe/Berlin).",
    ),
    "places": ({"latitude": "lat", "longitude": "lon"}, "Seen near 52.52, 13.40."),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_monitors_of_single_events_know_of_a_key_is_said_in_words(kind: str) -> None:
    settings, expected = KINDS[kind]
    plugin = BUILT_IN[kind]
    monitor = plugin(plugin.Config(name="m", key="k", **settings))
    metrics, recent = Metrics(), Recent()
    reporter, shard = reporter_of(metrics, recent, 3), OneShard(monitor)
    reporter.begin(shard)
    times = np.array([START + (24 * day + 9 + n) * HOUR for day in range(15) for n in range(5)])
    count = len(times)
    columns = {"k": [HOSTILE] * count, "v": ["a"] * (count - 1) + ["<b>"]}
    numbers = {"lat": np.full(count, 52.52), "lon": np.full(count, 13.405)}
    monitor.take(MonitorEvents(times, times, text=columns, numbers=numbers))
    assert monitor_page("nobody", HOSTILE, recent) is None
    recent.watched.want("m", HOSTILE)
    recent.watched.want("m", "never seen")
    before = repr(monitor.state())
    reporter.observe(shard)
    assert repr(monitor.state()) == before
    page = monitor_page("m", HOSTILE, recent)
    assert page is not None
    assert expected in page
    assert "<script" not in page
    other = monitor_page("m", "never seen", recent)
    assert other is not None
    assert "Nothing is remembered of this key" in other
    # More events of the same key, and no new one: the page says so at the next look.
    last = {name: column[-1:] for name, column in numbers.items()}
    text = {"k": [HOSTILE], "v": ["c"]}
    monitor.take(MonitorEvents(times[-1:], times[-1:], text=text, numbers=last))
    reporter.observe(shard)
    if kind != "hours":
        assert f"{count + 1:,} events" in (monitor_page("m", HOSTILE, recent) or "")


def test_the_report_draws_the_keys_that_matter(tmp_path: Path) -> None:
    config, data, report = tmp_path / "c.yaml", tmp_path / "d.jsonl", tmp_path / "r.html"
    config.write_text(yaml.safe_dump(SETTINGS))
    data.write_text("".join(json.dumps(record) + "\n" for record in records(HOSTILE)))
    done = run("evaluate", str(config), "--data", str(data), "--report", str(report))
    assert done.returncode == 0, done.stderr
    html = report.read_text()
    section = html[html.index('<section id="monitors"') :]
    section = section[: section.index("</section>")]
    assert "<script" not in section
    assert "&lt;script&gt;" in section
    assert 2 <= section.count("<figure>") <= 8
    assert "were expected" in section
    if (programme := chromium()) is None:
        pytest.skip("chromium is not installed: the report was NOT opened in a browser")
    with browser(programme) as opened:
        for width in (1200, 390):
            opened.open(report.as_uri(), width=width)
            assert opened.complaints == []
            assert opened.value("document.documentElement.scrollWidth") == width
            assert opened.value("document.querySelectorAll('#monitors svg .mark.hit').length") > 0
            outside = opened.value("""
                [...document.querySelectorAll('#monitors figure svg[role=img]')]
                    .filter(each => each.checkVisibility()).flatMap(each => {
                        const frame = each.getBoundingClientRect();
                        return [...each.querySelectorAll('text')].filter(t => {
                            const box = t.getBoundingClientRect();
                            return box.left < frame.left - 2 || box.right > frame.right + 2;
                        }).map(t => t.textContent);
                    })""")
            assert outside == []
