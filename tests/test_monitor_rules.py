"""Rules of what monitors find: what they hide, what they cannot hide, and how they end."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka_broker.clients import Message, consume_all, produce, unique_name
from test_daemon import topics
from test_docs import VALIDATOR
from test_rules import BEGIN, CONFIGURATION, DAY, Run, add, rule

from stream_detector.__main__ import main
from stream_detector.config import state_fingerprint
from stream_detector.pipeline import BatchResult, PipelineCore
from stream_detector.rules import RuleAdd, RuleDisable, read_act

HOUR = timedelta(hours=1)
DAYS = 9
RATE = {"bucket": "1h", "season": "none", "widths": [1], "deviations": 5, "population": False}
MONITORS = [
    {"kind": "rate", "name": "cards", "key": "card", **RATE},
    {"kind": "rate", "name": "all", **RATE, "deviations": 4},
    {"kind": "silence", "name": "silent", "key": "card", "season": "none", "population": False},
]
NIGHTS = range(3, DAYS)
"""From the third on the card "batch" pays sixty times more between three and four o'clock."""


def payments(surge: int = 60, nights: range = NIGHTS) -> list[dict[str, Any]]:
    """Five cards that pay twelve times an hour; the nights of "batch" besides."""
    random = np.random.default_rng(7)
    made = []
    for card in ("batch", "c1", "c2", "c3", "c4"):
        times = random.uniform(0, DAYS * 24, random.poisson(DAYS * 24 * 12)).tolist()
        if card == "batch":
            times += [24 * night + 3 + x for night in nights for x in random.uniform(0, 1, surge)]
        made += [
            (hours, card, amount)
            for hours, amount in zip(times, random.lognormal(4, 0.3, len(times)), strict=True)
        ]
    return [
        {
            "id": f"e{n}",
            "time": (BEGIN + hours * HOUR).isoformat(),
            "card": card,
            "amount": float(amount),
            "items": 3.0,
        }
        for n, (hours, card, amount) in enumerate(sorted(made))
    ]


def until(events: list[dict[str, Any]], moment: Any) -> int:
    return sum(each["time"] < moment.isoformat() for each in events)


def box(low: float = 0.0, high: float = 100.0, key: str = "batch") -> dict[str, Any]:
    return {
        "fields": [{"field": "key", "in": [key]}],
        "features": [{"feature": "deviations", "at_least": low, "at_most": high}],
    }


def told(run: Run, monitor: str = "cards", key: str = "batch") -> list[dict[str, Any]]:
    """Alerts of a monitor about a key."""
    return [
        one
        for one in run.alerts
        if one.get("monitor", {}).get("name") == monitor and one["monitor"]["key"] == key
    ]


class Watched(Run):
    """A pipeline with monitors and incidents, and what was said of these."""

    def __init__(self, **changes: Any) -> None:
        given = {"monitors": MONITORS, "labels": None, "incidents": {"group_wait": "2m"}}
        super().__init__(**given, **changes)
        self.bodies: list[dict[str, Any]] = []

    def take(self, outcome: BatchResult) -> None:
        super().take(outcome)
        self.bodies += [json.loads(one.value or b"") for one in outcome.incidents]


def watched(*acts: str, events: list[dict[str, Any]] | None = None, **changes: Any) -> Watched:
    """A run of the payments with acts taken in on the third day, after the first of the nights."""
    events = payments() if events is None else events
    run = Watched(**changes)
    at = until(events, BEGIN + 3 * DAY + 12 * HOUR)
    run.feed(events[:at])
    for text in acts:
        run.act(text)
    run.feed(events[at:])
    return run


def hiding(**changes: Any) -> str:
    """The rule on what the monitor finds of "batch"."""
    given = {"monitor": "cards", "box": box(), "rarest": 1e9, **changes}
    return add(**given)


BARE = watched()


def test_what_a_monitor_finds_again_and_again_alerts_no_more() -> None:
    assert len(told(BARE)) >= len(NIGHTS), "each night is found without a rule"
    run = watched(hiding())
    assert len(told(run)) == 1, "the first night, before the rule"
    found = {one["id"] for one in told(BARE)[1:]}
    assert set(run.hidden) == found
    (standing,) = run.core.decisions.ruling.book.standings
    assert (standing.hidden, standing.disabled) == (len(found), "")


def others(run: Run) -> list[str]:
    """Ids of all alerts but those about the key that the rule is about."""
    mine = {one["id"] for one in told(run)}
    return [alert["id"] for alert in run.alerts if alert["id"] not in mine]


def test_it_covers_that_monitor_and_that_key_alone() -> None:
    run = watched(hiding())
    assert others(run) == others(BARE)
    assert told(run, "all", "") == told(BARE, "all", "") != []
    for name in ("all", "silent", "events"):
        assert told(watched(hiding(monitor=name))) == told(BARE)
    assert told(watched(hiding(box=box(key="c1")))) == told(BARE)


def test_a_rule_for_events_hides_no_finding_and_one_for_a_monitor_no_event() -> None:
    everything = {"fields": [{"field": "card", "in": ["batch"]}]}
    run = watched(hiding(monitor="", box=everything))
    assert told(run) == told(BARE)
    strange = payments()
    for n in range(until(strange, BEGIN + 5 * DAY), len(strange), 500):
        strange[n] |= {"card": "batch", "amount": 1e7}
    bare, run = watched(events=strange), watched(hiding(), events=strange)
    assert [a["id"] for a in run.of("batch")] == [a["id"] for a in bare.of("batch")] != []


def test_a_rule_for_too_many_does_not_cover_too_few() -> None:
    night = BEGIN + 6 * DAY + 3 * HOUR
    fewer = [
        one
        for one in payments(nights=range(3, 6))
        if not (
            one["card"] == "batch"
            and night.isoformat() <= one["time"] < (night + 5 * HOUR).isoformat()
        )
    ]
    bare, run = watched(events=fewer), watched(hiding(), events=fewer)
    low = [one["id"] for one in told(bare) if one["reasons"][0]["deviations"] < 0]
    assert low
    assert [one["id"] for one in told(run)[1:]] == low
    assert told(run, "silent") == told(bare, "silent") != []


def test_what_is_far_rarer_disables_it_with_an_alert_and_alerts_itself() -> None:
    run = watched(hiding(rarest=1e3))
    (alert,) = run.about_rules()
    VALIDATOR.validate(alert)
    assert alert["rule"]["disabled"] == "rarer"
    assert alert["severity"] in ("high", "critical")
    second = told(run)[1]
    assert alert["id"] == f"rule:rent:{second['id']}"
    assert second["rule"] == {"id": "rent", "disabled": "rarer"}
    assert len(told(run)) == len(told(BARE)), "from then on it hides nothing"
    assert run.rulings == [RuleDisable(1, "rent", "rarer", alert["id"])]


def test_more_in_a_day_than_it_may_hide_disables_it() -> None:
    events = payments(nights=range(3, 5))
    keys = ["batch", "c1", "c2", "c3"]
    random = np.random.default_rng(3)
    for card in keys:  # all in one night
        for x in random.uniform(0, 1, 60):
            moment = BEGIN + 5 * DAY + (3 + x) * HOUR
            events.append({**events[0], "card": card, "time": moment.isoformat()})
    events.sort(key=lambda one: one["time"])
    wide = {**box(), "fields": [{"field": "key", "in": keys}]}
    run = watched(hiding(most_per_day=2, box=wide), events=events)
    (alert,) = run.about_rules()
    assert alert["rule"]["disabled"] == "flood"
    night = (BEGIN + 5 * DAY).isoformat()
    shown = [one for key in keys for one in told(run, key=key) if one["event_time"] > night]
    assert len(shown) == 2
    assert [one.get("rule") for one in shown] == [{"id": "rent", "disabled": "flood"}, None]


def test_it_ends_by_the_time_of_the_stream_and_without_a_flood() -> None:
    ends = BEGIN + 5 * DAY + 12 * HOUR
    made = BEGIN + 3 * DAY
    run = watched(
        hiding(made=made.isoformat(), expires=ends.isoformat()), rules={"after_expiry": "2d"}
    )
    after = [one for one in told(run) if one["event_time"] > ends.isoformat()]
    assert after[0]["rule"]["id"] == "rent"
    assert after[0]["rule"]["expired"] == ends.isoformat()
    over = ends + (ends - made)
    held = [one["event_time"] for one in after if one["event_time"] < over.isoformat()]
    before = [one for one in told(BARE) if ends.isoformat() < one["event_time"] < over.isoformat()]
    assert (len(before), len(held)) == (2, 1)
    assert after[-1]["event_time"] > over.isoformat(), "and then it alerts as before"
    assert "rule" not in after[-1]


def test_the_incident_counts_what_is_hidden_and_a_hidden_finding_opens_none() -> None:
    run = watched(hiding())
    opened = [
        sum(
            body["change"] in ("opened", "reopened") and body["scope"]["value"] == "batch"
            for body in each.bodies
        )
        for each in (run, BARE)
    ]
    assert opened[0] < opened[1]
    last = {body["id"]: body for body in run.bodies}
    told_hidden = sum(body["hidden_by"].get("rent", 0) for body in last.values())
    assert 0 <= told_hidden <= len(run.hidden)
    assert {body["hidden"] for body in {one["id"]: one for one in BARE.bodies}.values()} == {0}


@pytest.mark.parametrize("size", [97, 5000])
def test_the_cut_of_the_stream_and_a_restart_change_nothing(size: int) -> None:
    events = payments()
    whole = watched(hiding(most_per_day=2))
    run = Watched()
    at = until(events, BEGIN + 3 * DAY + 12 * HOUR)
    run.feed(events[:at], size)
    run.act(hiding(most_per_day=2))
    middle = until(events, BEGIN + 6 * DAY + 3.5 * HOUR)
    run.feed(events[at:middle], size)
    state = run.core.state()
    run.core = PipelineCore(run.config, state_fingerprint(run.config))
    run.core.restore(state)
    run.feed(events[middle:], size)
    assert run.alerts == whole.alerts
    assert run.hidden == whole.hidden
    assert run.bodies == whole.bodies


def test_a_silence_that_a_tick_finds_is_hidden_and_may_disable_the_rule() -> None:
    """Nothing comes any more: all cards fall silent, and only a tick says so."""
    events = payments(nights=range(0))
    end = BEGIN + DAYS * DAY + 12 * HOUR
    silent = {"fields": [{"field": "key", "in": ["c1"]}]}
    for rarest, hidden in ((1e9, True), (1.0, False)):
        run = Watched()
        run.feed(events)
        run.act(hiding(monitor="silent", box=silent, rarest=rarest))
        run.take(run.core.tick(int(end.timestamp() * 1000)))
        assert len(told(run, "silent", "c2")) == 1
        assert len(told(run, "silent", "c1")) == (not hidden)
        assert len(run.about_rules()) == (not hidden)
        for one in run.about_rules():
            VALIDATOR.validate(one)
            assert "tick" in one["receipt"]


def test_the_command_proposes_a_rule_for_a_monitors_alert_that_hides_what_comes_again(
    kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap = kafka.bootstrap
    section = {**topics(bootstrap), "rules": unique_name("rules")}
    first, last = told(BARE)[0], payments()[-1]
    produce(bootstrap, section["alerts"], [Message(json.dumps(a).encode()) for a in BARE.alerts])
    produce(bootstrap, section["topics"][0], [Message(json.dumps(last).encode())])
    config = {name: each for name, each in CONFIGURATION.items() if name != "labels"}
    config |= {"kafka": section, "monitors": MONITORS, "metrics": {"port": 0}}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    said = ["--expires", "30d", "--owner", "Ada", "--why", "the nightly batch", "--yes"]
    assert main(["rule", "add", str(path), "--from", first["id"], *said]) == 0
    assert "key is batch" in capsys.readouterr().out
    (act,) = [read_act(record.value) for record in consume_all(bootstrap, section["rules"])]
    assert isinstance(act, RuleAdd)
    assert (act.rule.monitor, act.rule.score, act.rule.reasons) == ("cards", None, ())
    proposed = json.loads(consume_all(bootstrap, section["rules"])[0].value)["rule"]
    times = {name: rule()[name] for name in ("made", "expires")}
    text = json.dumps({"version": 1, "act": "rule-add", "rule": {**proposed, **times}})
    run = watched(text)
    assert len(told(run)) <= 2
    assert run.about_rules() == []
    other = next(one for one in BARE.alerts if one.get("monitor", {}).get("name") == "all")
    assert (
        main(["rule", "add", str(path), "--from", first["id"], "--from", other["id"], *said]) == 2
    )
    assert "one monitor" in capsys.readouterr().err
    assert main(["rule", "add", str(path), "--from", other["id"], *said]) == 0
