"""Who sees to an incident, and for how long nobody hears of it: acts, in pipeline and daemon."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode
from urllib.request import Request, urlopen

import pytest
from kafka_broker.clients import consume_all, create_topic, produce, unique_name
from support.process import DaemonProcess, wait_until
from support.streams import records
from test_daemon import messages
from test_incident_daemon import config_of, named
from test_label_command import LABELS, TOKEN
from test_rules import BEGIN, DAY, Run, strange, stream
from test_rules_daemon import delete_topic
from test_state_verify import verify

from stream_detector.__main__ import main

SECTION = {"group_wait": "1m", "quiet": "3d"}


class Watched(Run):
    """A pipeline with incidents, and what was said of them."""

    def __init__(self) -> None:
        super().__init__(incidents=SECTION)
        self.bodies: list[dict[str, Any]] = []

    def take(self, outcome: Any) -> None:
        super().take(outcome)
        self.bodies += [json.loads(message.value or b"") for message in outcome.incidents]


def events() -> list[dict[str, Any]]:
    made = stream(6000)
    strange(made, range(3200, 6000, 40))
    return made


def act(kind: str, incident: str, **more: Any) -> str:
    said = {"version": 1, "act": kind, "incident": incident, "owner": "Ada", "why": "the bank"}
    return json.dumps({**said, **more})


def test_an_acknowledged_incident_says_who_sees_to_it_and_where_that_was_written() -> None:
    run = Watched()
    run.feed(events()[:4000])
    opened = next(body for body in run.bodies if body["scope"]["value"] == "rent")
    outcome = run.core.act(act("acknowledge", opened["id"]), 17, 3)
    run.take(outcome)
    assert outcome.acts == {("acknowledge", "taken"): 1}
    told = run.bodies[-1]
    assert (told["id"], told["change"]) == (opened["id"], "acknowledged")
    assert told["acknowledged"]["owner"] == "Ada"
    assert (told["receipt"]["act"], told["receipt"]["shard"]) == (17, 3)
    assert run.core.decisions.acts_from == 18


def test_a_snoozed_incident_is_quiet_up_to_its_end() -> None:
    made = events()
    bare, run = Watched(), Watched()
    for each in (bare, run):
        each.feed(made[:4000])
    opened = next(body for body in run.bodies if body["scope"]["value"] == "rent")
    until = (BEGIN + 10 * DAY).isoformat()
    assert run.act(act("snooze", opened["id"], until=until)).acts == {("snooze", "taken"): 1}
    for each in (bare, run):
        each.feed(made[4000:])
    times = [one["event_time"] for one in run.of() if one["event_time"] > "2026-03-09T09"]
    assert not [time for time in times if time < "2026-03-11"]
    assert len(run.of()) < len(bare.of())


def test_acts_on_what_is_not_open_change_nothing() -> None:
    run = Watched()
    run.feed(events()[:1500])
    assert run.act(act("acknowledge", "nobody")).acts == {("acknowledge", "unknown"): 1}
    bare = Run()
    assert bare.act(act("acknowledge", "nobody")).acts == {("acknowledge", "unknown"): 1}


def test_a_rule_shows_in_the_incident_what_it_hides() -> None:
    from test_rules import add  # noqa: PLC0415

    run = Watched()
    made = events()
    run.feed(made[:3300])
    run.act(add())
    run.feed(made[3300:])
    told = [body for body in run.bodies if body.get("hidden_by")]
    assert told
    assert told[-1]["hidden_by"]["rent"] > 0


def test_the_command_writes_the_act_the_daemon_takes_it_in_and_it_is_computed_again(
    kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap = kafka.bootstrap
    section = {**named(kafka, 1), "rules": f"rules-{tmp_path.name}"}
    config = config_of(
        section, tmp_path, incidents={"group_wait": "2m", "quiet": "12h", "longest_quiet": "2d"}
    )
    produce(bootstrap, section["topics"][0], messages(records(3000), 1))

    def told() -> list[dict[str, Any]]:
        found = consume_all(bootstrap, section["incidents"])
        return [json.loads(one.value) for one in found if one.value]

    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_processed(3000).wait_worked_off()
        wait_until(told, "an incident")
        last = {body["id"]: body for body in told()}
        identity = next(name for name, body in last.items() if body["state"] != "resolved")
        path = str(daemon.config)
        said = ["--owner", "Ada", "--why", "the bank"]
        assert main(["incidents", path, "snooze", identity, *said]) == 2
        assert main(["incidents", path, "snooze", "nobody", *said, "--for", "4h"]) == 2
        assert main(["incidents", path, "snooze", identity, *said, "--for", "4h"]) == 0
        assert main(["incidents", path, "acknowledge", identity, *said]) == 0
        changes = lambda: {body["change"] for body in told() if body["id"] == identity}  # noqa: E731
        wait_until(lambda: {"snoozed", "acknowledged"} <= changes(), "both acts")
        assert daemon.stop() == 0, daemon.text()
    capsys.readouterr()
    delete_topic(bootstrap, section["rules"])
    code, found = verify(daemon.config)
    assert code == 0, json.dumps(found, indent=1)


def test_the_page_of_a_running_daemon_takes_an_acknowledgement(kafka, tmp_path: Path) -> None:
    bootstrap = kafka.bootstrap
    labels = create_topic(bootstrap, unique_name("labels"), 1)
    section = {**named(kafka, 1), "rules": f"rules-{tmp_path.name}", "labels": labels}
    config = config_of(
        section,
        tmp_path,
        incidents={"group_wait": "2m", "quiet": "12h", "longest_quiet": "2d"},
        **LABELS,
        metrics={"port": 0, "label_token": "${LABEL_TOKEN}"},
    )
    produce(bootstrap, section["topics"][0], messages(records(3000), 1))
    with DaemonProcess(tmp_path, config, environment={"LABEL_TOKEN": TOKEN}) as daemon:
        daemon.wait_processed(3000).wait_worked_off()
        link = re.compile(r'href="(/incident\?incident=([^"]+))">see to it')
        page = wait_until(lambda: link.search(daemon.get("/")[1]), "an open incident", every=0.5)
        assert 'value="snooze"' in daemon.get(page[1])[1]
        said = {"owner": "Ada", "why": "the bank", "until": "4h", "token": TOKEN}
        wish = {"incident": unquote(page[2]), "do": "acknowledge", **said}
        request = Request(
            daemon.url() + "/incident", urlencode(wish).encode(), {"Origin": daemon.url()}
        )
        with urlopen(request, timeout=20) as answer:
            assert "is acknowledged until 20" in answer.read().decode()

        def told() -> list[dict[str, Any]]:
            found = consume_all(bootstrap, section["incidents"])
            return [json.loads(one.value) for one in found if b'"acknowledged"' in one.value]

        last = wait_until(
            lambda: [body for body in told() if body["change"] == "acknowledged"], "the message"
        )[-1]
        assert last["id"] == unquote(page[2])
        assert last["acknowledged"]["owner"] == "Ada"
        assert TOKEN not in daemon.text() + daemon.get("/")[1]
        assert daemon.stop() == 0, daemon.text()
    delete_topic(bootstrap, section["rules"])
