"""Rules of people: what they hide, what they cannot hide, and how they end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from stream_detector.config import Config, FieldPlan, state_fingerprint
from stream_detector.decoding import Decoder
from stream_detector.errors import ActError, StateMismatchError
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.pipeline import BatchResult, PipelineCore
from stream_detector.rules import RuleBook, RuleDisable, RulesConfig, read_act

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CONFIGURATION: dict[str, Any] = {
    "name": "payments",
    "event": {"time": {"field": "time", "format": "iso8601"}, "id": "id"},
    "features": [{"numeric": "amount", "transform": "log"}, {"numeric": "items"}],
    "suppression": {"key": "kind", "period": "1m"},
    "windows": [{"key": "card", "compute": ["count"], "half_lives": ["1d"]}],
    "detector": {"kind": "loda", "seed": 1},
    "threshold": {"budget": "1 %", "burn_in": 1000},
    "labels": {"field": "fraud", "delay": "2d"},
}
MINUTES = 3.0


def event(minute: float, number: int, card: str, amount: float, **more: Any) -> dict[str, Any]:
    time = (BEGIN + timedelta(minutes=minute)).isoformat()
    return {"id": f"e{number}", "time": time, "card": card, "amount": amount, "items": 3.0, **more}


def stream(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """A payment each three minutes, of a hundred cards; all of them are ordinary."""
    random = np.random.default_rng(seed)
    amounts = random.lognormal(4, 0.3, count).tolist()
    cards = random.integers(0, 100, count).tolist()
    return [
        event(MINUTES * n, n, f"c{card}", amount, fraud=0)
        for n, (card, amount) in enumerate(zip(cards, amounts, strict=True))
    ]


def strange(events: list[dict[str, Any]], rows: range, amount: float = 900.0, **more: Any) -> None:
    """The card "rent" pays much, each time."""
    for row in rows:
        events[row] = event(MINUTES * row, row, "rent", amount + row % 5, **{"fraud": 0, **more})


def rule(**changes: Any) -> dict[str, Any]:
    made = {
        "id": "rent",
        "owner": "Ada",
        "why": "the rent is paid so",
        "made": BEGIN.isoformat(),
        "expires": (BEGIN + 60 * DAY).isoformat(),
        "from": ["events-0-1"],
        "box": {
            "fields": [{"field": "card", "in": ["rent"]}],
            "features": [{"feature": "amount", "at_least": 800.0, "at_most": 1000.0}],
        },
        "rarest": 1e8,
    }
    return {**made, **changes}


def add(**changes: Any) -> str:
    return json.dumps({"version": 1, "act": "rule-add", "rule": rule(**changes)})


class Run:
    """A pipeline, and what came out of it."""

    def __init__(self, *, by_id: bool = False, **changes: Any) -> None:
        self.config = Config.model_validate({**CONFIGURATION, **changes})
        self.core = PipelineCore(self.config, state_fingerprint(self.config), by_id=by_id)
        self.decoder = Decoder(self.config, FieldPlan.of(self.config))
        self.alerts: list[dict[str, Any]] = []
        self.hidden: list[str] = []
        self.rulings: list[Any] = []
        self.next = 0

    def feed(self, events: list[dict[str, Any]], size: int = 500) -> None:
        for start in range(0, len(events), size):
            records = [
                PlainRecord(self.next + n, -1, None, json.dumps(each).encode())
                for n, each in enumerate(events[start : start + size])
            ]
            self.next += len(records)
            batch = self.decoder.decode(TopicPartition("events", 0), records)
            self.take(self.core.process(batch))

    def act(self, text: str) -> BatchResult:
        outcome = self.core.act(text)
        self.take(outcome)
        return outcome

    def take(self, outcome: BatchResult) -> None:
        self.alerts += [json.loads(alert.value or b"") for alert in outcome.alerts]
        self.hidden += [one.alert for one in outcome.hidden]
        self.rulings += [read_act(message.value or b"") for message in outcome.rulings]

    def of(self, card: str = "rent") -> list[dict[str, Any]]:
        return [a for a in self.alerts if a.get("event") and a["event"]["card"] == card]

    def about_rules(self) -> list[dict[str, Any]]:
        return [alert for alert in self.alerts if alert.get("kind") == "rule"]


def ruled(events: list[dict[str, Any]], *acts: str, at: int = 3000, **changes: Any) -> Run:
    run = Run(**changes)
    run.feed(events[:at])
    for text in acts:
        run.act(text)
    run.feed(events[at:])
    return run


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_recurs_in_a_box_alerts_no_more(seed: int) -> None:
    events = stream(8000, seed)
    strange(events, range(3200, 8000, 400))
    assert len(ruled(events).of()) >= 10, "or there is nothing to hide"
    run = ruled(events, add())
    assert run.of() == []
    assert len(run.hidden) >= 10
    assert run.about_rules() == []


def test_without_rules_nothing_is_other_and_nothing_is_kept() -> None:
    events = stream(4000)
    strange(events, range(3200, 4000, 400))
    first, second = ruled(events), ruled(events, "")
    assert first.alerts == second.alerts
    assert "rules" not in first.core.state()


@pytest.mark.parametrize("size", [1, 7, 500])
def test_the_cut_of_the_stream_changes_nothing(size: int) -> None:
    events = stream(4700)
    strange(events, range(3200, 4700, 200))
    strange(events, range(3300, 3301), fraud=1)
    whole, cut = Run(), Run()
    for run, step in ((whole, 4700), (cut, size)):
        run.feed(events[:3000], 500)
        run.act(add())
        run.feed(events[3000:], step)
    assert whole.alerts == cut.alerts
    assert whole.hidden == cut.hidden
    assert len(whole.about_rules()) == 1


def test_a_label_inside_the_event_disables_the_rule_once_it_may_be_known() -> None:
    events = stream(7000)
    strange(events, range(3200, 7000, 400))
    strange(events, range(3600, 3601), fraud=1)
    run = ruled(events, add())
    (told,) = run.about_rules()
    assert told["rule"]["disabled"] == "label"
    assert told["rule"]["alert"] == "events-0-3600"
    assert told["severity"] in ("high", "critical")
    assert run.rulings == [RuleDisable(1, "rent", "label", told["id"])], "other shards are told"
    (late,) = [alert for alert in run.alerts if "shown_by" in alert["receipt"]]
    assert (late["id"], late["event_id"]) == ("events-0-3600", "e3600")
    assert late["receipt"]["offset"] == 3600
    # Two days later, and not before: 480 events a day.
    assert 3600 + 960 <= late["receipt"]["shown_by"]["offset"] < 3600 + 960 + 300
    assert "events-0-4000" in run.hidden, "before the label is known, the rule holds"
    later = [alert["id"] for alert in run.of()]
    assert later, "and no more afterwards"
    assert all(int(one.rsplit("-", 1)[1]) > 4560 for one in later)


def test_a_label_by_id_disables_the_rule_and_shows_every_hit_that_it_hid() -> None:
    events = stream(5000)
    strange(events, range(3200, 5000, 400))
    run = ruled(events, add(), by_id=True)
    assert len(run.hidden) == 5
    ids = np.array(["e3200", "e3600", "e5", "e4000"], dtype=object)
    labels = np.array([1.0, 1.0, 1.0, 0.0])
    book = run.core.decisions.ruling.book
    from stream_detector.labels import identities  # noqa: PLC0415

    shown = book.take_labels(identities(ids.tolist()).tolist(), labels.tolist())
    assert [row for row, _ in shown] == [0, 1]
    assert [one.standing is not None for _, one in shown] == [True, False]
    assert book.phases(run.core.watermark_ms) == {"disabled": 1}


def test_what_is_far_rarer_than_what_it_was_made_from_disables_it_and_alerts() -> None:
    events = stream(4000)
    strange(events, range(3200, 3201), 135.0)
    strange(events, range(3400, 3401), 90_000.0)
    strange(events, range(3600, 3601), 135.0)
    small, large = ruled(events).of()[:2]
    assert large["rarity"] > 10 * small["rarity"], "or there is nothing to tell them apart by"
    wide = {
        "fields": [{"field": "card", "in": ["rent"]}],
        "features": [{"feature": "amount", "at_least": 100.0, "at_most": 1e6}],
    }
    run = ruled(events, add(box=wide, rarest=small["rarity"], score=small["score"]))
    assert run.hidden == ["events-0-3200"]
    (told,) = run.about_rules()
    assert told["rule"]["disabled"] == "rarer"
    own = next(alert for alert in run.alerts if alert["id"] == told["rule"]["alert"])
    assert own["rule"] == {"id": "rent", "disabled": "rarer"}
    assert own["event"]["amount"] >= 90_000.0
    ids = [alert["id"] for alert in run.alerts]
    assert ids.index(told["id"]) + 1 == ids.index(own["id"])


def test_more_in_a_day_than_it_may_hide_disables_it() -> None:
    events = stream(4000)
    strange(events, range(3200, 3400, 20))
    run = ruled(events, add(most_per_day=4))
    assert len(run.hidden) == 4
    (told,) = run.about_rules()
    assert told["rule"]["disabled"] == "flood"
    assert run.of(), "what comes after alerts"


def test_it_ends_by_the_time_of_the_stream_and_without_a_flood() -> None:
    events = stream(12_000)  # 25 days
    strange(events, range(3200, 12_000, 40))  # twelve a day
    expires = BEGIN + 10 * DAY
    run = ruled(events, add(expires=expires.isoformat(), made=(BEGIN + 6 * DAY).isoformat()))
    shown = run.of()
    first = datetime.fromisoformat(shown[0]["event_time"])
    assert expires <= first <= expires + DAY
    assert shown[0]["rule"] == {"id": "rent", "expired": expires.isoformat(), "held": 0}
    tail = [a for a in shown if datetime.fromisoformat(a["event_time"]) < expires + 4 * DAY]
    assert len(tail) <= 5, "one a day, for as long as it held"
    assert sum(alert["rule"]["held"] for alert in tail) >= 10
    after = [a for a in shown if datetime.fromisoformat(a["event_time"]) >= expires + 4 * DAY]
    assert all("rule" not in alert for alert in after)


def test_before_it_was_made_it_hides_nothing() -> None:
    events = stream(4000)
    strange(events, range(3200, 4000, 400))
    run = ruled(events, add(made=(BEGIN + 30 * DAY).isoformat()))
    assert run.hidden == []
    assert run.of()


@pytest.mark.parametrize(
    "missing",
    [
        {"feature": "nothing.such", "at_least": 0.0},
        {"feature": "kind", "at_most": 1e9},  # a text is no number
    ],
)
def test_what_is_missing_fulfils_no_condition(missing: dict[str, Any]) -> None:
    events = stream(4000)
    strange(events, range(3200, 4000, 400))
    box = {**rule()["box"], "features": [missing]}
    assert ruled(events, add(box=box)).hidden == []


def test_an_event_that_lacks_the_field_lies_in_no_box() -> None:
    events = stream(4000)
    strange(events, range(3200, 4000, 400))
    for row in range(3200, 4000, 400):
        del events[row]["items"]
    box = {**rule()["box"], "features": [{"feature": "items", "at_most": 1e9}]}
    assert ruled(events, add(box=box)).hidden == []


def test_what_is_strange_for_another_reason_is_not_hidden() -> None:
    events = stream(4000)
    strange(events, range(3200, 3201))
    strange(events, range(3600, 3601), items=4000.0)
    run = ruled(events, add(reasons=["amount"]))
    assert run.hidden == ["events-0-3200"]
    assert [alert["id"] for alert in run.of()] == ["events-0-3600"]
    assert run.about_rules() == [], "the rule has nothing to do with it"


def test_the_state_goes_on_with_the_same_bits() -> None:
    events = stream(7000)
    strange(events, range(3200, 7000, 300))
    strange(events, range(3500, 3501), fraud=1)
    whole = ruled(events, add())
    first = ruled(events[:4000], add())
    second = Run()
    second.core.restore(json_like(first.core.state()))
    second.next = 4000
    second.feed(events[4000:])
    assert first.alerts + second.alerts == whole.alerts
    assert first.hidden + second.hidden == whole.hidden


def json_like(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: json_like(value) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return [json_like(value) for value in state]
    return state


def test_a_rule_that_was_disabled_stays_so_when_its_act_comes_again() -> None:
    run = Run()
    assert run.act(add()).acts == {("rule-add", "taken"): 1}
    run.act('{"version":1,"act":"rule-disable","rule":"rent","because":"label","alert":"x"}')
    assert run.act(add()).acts == {("rule-add", "known"): 1}
    assert run.core.decisions.ruling.book.phases(run.core.watermark_ms) == {"disabled": 1}


def test_a_full_book_takes_the_place_of_what_has_ended_alone() -> None:
    run = Run(rules={"max_rules": 2})
    for name in ("a", "b"):
        run.act(add(id=name))
    assert run.act(add(id="c")).acts == {("rule-add", "full"): 1}
    run.act('{"version":1,"act":"rule-disable","rule":"b","because":"label","alert":"x"}')
    assert run.act(add(id="c")).acts == {("rule-add", "taken"): 1}
    names = [one.rule.id for one in run.core.decisions.ruling.book.standings]
    assert names == ["a", "c"]


def test_what_a_removed_rule_hid_is_still_shown_by_its_label() -> None:
    events = stream(7000)
    strange(events, range(3600, 3601), fraud=1)
    run = Run()
    run.feed(events[:3000])
    run.act(add())
    run.feed(events[3000:3700])
    run.act('{"version":1,"act":"rule-remove","rule":"rent","owner":"Ada","why":"moved"}')
    run.feed(events[3700:])
    assert run.hidden == ["events-0-3600"]
    assert [alert["id"] for alert in run.alerts if "shown_by" in alert["receipt"]] == [
        "events-0-3600"
    ]
    assert run.about_rules() == []


def test_remembered_events_are_bounded_and_the_oldest_go_first() -> None:
    events = stream(4000)
    strange(events, range(3200, 4000, 100))
    run = ruled(events, add(), rules={"max_hidden": 3})
    remembered = run.core.decisions.ruling.book.hidden_events
    assert (len(remembered), remembered.forgotten) == (3, 5)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"box": {}}, "no condition"),
        ({"box": {"features": [{"feature": "amount"}]}}, "neither"),
        ({"box": {"features": [{"feature": "amount", "at_least": 2, "at_most": 1}]}}, "above"),
        ({"box": {"fields": [{"field": "card", "in": []}]}}, "length"),
        (
            {"box": {"fields": [{"field": "card", "in": ["a"]}, {"field": "card", "in": ["b"]}]}},
            "two conditions",
        ),
        ({"box": {"fields": [{"field": "card", "matches": ".*"}]}}, "matches"),
        ({"expires": (BEGIN + 400 * DAY).isoformat()}, "longer than a year"),
        ({"expires": (BEGIN - DAY).isoformat()}, "before it holds"),
        ({"expires": "2026-04-01T00:00:00"}, "no zone"),
        ({"expires": "9999-01-01T00:00:00Z"}, "no time"),
        ({"expires": ""}, "length"),
        ({"owner": ""}, "length"),
        ({"why": ""}, "length"),
        ({"id": "../x"}, "regex"),
        ({"rarest": 1e12}, "rarity"),
        ({"rarest": "NaN"}, "float"),
        ({"from": []}, "length"),
        ({"unheard": 1}, "unheard"),
    ],
)
def test_a_rule_that_makes_no_sense_is_no_act(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ActError, match=why):
        read_act(add(**changes))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        '{"version":2,"act":"rule-remove","rule":"a","owner":"o","why":"w"}',
        '{"version":1,"act":"rule-everything"}',
        '{"act":"rule-remove","rule":"a","owner":"o","why":"w"}',
        '{"version":1,"act":"snooze","incident":"i","owner":"o","why":"w"}',
        '{"version":1,"act":"snooze","incident":"i","owner":"o","why":"w","until":"soon"}',
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        "[" * 5000,
        '{"version":1,"act":"rule-add","rule":{"why":"' + "x" * 20_000 + '"}}',
    ],
)
def test_what_is_no_act_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ActError):
        read_act(text)


def test_a_state_that_makes_no_sense_is_refused() -> None:
    run = ruled(stream(1200), add(), at=1100)
    good = run.core.state()["rules"]
    for changes in (
        {"rules": [{**good["rules"][0], "hidden": -1}]},
        {"rules": [{**good["rules"][0], "disabled": 3}]},
        {"rules": good["rules"] * 2},
        {"rules": [{**good["rules"][0], "rule": {}}]},
        {"events": [["rent", 1, 0, True, 5, None, 0]]},
        {"events": [["rent", 1, 0, True, "x" * 100_000, None, 0]]},
        {"events": 3},
    ):
        with pytest.raises(StateMismatchError):
            RuleBook(RulesConfig()).restore({**good, **changes})
