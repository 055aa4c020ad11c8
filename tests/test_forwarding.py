"""Parts of delivery by themselves: the outbox by a clock of its own, bodies, formats, files."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from support.endpoint import Endpoint
from support.messages import alert, incident
from support.streams import SETTINGS

from stream_detector.config.loading.load import parse
from stream_detector.config.models.forward import AnyTarget
from stream_detector.config.models.kafka import KafkaConfig
from stream_detector.connectors.http_client import Answer
from stream_detector.errors import ConfigurationError
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.forwarding.formats.registry import written
from stream_detector.forwarding.message import Message, NoMessageError, read_message
from stream_detector.forwarding.outbox import Entry, Outbox
from stream_detector.forwarding.outcome import SENT, Outcome, judged
from stream_detector.forwarding.placeholders import filled, mistakes
from stream_detector.forwarding.selection import Selection
from stream_detector.forwarding.sender import _UNWRITABLE
from stream_detector.forwarding.service import made_targets
from stream_detector.forwarding.targets.base import Means
from stream_detector.forwarding.targets.open_incidents import OpenIncidents
from stream_detector.forwarding.targets.registry import TARGETS, target_of
from stream_detector.forwarding.targets.slack import MOST_CHARACTERS, escaped
from stream_detector.forwarding.wording import text_of, title_of
from stream_detector.telemetry.forward_metrics import ForwardMetrics

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = TopicPartition("alerts", 0)
AWAY = Outcome("away", "server_error", "h answers with status 500")
DENIED = Outcome("denied", "denied", "h answers with status 403")
KAFKA = KafkaConfig(
    bootstrap_servers="h:9092",
    topics=["events"],
    group="g",
    alerts="alerts",
    incidents="incidents",
    dead_letters="dead",
)


def message(body: dict[str, Any], offset: int = 0) -> Message:
    text = json.dumps(body).encode()
    kind: Any = "incident" if "state" in body else "alert"
    record = PlainRecord(offset, 1_700_000_000_000, b"k", text)
    return read_message(kind, SOURCE, record, text)


def target_config(**given: Any) -> Any:
    settings = {"kind": "webhook", "name": "t", "url": "http://h/", **given}
    if settings["url"] is None:
        del settings["url"]
    return TypeAdapter(AnyTarget).validate_python(settings)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Trial:
    """An outbox, a clock, and a target that answers as ``answer`` says."""

    def __init__(self, answer: Callable[[Message], Outcome], **settings: Any) -> None:
        self.clock, self.answer = Clock(), answer
        self.outbox = Outbox(target_config(**settings), 1000, 2**25, self.clock)
        self.attempts: list[tuple[float, str]] = []
        self.sent: list[str] = []
        self.letters: list[str] = []
        self._offset = 0

    def add(self, body: dict[str, Any]) -> None:
        one = message(body, self._offset)
        self._offset += 1
        self.outbox.add(Entry(SOURCE, one.record, one))

    def run(self, seconds: float, step: float = 0.05, most: int = 1) -> None:
        until = self.clock.now + seconds
        while self.clock.now < until:
            while entries := self.outbox.take(most, 0.0):
                told = [one.message for one in entries if one.message is not None]
                self.attempts += [(self.clock.now, one.id) for one in told]
                outcomes = [self.answer(one) for one in told]
                letters = self.outbox.settle(entries, outcomes)
                for one in letters:
                    assert one.message is not None
                    self.letters.append(one.message.id)
                    self.outbox.finish(one)
                self.sent += [m.key for m, o in zip(told, outcomes, strict=True) if o is SENT]
            self.clock.now += step


# --- the outbox ----------------------------------------------------------------------------------


def test_an_outage_of_an_hour_costs_few_attempts_and_loses_nothing() -> None:
    down = True
    trial = Trial(lambda _: AWAY if down else SENT)
    for number in range(600):
        trial.add(alert(number))
    trial.run(3600)
    assert trial.sent == []
    assert len(trial.attempts) < 200  # with a pause of a minute at last, one message at a time
    assert trial.outbox.failing() == (pytest.approx(3600, abs=1), AWAY.said)
    down = False
    trial.run(120)
    assert Counter(trial.sent) == Counter(f"events-0-{n}" for n in range(600))
    assert trial.letters == []
    assert trial.outbox.done_to() == {SOURCE: 600}
    assert len(trial.outbox) == 0
    assert trial.outbox.failing() is None


def test_pauses_double_up_to_the_longest() -> None:
    trial = Trial(lambda _: AWAY, first_pause="1s", longest_pause="30s")
    trial.add(alert(1))
    trial.run(300)
    times = [at for at, _ in trial.attempts]
    pauses = [after - before for before, after in pairwise(times)]
    whole = [min(2.0**n, 30.0) for n in range(len(pauses))]
    assert all(w / 2 - 0.1 <= p <= w + 0.1 for p, w in zip(pauses, whole, strict=True))


def test_what_the_target_asks_for_is_heeded_by_all() -> None:
    answers = iter([Outcome("away", "throttled", "", 90.0)])
    trial = Trial(lambda _: next(answers, SENT))
    trial.add(alert(1))
    trial.add(alert(2))
    trial.run(89)
    assert len(trial.attempts) == 1
    trial.run(2)
    assert len(trial.sent) == 2


def test_a_message_that_always_makes_the_target_stumble_is_given_up_once_others_got_through() -> (
    None
):
    trial = Trial(lambda one: AWAY if one.id == "events-0-0" else SENT, give_up_after="10m")
    for number in range(50):
        trial.add(alert(number))
        trial.run(30)
    assert trial.letters == ["events-0-0"]
    assert len(trial.sent) == 49
    first = next(at for at, one in trial.attempts if one == "events-0-0")
    last = max(at for at, one in trial.attempts if one == "events-0-0")
    assert last - first >= 600


def test_while_nobody_gets_through_nothing_is_given_up_whatever_is_answered() -> None:
    for outcome in (AWAY, DENIED):
        trial = Trial(lambda _, outcome=outcome: outcome, give_up_after="1m")
        trial.add(alert(1))
        trial.add(alert(2))
        trial.run(7200, step=0.5)
        assert trial.letters == []


def test_a_denied_message_is_given_up_when_others_got_through_five_times() -> None:
    trial = Trial(lambda one: DENIED if one.id == "events-0-0" else SENT)
    for number in range(40):
        trial.add(alert(number))
        trial.run(15)
    assert trial.letters == ["events-0-0"]
    assert Counter(one for _, one in trial.attempts)["events-0-0"] >= 5


def test_messages_of_an_incident_keep_their_order_and_others_overtake() -> None:
    failures = iter([AWAY, AWAY])
    trial = Trial(lambda one: next(failures, SENT) if one.id == "cards:a" else SENT)
    for revision, state in enumerate(("open", "updated", "resolved"), 1):
        trial.add(incident("a", state, revision))
        trial.add(alert(revision))
    trial.run(60, most=10)
    incidents = [key for key in trial.sent if key.startswith("cards")]
    assert incidents == ["cards:a/1", "cards:a/2", "cards:a/3"]
    assert trial.sent[:3] == ["events-0-1", "events-0-2", "events-0-3"]


def test_no_more_is_sent_than_the_rate_allows() -> None:
    trial = Trial(lambda _: SENT, per_second=2)
    for number in range(100):
        trial.add(alert(number))
    trial.run(20, most=10)
    assert 40 <= len(trial.sent) <= 42
    for start in range(20):
        inside = [at for at, _ in trial.attempts if start <= at - 1000 < start + 1]
        assert len(inside) <= 4  # what a second brings, and what was left


def test_offsets_go_up_to_the_first_that_waits() -> None:
    trial = Trial(lambda one: AWAY if one.id == "events-0-3" else SENT)
    for number in range(6):
        trial.add(alert(number))
    trial.run(0.2)
    assert trial.outbox.done_to() == {SOURCE: 3}
    assert trial.outbox.idle() == frozenset()
    trial.outbox.drop([SOURCE])
    assert len(trial.outbox) == 0
    assert trial.outbox.done_to() == {}


def test_what_was_sent_before_its_partition_came_back_is_not_sent_again() -> None:
    trial = Trial(lambda one: AWAY if one.id == "events-0-3" else SENT)
    for number in range(6):
        trial.add(alert(number))
    trial.run(0.2)
    trial.outbox.drop([SOURCE])
    trial.sent.clear()
    trial.answer = lambda _: SENT
    trial._offset = 0
    for number in range(7):
        trial.add(alert(number))
    trial.run(1)
    assert trial.sent == ["events-0-3", "events-0-6"]
    assert trial.outbox.done_to() == {SOURCE: 7}
    # Another record at a place that is known: the topic was made anew.
    one = message(alert(9), 2)
    record = one.record._replace(timestamp=one.record.timestamp + 1)
    trial.outbox.drop([SOURCE])
    trial.outbox.add(Entry(SOURCE, record, one))
    trial.run(1)
    assert trial.sent[-1] == "events-0-9"


def test_who_writes_one_behind_the_other_gets_all_in_order_those_of_one_id_too() -> None:
    outbox = Outbox(target_config(), 1000, 2**25, Clock())
    bodies = [incident("a"), alert(1), incident("a", "updated", 2), incident("a", "resolved", 3)]
    for offset, body in enumerate(bodies):
        one = message(body, offset)
        outbox.add(Entry(SOURCE, one.record, one))
    taken = outbox.take(10, 0.0, in_order=True)
    assert [one.record.offset for one in taken] == [0, 1, 2, 3]
    outbox.settle(taken, [SENT, AWAY, SENT, SENT])
    assert outbox.done_to() == {SOURCE: 1}


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("7", 7.0), ("0", 0.0), ("99999999", 3600.0), ("-5", 0.0), ("soon", 0.0), ("", 0.0),
        ("1e9", 0.0), ("9" * 5000, 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 3600.0), ("Thu, 99 Foo 2015", 0.0),
    ],
)  # fmt: skip
def test_retry_after_in_every_form(given: str, expected: float) -> None:
    for status in (429, 503):
        outcome = judged("h", Answer(status, {"retry-after": given}, b""))
        assert (outcome.kind, outcome.wait_seconds) == ("away", expected)


# --- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b'{"id": 5}', b'{"id": "a"}', b'{"id": "a", "severity": "bad"}', b"\xff",
     b"[" * 100_000, b'{"id": "", "severity": "low"}'],
)  # fmt: skip
def test_what_is_no_message_says_why(text: bytes) -> None:
    with pytest.raises(NoMessageError):
        read_message("alert", SOURCE, PlainRecord(0, 0, None, text), text)


def test_keys_are_the_same_for_copies_and_fit_into_a_header() -> None:
    assert message(alert(7)).key == "events-0-7"
    assert message(incident("a", "updated", 3)).key == "cards:a/3"
    odd = "rate:m:é\n\x00 \ud800:2013".encode("utf-8", "replace").decode()
    names = [odd, "x" * 5000, "x" * 4999 + "y"]
    keys = [message(alert(1, id=name)).key for name in names]
    assert len(set(keys)) == 3
    for key in keys:
        assert re.fullmatch(r"[!-~]{1,200}", key)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
hostile = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(set(alert(1)) | set(incident("a")))), hostile, st.booleans())
def test_any_value_in_any_field_is_written_or_refused_and_never_more(
    name: str, value: Any, of_incident: bool
) -> None:
    body = {**(incident("a") if of_incident else alert(1)), name: value}
    text = json.dumps(body).encode()
    try:
        one = read_message(
            "incident" if of_incident else "alert", SOURCE, PlainRecord(0, 0, None, text), text
        )
    except NoMessageError:
        return
    for make in (
        lambda: written(one, "ecs"), lambda: written(one, "ocsf"), lambda: written(one, "json"),
        lambda: title_of(one), lambda: text_of(one), lambda: one.key, lambda: one.kinds,
    ):  # fmt: skip
        try:
            make()
        except _UNWRITABLE:
            continue


def test_titles_say_what_it_is_about() -> None:
    assert title_of(message(alert(7))) == "HIGH cards: event 7"
    assert title_of(message(incident("a"))) == "HIGH cards: incident, CUSTOMER_ID 625"
    over = message(incident("a", "resolved", scope={"field": None, "value": None}))
    assert title_of(over) == "HIGH cards: incident is over, everything"
    text = text_of(message(alert(1, reasons=[{"feature": "a\x1b[2J", "value": "\u202e"}])))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "covers 93% of them" in text_of(message(incident("a")))


def test_only_what_is_wanted_is_taken() -> None:
    chosen = Selection(target_config(severity="high", kinds=["rate"], states=["resolved"]))
    assert not chosen.takes(message(alert(1, "critical")))
    assert chosen.takes(message(alert(1, "critical", kind="rate")))
    assert not chosen.takes(message(alert(1, "medium", kind="rate")))
    assert chosen.takes(message(incident("a", "resolved")))
    assert not chosen.takes(message(incident("a")))


# --- bodies of people's own ----------------------------------------------------------------------


@given(hostile)
def test_what_an_event_holds_is_a_value_and_never_syntax(value: Any) -> None:
    body = {"whole": "{{message.x}}", "in": "a {{message.x}} b", "list": ["{{id}}", 1, None]}
    made = filled(body, {"id": "i", "message": {"x": value}})
    assert json.loads(json.dumps(made)) == made
    assert made.keys() == body.keys()
    assert made["whole"] == value
    assert made["in"].startswith("a ")
    assert made["in"].endswith(" b")


def test_a_value_that_looks_like_a_place_is_not_filled_in() -> None:
    made = filled(
        {"a": "x {{message.v}}"}, {"message": {"v": "{{secrets.k}}"}, "secrets": {"k": 1}}
    )
    assert made == {"a": "x {{secrets.k}}"}


def test_places_that_lead_nowhere_are_null_or_nothing() -> None:
    values = {"message": {"a": [1, 2]}}
    body = {"a": "{{message.a.5}}", "b": "-{{message.b.c}}-", "c": "{{message.a.1}}"}
    assert filled(body, values) == {"a": None, "b": "--", "c": 2}
    assert mistakes({"a": ["{{oops.x}}", "{{secrets.no}}"]}, {"yes": 1}) == [
        mistakes({"a": "{{oops.x}}"}, {})[0],
        "{{secrets.no}}: there is no such secret",
    ]


def test_a_body_of_ones_own_with_words_and_secrets() -> None:
    body = {
        "routing_key": "{{secrets.k}}",
        "event_action": "{{state}}",
        "dedup_key": "{{id}}",
        "payload": {
            "summary": "{{title}}",
            "severity": "{{severity}}",
            "first": "{{message.reasons.0}}",
        },
    }
    words = {"state": {"open": "trigger", "resolved": "resolve"}, "severity": {"high": "error"}}
    with Endpoint() as endpoint:
        config = target_config(url=endpoint.url, body=body, words=words, secrets={"k": "K" * 20})
        seen: list[str] = []
        target = target_of(config, Means(KAFKA, "t", seen.append))
        assert target.deliver([message(incident("a", "resolved", 4))]) == [SENT]
        target.close()
    assert endpoint.taken[0].json() == {
        "routing_key": "K" * 20,
        "event_action": "resolve",
        "dedup_key": "cards:a",
        "payload": {
            "summary": "HIGH cards: incident is over, CUSTOMER_ID 625",
            "severity": "error",
            "first": {"feature": "TX_AMOUNT", "share": 0.8},
        },
    }
    assert "K" * 20 in seen


# --- Slack ---------------------------------------------------------------------------------------


@given(st.text(alphabet="<>&a!|@\u202e😀", max_size=100), st.integers(2, 120))
def test_slacks_syntax_cannot_be_written_and_no_text_is_too_long(text: str, longest: int) -> None:
    made = escaped(text, longest)
    assert len(made) <= longest
    assert "<" not in made
    assert ">" not in made
    assert re.sub(r"&(amp|lt|gt);", "", made).count("&") == 0


def test_a_message_of_slack_is_never_longer_than_it_takes() -> None:
    with Endpoint() as endpoint:
        config = target_config(kind="slack", url=endpoint.url)
        target = target_of(config, Means(KAFKA, "t", lambda _: None))
        reasons = [{"feature": "<&>" * 500, "value": "&" * 9000}] * 5
        target.deliver([message(alert(1, event_id="&" * 5000, reasons=reasons))])
        target.close()
    body = endpoint.taken[0].json()
    assert len(body["blocks"][0]["text"]["text"]) <= MOST_CHARACTERS
    assert len(endpoint.taken[0].body) < 40_000


# --- files ---------------------------------------------------------------------------------------


def file_target(path: Path) -> Any:
    config = target_config(kind="file", path=str(path), format="json", url=None)
    return target_of(config, Means(KAFKA, "t", lambda _: None))


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_half_a_line_is_cut_off_and_what_is_there_comes_no_second_time(tmp_path: Path) -> None:
    path = tmp_path / "out"
    target = file_target(path)
    assert target.deliver([message(alert(n)) for n in range(3)]) == [SENT] * 3
    target.close()
    with path.open("ab") as file:
        file.write(b'{"id": "events-0-3", "det')  # killed in the middle of a line
    target = file_target(path)
    assert target.deliver([message(alert(n)) for n in range(1, 5)]) == [SENT] * 4
    target.close()
    assert ids(path) == [f"events-0-{n}" for n in range(5)]


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "out"
    target = file_target(path)
    target.deliver([message(alert(1))])
    path.rename(tmp_path / "out.1")
    target.deliver([message(alert(2))])
    target.close()
    assert (ids(tmp_path / "out.1"), ids(path)) == (["events-0-1"], ["events-0-2"])


@pytest.mark.parametrize("where", ["/dev/full", "/no/such/directory/out", "link"])
def test_what_cannot_be_written_is_away_and_not_lost(tmp_path: Path, where: str) -> None:
    path = Path(where)
    if where == "link":
        path = tmp_path / "link"
        path.symlink_to(tmp_path / "elsewhere")
    target = file_target(path)
    (outcome,) = target.deliver([message(alert(1))])
    target.close()
    assert (outcome.kind, outcome.reason) == ("away", "unwritable")
    assert not (tmp_path / "elsewhere").exists()
    assert os.path.lexists(path) or where.startswith("/no")


# --- what is open --------------------------------------------------------------------------------


def test_what_is_open_is_remembered_within_bounds_and_what_is_over_for_a_while() -> None:
    clock, evicted = Clock(), list[int]()
    held = OpenIncidents(3, 60.0, evicted.append, clock)
    for name in "abcd":
        held.put(message(incident(name)))
    assert (held.count(), sum(evicted)) == (3, 1)
    assert held.due(10) == []
    held.put(message(incident("b", "resolved", 2)))
    clock.now += 61
    assert [one.id for one in held.due(10)] == ["cards:c", "cards:d", "cards:b"]
    held.sent_again(held.due(10))
    assert held.due_at() == clock.now + 60
    clock.now += 1000
    assert [one.id for one in held.due(10)] == ["cards:c", "cards:d"]
    held.forget([SOURCE])
    assert held.due_at() is None


def test_alertmanagers_clock_counts_where_it_differs_and_ends_lie_after_begins() -> None:
    ours = datetime.now(UTC)
    with Endpoint() as endpoint:  # its Date is the machine's
        config = target_config(kind="alertmanager", url=endpoint.url)
        behind = ours - timedelta(hours=2)
        make = TARGETS[type(config)]
        target: Any = make(config, Means(KAFKA, "t", lambda _: None))
        target._clock = lambda: behind
        for _ in range(2):
            target.deliver([message(incident("a"))])
        first, second = (one.json()[0] for one in endpoint.taken[:2])
        ends = [datetime.fromisoformat(one["endsAt"]) for one in (first, second)]
        assert abs(ends[0] - (behind + timedelta(minutes=10))) < timedelta(minutes=1)
        assert abs(ends[1] - (ours + timedelta(minutes=10))) < timedelta(minutes=1)
        ahead = (ours + timedelta(days=400)).isoformat()
        odd = incident("b", "resolved", first_seen=ahead, resolved=ahead)
        target.deliver([message(odd)])
        sent = endpoint.taken[2].json()[0]
        assert datetime.fromisoformat(sent["startsAt"]) < datetime.fromisoformat(sent["endsAt"])
        target.close()


# --- the configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "where", "why"),
    [
        ({"kind": "webhook"}, "targets[0]", "give one of url and url_file"),
        ({"kind": "webhook", "url": "file:///etc/passwd"}, "targets[0]", "begins with http"),
        ({"kind": "webhook", "url": "http://u:p@h/"}, "targets[0]", "no login in url"),
        ({"kind": "webhook", "url": "http://h/ x\n"}, "targets[0]", "no address has"),
        ({"kind": "webhook", "url": "http://h", "headers": {"Host": "x"}}, "targets[0]", "itself"),
        ({"kind": "webhook", "url": "http://h", "headers": {"X": "\n"}}, "targets[0]", "no header"),
        ({"kind": "webhook", "url": "http://h/", "headers": {"X:": "a"}}, "headers", "must match"),
        ({"kind": "alertmanager", "url": "http://h", "labels": {"a-": ""}}, "labels", "must match"),
        ({"kind": "alertmanager", "url": "http://h", "resend": "5m"}, "targets[0]", "three times"),
        ({"kind": "slack", "url": "http://h", "link": "javascript:x"}, "link", "must match"),
        ({"kind": "pager", "url": "http://h"}, "targets[0]", "webhook"),
        ({"kind": "webhook", "url": "http://h", "sevrity": "low"}, "sevrity", "severity"),
    ],
)  # fmt: skip
def test_mistakes_are_found_with_their_place_and_without_the_secret(
    target: dict[str, Any], where: str, why: str
) -> None:
    kafka = {"bootstrap_servers": "h", "topics": ["e"], "group": "g"}
    kafka |= {"alerts": "a", "dead_letters": "d"}
    settings = {**SETTINGS, "kafka": kafka, "forward": {"targets": [{"name": "t", **target}]}}
    with pytest.raises(ConfigurationError) as raised:
        parse(json.dumps(settings, indent=1), "f", {})
    said = str(raised.value)
    assert where in said
    assert why in said
    assert "u:p@h" not in said
    assert "passwd" not in said


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (target_config(body={"a": "{{nowhere}}"}), "begins with none of"),
        (target_config(kind="topic", topic="alerts", url=None), "the detector itself"),
        (target_config(send=["incidents"]), "kafka.incidents is not set"),
    ],
)
def test_what_only_shows_at_the_start_is_said_then(target: Any, why: str) -> None:
    section = {"targets": [{"kind": "file", "name": "f", "path": "p"}]}
    forward = parse(json.dumps({**SETTINGS, "forward": section}), "f", {}).config.forward
    assert forward is not None
    kafka = KAFKA.model_copy(update={"incidents": None}) if "not set" in why else KAFKA
    with pytest.raises(ConfigurationError, match=why):
        made_targets(kafka, forward.model_copy(update={"targets": [target]}))


def test_incidents_alone_go_where_people_look_unless_there_are_none() -> None:
    slack = target_config(kind="slack")
    assert slack.topics(KAFKA) == {"incidents": "incidents"}
    assert slack.topics(KAFKA.model_copy(update={"incidents": None})) == {"alerts": "alerts"}
    assert target_config().topics(KAFKA) == {"alerts": "alerts", "incidents": "incidents"}


# --- metrics -------------------------------------------------------------------------------------


def test_the_document_lists_exactly_the_metrics_with_type_and_labels() -> None:
    row = re.compile(
        r"^\| `(stream_detector_forward\w+)` \| (\w+) \| ([\w, ]*)\| (.+) \|$", re.MULTILINE
    )
    text = (REPOSITORY / "docs" / "forwarding.md").read_text()
    documented = {
        name: (kind, frozenset(filter(None, labels.replace(" ", "").split(","))))
        for name, kind, labels, _ in row.findall(text)
    }
    metrics = ForwardMetrics(["t"], ["refused"])
    metrics.add_refused("malformed")
    exported = {}
    for family in metrics.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        exported[name] = (family.type, frozenset(family.samples[0].labels))
    assert documented == exported


def test_the_rules_of_forward_are_about_these_metrics() -> None:
    rules = (REPOSITORY / "deploy" / "prometheus" / "rules.yml").read_text()
    known = {f"{family.name}" for family in ForwardMetrics(["t"], []).describe()}
    named = set(re.findall(r"stream_detector_forward_\w+", rules))
    assert len(named) >= 3
    assert {name.removesuffix("_total") for name in named} <= known
