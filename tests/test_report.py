"""The report of `evaluate --report`: charts, markup, and what a hostile event can do to it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import classification_report
from support.commands import call, run
from support.streams import SETTINGS, configuration, records

from stream_detector.cli.report import Report
from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.connectors.files import FileSource
from stream_detector.evaluation.backtest import Scored, backtest
from stream_detector.evaluation.figures import DAY_MS
from stream_detector.evaluation.report_samples import ReportSamples
from stream_detector.markup import Markup, escape, escape_lines, join, raw, short, tag
from stream_detector.pipeline import PipelineCore
from stream_detector.report.analysis import Provenance, analyse
from stream_detector.report.inside import configuration_text
from stream_detector.report.page import page
from stream_detector.report.plot import Plot
from stream_detector.report.ranking import classification_rows
from stream_detector.report.scales import (
    Compressed,
    Linear,
    Log,
    Time,
    nice_step,
    value_scale,
)
from stream_detector.report.text import day, limits, moment, number, share, value_text
from stream_detector.report.windows import _longest_run
from stream_detector.telemetry.status.layout import name_of

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
MADE = Provenance("events.jsonl", 1, "ab", None, "2026-01-01 00:00 UTC", {"Python": "3"}, "f", "s")
VOID = {"meta", "link"}
LABELS = {"field": "label", "delay": "1h"}


# --- markup --------------------------------------------------------------------------------------


def test_text_is_escaped_where_it_enters_and_markup_is_not_escaped_again():
    assert tag("p", "a < b", tag("b", "&")) == "<p>a &lt; b<b>&amp;</b></p>"
    assert tag("p", title='"><x>') == '<p title="&quot;&gt;&lt;x&gt;"></p>'
    assert join("<", raw("<br>"), None, 3) == "&lt;<br>3"
    assert tag("meta", name="a", content=None) == '<meta name="a">'


@given(st.text())
def test_no_text_opens_an_element_or_ends_an_attribute(text):
    made = tag("p", text, title=text)
    assert made.count("<") == 2
    assert made.count('"') == 2
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", made)
    made.encode()  # no lone surrogate is left
    assert isinstance(made, Markup)


@pytest.mark.parametrize(
    ("unseen", "shown"),
    [
        ("\x00", r"\x00"),
        ("\n", r"\n"),
        ("\x1b", r"\x1b"),
        ("\x7f", r"\x7f"),
        ("\x85", r"\x85"),
        ("\x9b", r"\x9b"),
        ("\u061c", r"\u061c"),
        ("\u200f", r"\u200f"),
        ("\u2028", r"\u2028"),
        ("\u202e", r"\u202e"),
        ("\u2066", r"\u2066"),
        ("\ud800", r"\ud800"),
        ("\uffff", r"\uffff"),
    ],
)
def test_what_nobody_sees_is_shown_by_its_number(unseen, shown):
    text = f"5{unseen}<b>"
    assert escape(text) == f"5{shown}&lt;b&gt;"
    assert tag("p", text, title=text) == f'<p title="5{shown}&lt;b&gt;">5{shown}&lt;b&gt;</p>'
    assert name_of(f"{text}.a_b") == f"5{shown}&lt;b&gt;.<wbr>a_<wbr>b"


def test_letters_of_every_script_are_left_as_they_are():
    text = "Müller שלום سلام 東京 🚲 \N{NO-BREAK SPACE}e\u0301"
    assert escape(text) == text


def test_only_line_breaks_are_kept_in_lines():
    assert escape_lines("a: <\n\tb\x85\n") == "a: &lt;\n\\tb\\x85\n"


def test_slicing_and_adding_do_not_make_markup():
    assert not isinstance(escape("a") + "<b>", Markup)
    assert tag("p", tag("b", "x")[:2]) == "<p>&lt;b</p>"


# --- numbers as text -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (1234.5, "1,234"),
        (0.5, "0.5"),
        (12.3456, "12.35"),
        (-3.0, "\N{MINUS SIGN}3"),
        (1.5e300, "1.5e300"),
        (2e-7, "2e\N{MINUS SIGN}7"),
        (float("inf"), "∞"),
        (float("nan"), "\N{EN DASH}"),
        (None, "\N{EN DASH}"),
    ],
)
def test_numbers_have_four_digits(value, expected):
    assert number(value) == expected


def test_shares_times_and_limits():
    assert share(0.00842) == "0.842\N{NO-BREAK SPACE}%"
    assert moment(1_522_540_831_000) == "2018-04-01 00:00:31"
    assert day(1_522_540_831_000) == "1 Apr 2018"
    assert limits(0.1234, 0.5) == "0.123 to 0.500"
    assert limits(None, 0.5) == limits(float("nan"), 1) == "\N{EN DASH}"
    assert value_text("x" * 200) == "x" * 79 + "…"
    assert [value_text(v) for v in (None, True, 2.5)] == ["missing", "true", "2.5"]


# --- scales and charts ---------------------------------------------------------------------------


def test_ticks_are_round_numbers():
    assert [label for _, label in Linear(0, 1).ticks(4)] == ["0", "0.25", "0.5", "0.75", "1"]
    assert [label for _, label in Linear(-3, 12).ticks(4)] == ["0", "5", "10"]
    assert [label for _, label in Log(1e-3, 1).ticks(9)] == ["0.001", "0.01", "0.1", "1"]
    assert nice_step(0.3) == 0.5


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (2, ["00:30", "01:00", "01:30", "02:00"]),
        (48, ["12:00", "2 Apr", "12:00", "3 Apr"]),
        (24 * 5, ["3 Apr", "5 Apr"]),
        (24 * 120, ["May 2018", "Jun 2018", "Jul 2018"]),
        (24 * 1500, ["2020", "2022"]),
    ],
)
def test_time_ticks_are_where_people_expect_them(hours, expected):
    begin = 1_522_540_831_000  # 2018-04-01 00:00:31
    ticks = Time(begin, begin + hours * 3_600_000).ticks(4)
    assert [label for _, label in ticks] == expected


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3), st.floats(1, 1e6))
def test_a_compressed_scale_is_monotone_and_has_an_inverse(centre, unit, reach):
    scale = Compressed(centre - unit, centre + unit * reach * 20, centre, unit)
    parts = np.linspace(0, 1, 50)
    values = scale.at(parts)
    assert (np.diff(values) > 0).all()
    np.testing.assert_allclose(scale.part(values), parts, atol=1e-6)
    ticks = [value for value, _ in scale.ticks(6)]
    assert ticks == sorted(ticks)
    assert all(scale.low <= value <= scale.high for value in ticks)


def test_scores_that_lie_far_out_do_not_flatten_the_others():
    near = np.random.default_rng(0).normal(size=1000)
    assert isinstance(value_scale(near), Linear)
    assert isinstance(value_scale(np.append(near, 1e300)), Compressed)
    assert isinstance(value_scale(np.zeros(5)), Linear)
    scale = value_scale(np.append(near, 1e4), [np.inf, 2e4])
    assert scale.high == 2e4
    assert np.ptp(scale.part(near)) > 0.2


def test_a_line_goes_through_its_points_and_breaks_where_one_is_missing():
    plot = Plot(200, 100, Linear(0, 10), Linear(0, 1), x_ticks=[], y_ticks=[])
    frame = plot.frame
    assert (frame.left, frame.right, frame.top, frame.bottom) == (10, 188, 10, 66)
    plot.line(np.array([0, 5, 10, 20]), np.array([0, 0.5, np.nan, 2]), "x")
    # What lies outside is put on the edge.
    assert '<path d="M10,66L99,38M188,10h.1" class="line x"></path>' in plot.render("")


def test_bars_steps_and_bands_are_where_their_numbers_are():
    plot = Plot(200, 100, Linear(0, 10), Linear(0, 1), x_ticks=[], y_ticks=[])
    plot.bars((np.array([0.0]), np.array([10.0])), np.array([0.0]), np.array([0.5]), "b", ["<n>"])
    plot.steps(np.array([0.0, 5, 10]), np.array([1.0, 0.5]), "s")
    plot.band(np.array([0.0, 10]), np.array([0.0, 0.5]), np.array([1.0, 1]), "a")
    drawn = plot.render('say "x"')
    assert '<path d="M10,66V38H187V66Z"><title>&lt;n&gt;</title></path>' in drawn
    assert 'd="M10,10L99,10 99,38 188,38"' in drawn
    assert 'd="M10,10L188,10 188,38 10,66Z"' in drawn
    assert drawn.startswith('<svg viewBox="0 0 200 100" role="img" aria-label="say &quot;x&quot;">')


def test_coordinates_are_short():
    assert [short(v) for v in (1.0, 1.26, -0.01, 1e6)] == ["1", "1.3", "0", "1000000"]


def test_the_classification_report_is_that_of_scikit_learn():
    labels, raised = (
        np.repeat([0, 0, 1, 1], [900, 40, 25, 35]),
        np.repeat([0, 1, 0, 1], [900, 40, 25, 35]),
    )
    expected = classification_report(labels, raised, output_dict=True)
    normal, anomalous, mean, accuracy = classification_rows([[900, 40], [25, 35]])
    for row, name in ((normal, "0"), (anomalous, "1"), (mean, "macro avg")):
        figures = [expected[name][key] for key in ("precision", "recall", "f1-score")]
        assert list(row[1:4]) == [f"{figure:.3f}" for figure in figures]
        assert row[4] == f"{expected[name]['support']:,.0f}"
    assert accuracy[3] == f"{expected['accuracy']:.3f}"


@pytest.mark.parametrize(
    ("flags", "longest"), [([], 0), ([0, 0], 0), ([1], 1), ([0, 1, 1, 0, 1], 2), ([1, 1, 1], 3)]
)
def test_the_longest_stretch_is_found(flags, longest):
    assert _longest_run(np.array(flags, bool)) == longest


def test_without_a_raised_event_there_is_no_precision():
    _, anomalous, mean, _ = classification_rows([[900, 0], [25, 0]])
    assert anomalous[1] == mean[1] == "\N{EN DASH}"


# --- the page ------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """What a browser would make of a page, as far as it is asked here."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.headings, self.captions = [], [], [], [], 0
        self.images, self.addresses, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        values = dict(attributes)
        self.tags.append(name)
        if "id" in values:
            self.ids.append(values["id"])
        assert not any(key.startswith("on") for key in values)
        self.addresses += [values[key] for key in ("src", "href", "data") if key in values]
        if name == "svg":
            self.images.append(values)
        if re.fullmatch("h[1-6]", name):
            self.headings.append(int(name[1]))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(self.text)


def check(text):
    """What holds for every report."""
    outline = Outline(text)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert "script" not in outline.tags
    assert "img" not in outline.tags
    # Nothing is loaded from anywhere: links lead to places in the page.
    others = [each for each in outline.addresses if each != "data:,"]
    assert all(each.removeprefix("#") in outline.ids for each in others)
    assert not re.search(r"url\(|@import|https?://", text)
    # Those who cannot see have something to read.
    assert all(image.get("aria-label") or image.get("aria-hidden") for image in outline.images)
    assert outline.tags.count("table") == outline.tags.count("caption")
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    assert all(
        later - earlier <= 1
        for earlier, later in zip(outline.headings, outline.headings[1:], strict=False)
    )
    assert "nan" not in re.findall(r'(?:d|x|y|width|height)="([^"]*)"', text.lower())
    assert not re.search(r'"[^"]*\bnan\b[^"]*"', text)
    return outline


def watched(config, path, *, skip=0, resamples=100, see=None):
    """(scored, watch, analysis) of a file."""
    watch = ReportSamples(skip=skip)
    pipeline = PipelineCore(config, state_fingerprint(config), observer=watch)
    scored = backtest(config, FileSource(str(path)), pipeline=pipeline, see=watch.see)
    return scored, watch, analyse(config, scored, watch, MADE, skip=skip, resamples=resamples)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "events.jsonl"
    path.write_bytes(b"".join((record.value or b"") + b"\n" for record in records(6000)))
    return path


@pytest.fixture(scope="module")
def labelled(events):
    return watched(configuration(labels=LABELS), events, skip=500)


def test_watching_changes_nothing(events, labelled):
    config = configuration(labels=LABELS)
    alone = backtest(config, FileSource(str(events)))
    scored, watch, _ = labelled
    np.testing.assert_array_equal(scored.scores, alone.scores)
    np.testing.assert_array_equal(scored.raised, alone.raised)
    assert [alert.value for alert in scored.alerts] == [alert.value for alert in alone.alerts]
    assert watch.top_alerts()


def test_a_stream_whose_time_goes_back_for_good_is_watched_too(tmp_path):
    path = tmp_path / "events.jsonl"
    earlier = []
    for record in records(1500, seed=1):
        event = json.loads(record.value)
        earlier.append({**event, "time": event["time"] - 10 * DAY_MS})
    lines = [record.value for record in records(1500)] + [json.dumps(e).encode() for e in earlier]
    path.write_bytes(b"\n".join(lines))
    limits = {"max_behind": "2d", "max_ahead": "1h", "max_gap": "1d"}
    config = configuration(event={**SETTINGS["event"], **limits}, labels=LABELS)
    scored, watch, _ = watched(config, path)
    assert 2500 < len(scored.scores) < 3000  # a few are late before most others say the same
    assert watch.thresholds()[0][-1] > 2000


def test_the_watch_keeps_the_rarest_alerts_with_their_labels(labelled):
    scored, watch, _ = labelled
    bodies = [json.loads(alert.value) for alert in scored.alerts]
    assert len(bodies) == scored.alert_count
    late = [body for body in bodies if body["receipt"]["sequence"] >= 500]
    ranked = sorted(late, key=lambda b: (-b["rarity"], -b["score"], b["receipt"]["sequence"]))
    top = watch.top_alerts()
    assert [seen.body["id"] for seen in top] == [body["id"] for body in ranked[:20]]
    for seen in top:
        assert seen.label == scored.labels[scored.rows == seen.body["receipt"]["offset"]]
    assert sum(map(sum, watch.reasons.values())) == len(late)


def test_the_watch_knows_the_threshold_of_every_event(labelled):
    scored, watch, _ = labelled
    changed_at, values = watch.thresholds()
    rows = np.arange(len(scored.scores))
    threshold = values[np.searchsorted(changed_at, rows, side="right") - 1]
    above = scored.scores > threshold
    np.testing.assert_array_equal(above[300:], scored.raised[300:])  # after the burn-in


def test_a_report_with_labels_has_every_section(labelled):
    *_, analysis = labelled
    outline = check(page(analysis))
    for words in (
        "ROC curve",
        "Precision-recall curve",
        "Confusion matrix",
        "Classification report",
        "Histogram of the scores by class",
        "Precision at 100, day by day",
        "Stability index",
        "Alert budget",
        "Configuration fingerprint".lower(),
        "The 20 rarest of",
    ):
        assert words in outline.words
    assert "Needs labels" not in outline.words
    assert f"{analysis.figures['roc_auc']:.3f}" in outline.words
    # Each chart twice: for wide pages and for phones.
    assert len([image for image in outline.images if image.get("role") == "img"]) == 18


def test_a_report_without_labels_says_what_needs_them(events):
    *_, analysis = watched(configuration(), events)
    outline = check(page(analysis))
    assert outline.words.count("Needs labels") == 4
    assert "The data has no labels" in outline.words
    for words in ("Scores and alerts over time", "Alert budget", "Feature drift", "rarest of"):
        assert words in outline.words
    assert "anomalous" not in outline.words.replace("anomalous above normal", "")


@pytest.mark.parametrize(
    ("changes", "count", "words"),
    [
        ({"threshold": {"score": 1e9}}, 700, "Nothing was raised."),
        ({"threshold": {"score": 5.0, "burn_in": 0}}, 2000, "there is no budget to keep"),
        ({"labels": LABELS}, 3, "All labels are of one class"),
        ({}, 1, "Too few events to count alerts by windows."),
        ({"labels": LABELS, "detector": {"kind": "classifier"}}, 6000, "Brier score"),
        ({"event": {"id": "id"}, "labels": LABELS}, 900, "Needs a time of each event"),
        ({"drift": [{"on": "score"}]}, 4000, "has found no change while running"),
        ({"threshold": {"budget": "5 per hour", "burn_in": 300}}, 2000, "5 per hour"),
    ],
)
def test_reports_of_odd_runs(tmp_path, changes, count, words):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join((record.value or b"") + b"\n" for record in records(count)))
    settings = dict(changes)
    if settings.get("event") == {"id": "id"}:
        settings["features"] = [{"numeric": "amount"}]
        settings["windows"], settings["suppression"] = [], None
    *_, analysis = watched(configuration(**settings), path)
    assert words in check(page(analysis)).words


def test_drifts_that_the_daemon_would_find_are_listed(tmp_path):
    path = tmp_path / "events.jsonl"
    random = np.random.default_rng(0)
    amounts = np.concatenate([random.normal(size=5000), random.normal(4, 1, 5000)])
    path.write_text("\n".join(json.dumps({"<amount>": value}) for value in amounts.tolist()))
    config = configuration(
        event={},
        features=[{"numeric": "<amount>"}],
        windows=[],
        suppression=None,
        drift=[{"on": "inputs", "begin": 500}],
    )
    scored, _, analysis = watched(config, path)
    assert scored.drifts == len(analysis.changes) > 0
    words = check(page(analysis)).words
    assert "Drifts found while running" in words
    assert "inputs: <amount>" in words


def test_the_same_run_makes_the_same_bytes(events, labelled):
    config = configuration(labels=LABELS)
    *_, again = watched(config, events, skip=500)
    assert page(again) == page(labelled[2])


def test_what_an_event_holds_is_text_and_nothing_else(tmp_path):
    path = tmp_path / "events.jsonl"
    lines = []
    for record in records(3000):
        event = json.loads(record.value)
        if event["label"]:
            event |= {"id": HOSTILE, "kind": HOSTILE, "user": HOSTILE + event["user"]}
        lines.append(json.dumps(event))
    path.write_text("\n".join(lines))
    config = configuration(labels=LABELS)
    scored, watch, _ = watched(config, path)
    made = replace(MADE, data=HOSTILE, versions={HOSTILE: HOSTILE}, made=HOSTILE)
    text = page(analyse(config, scored, watch, made, resamples=20))
    outline = check(text)
    assert outline.words.count("alert(1)") >= 5
    assert "<script" not in text.lower()
    assert "<img" not in text.lower()


def test_names_of_fields_and_the_configuration_are_text_too(tmp_path):
    field = "<b onclick=alert(1)>"
    path = tmp_path / "events.jsonl"
    values = np.random.default_rng(0).lognormal(3, 1, 2000)
    path.write_text("\n".join(json.dumps({field: float(value)}) for value in values))
    config = configuration(event={}, features=[{"numeric": field}], windows=[], suppression=None)
    *_, analysis = watched(config, path)
    text = page(analysis)
    assert field in check(text).words
    assert field not in text


def test_secrets_are_not_in_the_configuration_shown(tmp_path):
    config = configuration(
        metrics={"username": "me", "password": "hush-1"},
        kafka={
            "bootstrap_servers": "localhost:9092",
            "topics": ["events"],
            "group": "g",
            "alerts": "a",
            "dead_letters": "d",
            "security": {
                "protocol": "SASL_SSL",
                "mechanism": "PLAIN",
                "username": "u",
                "password": "hush-2",
            },
            "consumer": {"client_secret": "hush-3"},
        },
    )
    shown = configuration_text(config)
    assert "hush" not in shown
    assert shown.count("(secret)") == 3
    loaded = yaml.safe_load(shown)
    assert loaded["kafka"]["topics"] == ["events"]
    assert loaded["threshold"] == {"budget": "2 %", "burn_in": 300}


def test_the_size_of_a_report_does_not_grow_with_the_stream():
    config = configuration(features=[{"numeric": "amount"}], windows=[], suppression=None)
    sizes = []
    for count in (50_000, 400_000):
        random = np.random.default_rng(0)
        watch = ReportSamples()
        scores = random.normal(size=count)
        scored = Scored(
            scores,
            (random.random(count) < 0.01).astype(float),
            scores > 2.3,
            np.sort(random.integers(0, 900 * DAY_MS, count)),
            np.arange(count),
            has_time=True,
        )
        watch.features.add(random.normal(size=(count, 1)))
        watch._changed_at.append(0)
        watch._thresholds.append(2.3)
        sizes.append(len(page(analyse(config, scored, watch, MADE, resamples=20))))
    assert sizes[1] < 1.3 * sizes[0]
    assert sizes[1] < 700_000


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    config, data = tmp_path / "config.yaml", tmp_path / "events.jsonl"
    config.write_text(yaml.safe_dump(SETTINGS))
    data.write_bytes(b"".join((record.value or b"") + b"\n" for record in records(2500)))
    return config, data


def test_evaluate_writes_a_report_and_prints_the_same_figures(tmp_path, files):
    config, data = map(str, files)
    output = tmp_path / "report.html"
    options = ("--data", data, "--label", "label", "--skip", "400", "--json")
    alone = json.loads(call("evaluate", config, *options).stdout)
    done = run("evaluate", config, *options, "--report", str(output), "--resamples", "50")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    for name in ("seconds", "events_per_second"):
        del alone[name], figures[name]
    assert figures == alone
    outline = check(output.read_text(encoding="utf-8"))
    assert f"{figures['average_precision']:.3f}" in outline.words
    assert "events.jsonl" in outline.words
    assert str(tmp_path) not in outline.words
    assert "first 400 events, left out" in outline.words


def test_a_report_is_of_one_configuration(files, tmp_path):
    config, data = map(str, files)
    done = call("evaluate", config, config, "--data", data, "--report", str(tmp_path / "r.html"))
    assert done.returncode == 2
    assert "--report is of one configuration" in done.stderr


def test_a_report_that_cannot_be_written_is_refused_before_the_run(files, tmp_path):
    config, _ = map(str, files)
    # The data does not even exist: nothing was read.
    done = call(
        "evaluate", config, "--data", "nowhere", "--report", str(tmp_path / "no" / "r.html")
    )
    assert done.returncode == 2
    assert "--report" in done.stderr
    assert "nowhere" not in done.stderr


def test_without_one_accepted_event_there_is_no_report(files, tmp_path):
    config, data = files
    data.write_text("{}\n" * 3)
    output = tmp_path / "report.html"
    done = call("evaluate", str(config), "--data", str(data), "--report", str(output))
    assert done.returncode == 2
    assert "no event was accepted" in done.stderr
    assert not output.exists()


def test_a_report_of_a_pipe_has_no_fingerprint_of_the_data(tmp_path, capsys):
    config = configuration()
    report = Report(str(tmp_path / "r.html"), config, skip=0, resamples=10)
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join((record.value or b"") + b"\n" for record in records(500)))
    scored = report.backtest(FileSource(str(path)), lambda _events: None)
    report.write(scored, "-", 500)
    words = check((tmp_path / "r.html").read_text()).words
    assert "standard input" in words
    assert "none: read from a pipe" in words
    assert "500 records" in words
