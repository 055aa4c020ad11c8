"""`stream-detector forward` on a real broker: what arrives, and what happens when nothing does."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from support.endpoint import FLAKY, Endpoint
from support.fake_registry import FakeRegistry
from support.messages import alert, incident, record
from support.process import DaemonProcess, wait_until
from support.streams import SETTINGS

from stream_detector.alert_avro.form import AlertForm
from stream_detector.alert_avro.schema import ALERT_SCHEMA

Topics = Callable[..., str]


class Place:
    """Topics of a test, and a forwarder's configuration for them."""

    def __init__(
        self, bootstrap: str, topics: Topics, directory: Path, partitions: int = 1
    ) -> None:
        self.bootstrap, self.directory = bootstrap, directory
        self.alerts = topics("alerts", partitions)
        self.incidents = topics("incidents", partitions, cleanup_policy="compact")
        self.letters = topics("letters")
        self.group = unique_name("group")

    def settings(self, *targets: dict[str, Any], **forward: Any) -> dict[str, Any]:
        kafka = {
            "bootstrap_servers": self.bootstrap,
            "topics": ["events"],
            "group": self.group,
            "alerts": self.alerts,
            "incidents": self.incidents,
            "dead_letters": self.letters,
        }
        quick = {"start": "earliest", "first_pause": "20ms", "longest_pause": "200ms"}
        section = {"targets": [{**quick, **target} for target in targets], "port": 0, **forward}
        return {**SETTINGS, "kafka": kafka, "forward": section, "metrics": {"port": 0}}

    def put(self, *bodies: dict[str, Any], partition: int | None = 0) -> None:
        for topic, with_state in ((self.alerts, False), (self.incidents, True)):
            chosen = [record(one, partition) for one in bodies if ("state" in one) == with_state]
            if chosen:
                produce(self.bootstrap, topic, chosen)

    def process(self, *targets: dict[str, Any], **forward: Any) -> DaemonProcess:
        settings = self.settings(*targets, **forward)
        return DaemonProcess(self.directory, settings, command="forward", name="forward")

    def dead(self) -> list[Any]:
        return consume_all(self.bootstrap, self.letters)


@pytest.fixture
def place(kafka: Any, topic_factory: Topics, tmp_path: Path) -> Place:
    return Place(kafka.bootstrap, topic_factory, tmp_path)


def hook(endpoint: Endpoint, **more: Any) -> dict[str, Any]:
    return {"kind": "webhook", "name": "hook", "url": endpoint.url, **more}


def test_alerts_and_incidents_arrive_at_a_webhook_each_with_its_key(place: Place) -> None:
    place.put(alert(1), alert(2), incident("a"), incident("a", "resolved", 2))
    with Endpoint() as endpoint, place.process(hook(endpoint)) as forwarder:
        wait_until(lambda: len(endpoint.taken) == 4, "four messages")
        forwarder.wait_ready()
        assert forwarder.metric("forward_sent_total", target="hook") == 4
    assert Counter(endpoint.keys()) == Counter(
        ["events-0-1", "events-0-2", "cards:a/1", "cards:a/2"]
    )
    bodies = {one.headers["ce-id"]: one.json() for one in endpoint.taken}
    assert bodies["events-0-1"] == alert(1)
    assert bodies["cards:a/2"] == incident("a", "resolved", 2)
    ids = [one.headers["ce-id"] for one in endpoint.taken]
    assert ids.index("cards:a/1") < ids.index("cards:a/2")


def test_what_a_target_is_not_to_get_is_counted_and_passed_over(place: Place) -> None:
    place.put(
        alert(1, "low"),
        alert(2, "critical"),
        alert(3, "critical", kind="rate", monitor={"name": "m"}, reasons=[]),
        incident("a"),
        incident("a", "updated", 2),
        incident("a", "resolved", 3, kinds={"rate": 1}),
    )
    with Endpoint() as endpoint:
        chosen = hook(endpoint, severity="high", kinds=["event"], states=["open", "resolved"])
        with place.process(chosen) as forwarder:
            wait_until(lambda: len(endpoint.taken) == 2, "two messages")
            wait_until(
                lambda: forwarder.metric("forward_filtered_total", target="hook") == 4,
                "the others to be passed over",
            )
    assert set(endpoint.keys()) == {"events-0-2", "cards:a/1"}


def test_every_alert_comes_through_an_endpoint_that_fails_half_of_the_time(place: Place) -> None:
    count, dice = 400, random.Random(5)
    place.put(*[alert(number) for number in range(count)])
    with Endpoint(lambda _: dice.choice(FLAKY) if dice.random() < 0.5 else "200") as endpoint:
        endpoint.hang_seconds, endpoint.retry_after = 1.0, "0"
        target = hook(endpoint, request_timeout="300ms", concurrency=8)
        with place.process(target) as forwarder:
            wait_until(
                lambda: len(endpoint.taken) >= count and settled(forwarder), "all alerts", 120
            )
    keys = Counter(endpoint.keys())
    assert keys.keys() == {f"events-0-{number}" for number in range(count)}
    # What was answered well never comes again.
    assert [key for key, times in keys.items() if times > 1] == []
    assert set(endpoint.modes) == {"200", *FLAKY}
    assert place.dead() == []


def settled(forwarder: DaemonProcess) -> bool:
    return forwarder.metric("forward_waiting") == 0


def test_what_is_refused_goes_to_the_dead_letters_whole_and_the_others_go_on(place: Place) -> None:
    place.put(*[alert(number) for number in range(6)])
    produce(place.bootstrap, place.alerts, [Message(b"\xffno JSON", 0, b"k")])
    answers = {0: "400", 1: "413 unread", 2: "422"}
    with Endpoint(lambda number: answers.get(number, "204")) as endpoint:
        with place.process(hook(endpoint, concurrency=1)) as forwarder:
            wait_until(lambda: len(place.dead()) == 4, "four dead letters")
            wait_until(lambda: len(endpoint.taken) == 3, "the others")
            assert forwarder.metric("forward_dead_letters_total", target="hook") == 4
        dead = place.dead()
    headers = [dict(one.headers) for one in dead]
    assert {one["__connect.errors.exception.class.name"] for one in headers} == {
        b"refused", b"unwritable",
    }  # fmt: skip
    assert all(one["__connect.errors.connector.name"] == b"test/hook" for one in headers)
    said = [one["__connect.errors.exception.message"] for one in headers]
    assert b"status 400" in said[0]
    assert [json.loads(one.value)["id"] for one in dead[:3]] == [f"events-0-{n}" for n in range(3)]
    assert dead[3].value == b"\xffno JSON"


@pytest.mark.parametrize("mode", ["401", "404", "redirect"])
def test_where_the_address_or_the_login_is_wrong_nothing_is_given_up(
    place: Place, mode: str
) -> None:
    place.put(*[alert(number) for number in range(20)])
    modes = [mode]
    with Endpoint(lambda _: modes[0]) as endpoint, place.process(hook(endpoint)) as forwarder:
        wait_until(lambda: endpoint.modes[mode] > 12, "some attempts")
        wait_until(lambda: "not delivered" in forwarder.text(), "a line of the log")
        assert forwarder.metric("forward_failures_total", reason="denied") > 12
        modes[0] = "200"
        wait_until(lambda: len(endpoint.taken) == 20, "all of them")
        assert forwarder.metric("forward_dead_letters_total") == 0


def test_a_message_that_is_always_denied_while_others_get_through_is_a_dead_letter(
    place: Place,
) -> None:
    place.put(*[alert(number) for number in range(200)])
    with Endpoint() as endpoint:
        endpoint.script = lambda _: "200"
        original = endpoint._answer

        def judging(request: Any) -> None:
            key = request.headers["Idempotency-Key"]
            endpoint.script = lambda _: "403" if key == "events-0-7" else "200"
            original(request)

        endpoint._answer = judging  # type: ignore[method-assign]
        target = hook(endpoint, concurrency=1, per_second=100)
        with place.process(target) as forwarder:
            wait_until(lambda: len(endpoint.taken) == 199, "the others")
            wait_until(lambda: len(place.dead()) == 1, "a dead letter")
            wait_until(lambda: settled(forwarder), "nothing to wait")
    assert json.loads(place.dead()[0].value)["id"] == "events-0-7"


def test_an_outage_is_sat_out_and_a_restart_goes_on_where_it_was(place: Place) -> None:
    place.put(*[alert(number) for number in range(3)])
    with Endpoint() as endpoint, place.process(hook(endpoint), max_waiting=50) as forwarder:
        wait_until(lambda: len(endpoint.taken) == 3, "three alerts")
        endpoint.stop()
        place.put(*[alert(number) for number in range(3, 1500)])
        wait_until(lambda: forwarder.metric("forward_failures_total") > 5, "failures")
        wait_until(lambda: forwarder.metric("forward_failing_seconds") > 0, "the metric")
        # What waits in memory stays bounded: the bound and what one poll brings.
        assert 50 <= forwarder.metric("forward_waiting") <= 550
        forwarder.kill()
        endpoint.start()
        forwarder.start()
        wait_until(lambda: len(endpoint.taken) >= 1500, "all alerts", 120)
        wait_until(lambda: forwarder.metric("forward_lag_records") == 0, "no lag")
        assert forwarder.stop() == 0
    assert Counter(endpoint.keys()) == Counter(f"events-0-{number}" for number in range(1500))


def test_nothing_is_lost_by_kills_at_random_moments(place: Place) -> None:
    count, kills, dice = 600, 5, random.Random(11)
    place.put(*[alert(number) for number in range(count)])
    with Endpoint() as endpoint, place.process(hook(endpoint, per_second=150)) as forwarder:
        for _ in range(kills):
            before = len(endpoint.taken)
            more = dice.randrange(20, 90)
            wait_until(lambda at=before + more: len(set(endpoint.keys())) >= min(at, count), "some")
            forwarder.kill()
            forwarder.start()
        wait_until(lambda: len(set(endpoint.keys())) == count, "all alerts")
        wait_until(lambda: forwarder.metric("forward_lag_records") == 0, "no lag")
    # A kill may repeat what was sent since the last commit, under the same key.
    assert max(Counter(endpoint.keys()).values()) <= 1 + kills


def test_a_new_target_begins_at_the_end_and_two_targets_do_not_wait_for_each_other(
    place: Place,
) -> None:
    place.put(alert(1))
    with Endpoint() as good, Endpoint(lambda _: "500") as bad:
        late = {**hook(good), "name": "late", "start": "latest"}
        targets = [hook(bad), late]
        with place.process(*targets) as forwarder:
            wait_until(lambda: bad.modes["500"] > 3, "attempts at the one that fails")
            wait_until(lambda: "late: 2 partitions" in forwarder.text(), "the other one's share")
            wait_until(lambda: forwarder.metric("forward_lag_records", target="late") == 0, "x")
            place.put(alert(2))
            wait_until(lambda: good.keys() == ["events-0-2"], "the new one alone")


def test_slack_gets_escaped_text_at_its_own_pace(place: Place) -> None:
    hostile = "<!channel> & <https://evil.example|pay>"
    place.put(*[alert(number, event_id=hostile) for number in range(4)])
    target = {"kind": "slack", "name": "slack", "send": ["alerts"], "link": "https://d.example/x"}
    with Endpoint() as endpoint, place.process({**target, "url": endpoint.url}):
        wait_until(lambda: len(endpoint.taken) == 4, "four messages")
    times = [one.at for one in endpoint.taken]
    assert times[3] - times[0] >= 2.9  # one a second: never faster, whatever the machine does
    body = endpoint.taken[0].json()
    block = body["blocks"][0]["text"]
    assert block["type"] == "mrkdwn"
    assert block["verbatim"] is True
    for text in (body["text"], block["text"]):
        assert "&lt;!channel&gt; &amp; &lt;https://evil.example" in text
        assert "<!" not in text
        assert text.count("<") == text.count("<https://d.example/x|")


def test_messages_go_to_a_topic_and_to_a_file_as_ecs_and_ocsf(
    place: Place, topic_factory: Topics
) -> None:
    place.put(alert(1), incident("a"))
    topic, path = topic_factory("ecs"), place.directory / "ocsf.jsonl"
    to_topic = {"kind": "topic", "name": "ecs", "topic": topic}
    to_file = {"kind": "file", "name": "ocsf", "path": str(path), "format": "ocsf"}
    with place.process(to_topic, to_file) as forwarder:
        wait_until(lambda: forwarder.metric("forward_sent_total") == 4, "both everywhere")
    written = consume_all(place.bootstrap, topic)
    assert {one.key for one in written} == {b"events-0-1", b"cards:a"}
    assert {json.loads(one.value)["event"]["id"] for one in written} == {"events-0-1", "cards:a/1"}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["metadata"]["uid"] for line in lines} == {"events-0-1", "cards:a/1"}


def test_two_workers_share_the_partitions_and_one_takes_over_from_the_other(
    kafka: Any, topic_factory: Topics, tmp_path: Path
) -> None:
    place = Place(kafka.bootstrap, topic_factory, tmp_path, partitions=4)
    produce(place.bootstrap, place.alerts, [record(alert(n), n % 4) for n in range(200)])
    with Endpoint() as endpoint:
        settings = place.settings(hook(endpoint, per_second=60))
        with (
            DaemonProcess(tmp_path / "a", settings, command="forward") as one,
            DaemonProcess(tmp_path / "b", settings, command="forward") as other,
        ):
            wait_until(lambda: len(endpoint.taken) > 20, "some")
            one.wait_ready()
            other.wait_ready()
            one.kill()
            wait_until(lambda: len(set(endpoint.keys())) == 200, "all alerts", 90)


def test_alerts_in_avro_wait_for_their_schema_and_arrive_as_json(place: Place) -> None:
    registry = FakeRegistry()
    registry.avro(7, ALERT_SCHEMA)
    form = AlertForm(7, ALERT_SCHEMA)
    values = [form.encode(alert(1)), json.dumps(alert(2)).encode(), form.encode(alert(3))]
    produce(place.bootstrap, place.alerts, [Message(value, 0, b"k") for value in values])
    registry.start()
    registry.stop()  # its port is known, and nobody listens there
    with Endpoint() as endpoint:
        settings = place.settings(hook(endpoint))
        settings["kafka"]["alerts_format"] = "avro"
        settings["registry"] = {"url": registry.url, "request_timeout": "500ms"}
        with DaemonProcess(place.directory, settings, command="forward") as forwarder:
            wait_until(lambda: "wait for their schema" in forwarder.text(), "a line of the log")
            assert endpoint.taken == []
            registry.start()
            wait_until(lambda: len(endpoint.taken) == 3, "three alerts")
        registry.stop()
    # Alerts of different ids may overtake one another.
    taken = {one.json()["id"]: one.json()["event"] for one in endpoint.taken}
    assert taken == {f"events-0-{n}": alert(n)["event"] for n in (1, 2, 3)}
    assert place.dead() == []


def test_topics_that_come_later_are_read_then(place: Place, topic_factory: Topics) -> None:
    settings = place.settings()
    settings["kafka"]["incidents"] = missing = unique_name("incidents")
    place.put(alert(1))
    with Endpoint() as endpoint:
        settings["forward"]["targets"] = [{**hook(endpoint), "start": "earliest"}]
        settings["kafka"]["consumer"] = {"metadata_max_age_ms": 1000}
        with DaemonProcess(place.directory, settings, command="forward") as forwarder:
            wait_until(lambda: len(endpoint.taken) == 1, "the alert")
            wait_until(lambda: missing in forwarder.get("/readyz")[1], "it to be named")
            create_topic(place.bootstrap, missing)
            produce(place.bootstrap, missing, [record(incident("a"))])
            wait_until(lambda: len(endpoint.taken) == 2, "the incident")
            forwarder.wait_ready()


def test_a_stop_lets_what_is_under_way_end_and_secrets_are_in_no_log(place: Place) -> None:
    secret = "T0123456789-B0123456789-very-secret"
    place.put(*[alert(number) for number in range(4)])
    with Endpoint(lambda _: "401") as endpoint:
        target = hook(endpoint, token=secret, headers={"X-Key": secret}, concurrency=2)
        target["url"] = f"{endpoint.url}/{secret}"
        with place.process(target) as forwarder:
            wait_until(lambda: "not delivered" in forwarder.text(), "a failure")
            wait_until(lambda: secret not in forwarder.get("/metrics")[1], "the page")
            endpoint.script = lambda _: "timeout"
            wait_until(lambda: endpoint.modes["timeout"], "a request under way")
            assert forwarder.stop() == 0
            assert secret not in forwarder.text()


def test_a_broker_that_is_away_for_a_while_is_sat_out(
    broker_factory: Callable[..., Any], tmp_path: Path
) -> None:
    broker = broker_factory()
    place = Place(broker.bootstrap, topics_of(broker.bootstrap), tmp_path)
    place.put(*[alert(number) for number in range(50)])
    with Endpoint() as endpoint, place.process(hook(endpoint, per_second=20)) as forwarder:
        wait_until(lambda: len(endpoint.taken) > 5, "some")
        broker.kill()
        wait_until(lambda: len(set(endpoint.keys())) == 50, "what was read before")
        wait_until(lambda: "not committed" in forwarder.text(), "a line of the log")
        broker.start()
        place.put(*[alert(number) for number in range(50, 60)])
        wait_until(lambda: len(set(endpoint.keys())) == 60, "what came after", 90)
        wait_until(lambda: forwarder.metric("forward_lag_records") == 0, "the offsets")
        assert Counter(endpoint.keys()).most_common(1)[0][1] == 1


def topics_of(bootstrap: str) -> Topics:
    def create(prefix: str, partitions: int = 1, **configs: str) -> str:
        settings = {name.replace("_", "."): value for name, value in configs.items()}
        return create_topic(bootstrap, unique_name(prefix), partitions, settings)

    return create
