"""A real Alertmanager: incidents fire there, change, and are resolved; no id comes twice."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.alertmanager import Alertmanager
from support.endpoint import FLAKY, Endpoint
from support.messages import alert, incident
from support.process import wait_until
from test_forward import Place, Topics, settled


@pytest.fixture
def place(kafka: Any, topic_factory: Topics, tmp_path: Path) -> Place:
    return Place(kafka.bootstrap, topic_factory, tmp_path)


def manager(url: str, **more: Any) -> dict[str, Any]:
    return {"kind": "alertmanager", "name": "am", "url": url, **more}


QUICK = {"resend": "1s", "expires": "4s"}


def told(receiver: Endpoint) -> list[tuple[str, str, str]]:
    """Status, incident and severity of each notification that Alertmanager sent."""
    return [
        (one["status"], one["labels"].get("incident_id", ""), one["annotations"]["severity"])
        for request in receiver.taken
        for one in request.json()["alerts"]
    ]


def test_an_incident_fires_changes_and_is_resolved(place: Place) -> None:
    with (
        Endpoint() as receiver,
        Alertmanager(place.directory / "am", receiver.url) as am,
        place.process(manager(am.url, labels={"team": "payments"}, **QUICK)) as forwarder,
    ):
        place.put(incident("a"))
        wait_until(am.alerts, "the incident to fire")
        (fires,) = am.alerts()
        assert fires["labels"] == {
            "alertname": "StreamDetectorIncident",
            "detector": "cards",
            "incident_id": "cards:a",
            "team": "payments",
        }
        assert fires["startsAt"] == incident("a")["first_seen"]
        place.put(incident("a", "updated", 2, "critical"))
        wait_until(lambda: am.alerts()[0]["annotations"]["severity"] == "critical", "the update")
        # Alertmanager keeps nothing over a restart: what is open comes again, and goes on.
        am.stop()
        am.start()
        wait_until(am.alerts, "the incident to fire again")
        place.put(incident("a", "resolved", 3, "critical"))
        wait_until(lambda: not am.alerts(), "the incident to be resolved")
        wait_until(lambda: ("resolved", "cards:a", "critical") in told(receiver), "the news")
        assert {name for _, name, _ in told(receiver)} == {"cards:a"}
        assert forwarder.metric("forward_open_incidents") in (0, 1)
        wait_until(lambda: forwarder.metric("forward_open_incidents") == 0, "none to be open")
    statuses = [status for status, _, _ in told(receiver)]
    assert statuses == sorted(statuses)  # firing, then resolved, and never firing again


def test_what_is_open_stays_open_while_the_forwarder_restarts_and_ends_when_it_dies(
    place: Place,
) -> None:
    with Endpoint() as receiver, Alertmanager(place.directory / "am", receiver.url) as am:
        with place.process(manager(am.url, **QUICK)) as forwarder:
            place.put(incident("a"), incident("b"), incident("b", "resolved", 2))
            wait_until(am.alerts, "the incident to fire")
            wait_until(lambda: forwarder.metric("forward_lag_records") == 0, "the offsets")
            forwarder.kill()
            forwarder.start()  # it has delivered everything, and has to look what is open
            wait_until(
                lambda: forwarder.metric("forward_repeated_total") >= 6,
                "more reminders than without them it could stay open",
            )
            assert [one["labels"]["incident_id"] for one in am.alerts()] == ["cards:a"]
        wait_until(lambda: not am.alerts(), "what nobody sends again to end")


def test_with_the_severity_as_a_label_what_got_worse_ends_under_the_old_one(place: Place) -> None:
    with (
        Endpoint() as receiver,
        Alertmanager(place.directory / "am", receiver.url) as am,
        place.process(manager(am.url, severity_label=True, **QUICK)),
    ):
        place.put(incident("a", severity="medium"))
        wait_until(am.alerts, "the incident to fire")
        place.put(incident("a", "updated", 2, "critical"))
        wait_until(
            lambda: [one["labels"]["severity"] for one in am.alerts()] == ["critical"], "the rise"
        )


def test_alerts_come_through_a_flaky_way_to_alertmanager_and_no_id_twice(place: Place) -> None:
    count, dice = 300, random.Random(3)
    odd = alert(count, id="rate:m:a b\x01é=%:2013", event_id="\x1b[31m\nx", detector="cards")
    place.put(*[alert(number) for number in range(count)], odd)
    with (
        Alertmanager(place.directory / "am") as am,
        Endpoint(lambda _: dice.choice(FLAKY) if dice.random() < 0.5 else "200") as flaky,
    ):
        flaky.behind, flaky.hang_seconds, flaky.retry_after = am.url, 1.0, "0"
        target = manager(
            flaky.url, send=["alerts"], alert_lasts="1h", request_timeout="500ms", max_batch=10
        )
        with place.process(target) as forwarder:
            wait_until(lambda: len(am.alerts()) == count + 1 and settled(forwarder), "all", 120)
        ids = Counter(one["labels"]["alert_id"] for one in am.alerts())
    assert len(ids) == count + 1
    assert set(ids.values()) == {1}
    assert place.dead() == []


def test_one_bad_message_of_a_batch_is_given_up_and_the_others_arrive(place: Place) -> None:
    place.put(*[alert(number) for number in range(9)], alert(9, detector="BAD"))
    with Endpoint() as endpoint:
        original = endpoint._answer

        def judging(request: Any) -> None:
            body = request.rfile.peek(int(request.headers["Content-Length"]))
            endpoint.script = lambda _: "400" if b"BAD" in body else "200"
            original(request)

        endpoint._answer = judging  # type: ignore[method-assign]
        with place.process(manager(endpoint.url, send=["alerts"])):
            wait_until(lambda: len(place.dead()) == 1, "a dead letter")
            wait_until(
                lambda: sum(len(one.json()) for one in endpoint.taken) == 9, "the nine others"
            )
