"""``check --connect`` finds, on real brokers, what would stop or stall the daemon."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY, _require_java
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.protocol.admin.client_quotas import AlterClientQuotasRequest
from kafka.structs import OffsetAndMetadata
from kafka_broker.broker import HOST, Broker, free_ports
from kafka_broker.clients import Message, admin_client, create_topic, produce, unique_name
from kafka_broker.groups import join_group
from support.commands import call, run
from support.process import DaemonProcess

from stream_detector.config import load_config
from stream_detector.config.models.config import Config
from stream_detector.connectors.kafka.inspection import inspect, judge
from stream_detector.connectors.kafka.inspection.facts import (
    ALERTS,
    INPUT,
    Facts,
    Group,
    OpenTransaction,
    Partition,
    Topic,
)
from stream_detector.connectors.kafka.inspection.facts import (
    Broker as BrokerFact,
)
from stream_detector.connectors.kafka.inspection.findings import Finding
from stream_detector.daemon.start_position import standing
from stream_detector.events import TopicPartition as Source
from stream_detector.journal import JournalRecord, Range, encode

LIMITS = {
    "transaction.max.timeout.ms": 30_000,
    "group.min.session.timeout.ms": 20_000,
    "group.max.session.timeout.ms": 60_000,
    "auto.create.topics.enable": True,
    "num.partitions": 7,
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOST:PLAINTEXT",
}


@pytest.fixture(scope="module")
def limited(kafka, tmp_path_factory) -> Iterator[tuple[str, str]]:
    """A broker with tight limits: its address, and one whose advertised host does not exist."""
    _require_java()
    broker = Broker(tmp_path_factory.mktemp("limited"), properties=LIMITS)
    (lost,) = free_ports(1)
    broker.properties["listeners"] = f"{broker.properties['listeners']},LOST://{HOST}:{lost}"
    advertised = broker.properties["advertised.listeners"]
    broker.properties["advertised.listeners"] = f"{advertised},LOST://no-such-host.invalid:9092"
    with broker:
        yield broker.bootstrap, f"{HOST}:{lost}"


@pytest.fixture
def settings(kafka, topic_factory, tmp_path) -> dict[str, Any]:
    """A sound configuration on the session's broker."""
    return sound(kafka.bootstrap, tmp_path, topic_factory)


def sound(bootstrap: str, directory: Path, topic: Callable[..., str]) -> dict[str, Any]:
    return {
        "name": "t",
        "kafka": {
            "bootstrap_servers": bootstrap,
            "topics": [topic("in")],
            "group": unique_name("group"),
            "alerts": topic("alerts"),
            "dead_letters": topic("dead"),
        },
        "event": {"id": "id", "time": {"field": "t"}},
        "features": [{"numeric": "amount"}],
        "detector": {"kind": "loda"},
        "threshold": {"budget": "1 %"},
        "state": {"directory": str(directory / "state")},
    }


def loaded(settings: dict[str, Any], directory: Path) -> Config:
    path = directory / "check.yaml"
    path.write_text(yaml.safe_dump(settings))
    return load_config(path, {}, {}, None)


def found(
    settings: dict[str, Any], directory: Path, snapshot_topic: str | None = None
) -> list[Finding]:
    config = loaded(settings, directory)
    assert config.kafka is not None
    inspection = inspect(config, config.kafka, snapshot_topic)
    return [*inspection.findings, *standing(config, config.kafka, inspection.facts)]


def only(findings: list[Finding], words: str, level: str = "error") -> Finding:
    """The finding with these words, which must be there once and of the level."""
    matching = [one for one in findings if words in one.message]
    assert len(matching) == 1, "\n".join(map(str, findings))
    assert matching[0].level == level, matching[0]
    return matching[0]


def check(
    directory: Path, *more: str, command: Callable[..., CompletedProcess[str]] = call
) -> CompletedProcess[str]:
    return command("check", str(directory / "check.yaml"), "--connect", *more)


def test_a_sound_configuration_has_no_findings_and_exit_code_0(settings, tmp_path):
    assert found(settings, tmp_path) == []
    done = check(tmp_path, "--strict", command=run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors, 0 warnings, 0 not checked" in done.stdout


def test_limits_of_the_broker_are_found_all_at_once_with_exit_code_3(limited, tmp_path):
    bootstrap, _ = limited
    section = sound(bootstrap, tmp_path, lambda name: create_topic(bootstrap, unique_name(name)))
    section["kafka"]["alerts"] = unique_name("absent")
    findings = found(section, tmp_path)
    for words in (
        "session_timeout_ms: 10000",
        "group.min.session.timeout.ms=20000",
        "kafka.transaction_timeout: 1 min",
        "transaction.max.timeout.ms=30000",
    ):
        only(findings, words)
    assert "num.partitions=7" in only(findings, "auto.create.topics.enable=true").message
    done = check(tmp_path)
    assert done.returncode == 3
    assert done.stdout.count("\nerror: ") == 3
    assert "Traceback" not in done.stderr
    with admin_client(bootstrap) as admin:
        assert section["kafka"]["alerts"] not in admin.list_topics()
    section["kafka"] |= {"transaction_timeout": "30s", "consumer": {"session_timeout_ms": 60_001}}
    only(found(section, tmp_path), "group.max.session.timeout.ms=60000")


def test_an_advertised_listener_that_does_not_resolve_is_named(limited, tmp_path):
    section = sound(limited[1], tmp_path, unique_name)
    section["kafka"]["request_timeout"] = "5s"
    one = only(found(section, tmp_path), "advertised.listeners")
    assert "no-such-host.invalid:9092" in one.message


@pytest.mark.parametrize(
    ("which", "configs", "words", "level"),
    [
        ("alerts", {"max_message_bytes": "2000"}, "max.message.bytes=2000", "error"),
        ("dead_letters", {"max_message_bytes": "900000"}, "max.message.bytes=900000", "error"),
        ("journal", {"max_message_bytes": "2000"}, "max.message.bytes=2000", "error"),
        ("journal", {"cleanup_policy": "compact"}, "its records have no key", "error"),
        ("journal", {"retention_ms": "120000"}, "retention.ms=120000", "error"),
        ("journal", {"retention_ms": "86400000"}, "retention.ms=86400000", "warning"),
        ("alerts", {"cleanup_policy": "compact,delete"}, "one without a key", "error"),
        ("dead_letters", {"cleanup_policy": "compact"}, "deletes others", "error"),
        ("labels", {"cleanup_policy": "compact"}, "labels have no key", "error"),
        ("labels", {"max_message_bytes": "1000"}, "max.message.bytes=1000", "error"),
        ("input", {"cleanup_policy": "compact"}, "compaction removes events", "warning"),
        ("input", {"retention_ms": "30000"}, "state.interval", "error"),
        ("input", {"max_message_bytes": "200000000"}, "receive_message_max_bytes", "error"),
        ("alerts", {"min_insync_replicas": "2"}, "min.insync.replicas=2", "error"),
        (
            "dead_letters",
            {"message_timestamp_before_max_ms": "3600000"},
            "message.timestamp.before.max.ms=3600000",
            "error",
        ),
        (
            "dead_letters",
            {"message_timestamp_after_max_ms": "1000"},
            "message.timestamp.after.max.ms=1000",
            "error",
        ),
        ("snapshots", {"cleanup_policy": "compact,delete"}, "snapshots older than", "error"),
        (
            "snapshots",
            {"cleanup_policy": "compact", "max_message_bytes": "90000"},
            "90000",
            "error",
        ),
    ],
)
def test_settings_of_a_topic_that_stop_the_daemon_are_found(
    settings, topic_factory, tmp_path, which, configs, words, level
):
    topic = topic_factory(which, **configs)
    if which == "input":
        settings["kafka"]["topics"] = [topic]
    elif which != "snapshots":
        settings["kafka"][which] = topic
    if which == "labels":
        settings["labels"] = {"delay": "1d"}
    findings = found(settings, tmp_path, topic if which == "snapshots" else None)
    one = only(findings, words, level)
    assert topic in one.message


def test_a_journal_with_fewer_partitions_than_shards_is_found(settings, topic_factory, tmp_path):
    settings["kafka"]["journal"] = topic_factory("journal")
    settings["processing"] = {"shards": 2}
    only(found(settings, tmp_path), "processing.shards: 2 needs one each")


def test_a_group_with_foreign_members_is_found(settings, kafka, tmp_path):
    group, topic = settings["kafka"]["group"], settings["kafka"]["topics"][0]
    with closing(join_group(kafka.bootstrap, [topic], group, client_id="billing")):
        one = only(found(settings, tmp_path), "in another way")
        assert "billing at 127.0.0.1" in one.message
        assert check(tmp_path).returncode == 3


def test_a_group_with_foreign_offsets_is_found(settings, kafka, topic_factory, tmp_path):
    group, topic = settings["kafka"]["group"], settings["kafka"]["topics"][0]
    commit(kafka.bootstrap, group, topic, 0)
    only(found(settings, tmp_path), "is or was somebody else's, or its state is lost")
    other = topic_factory("other")
    settings["kafka"]["group"] = unique_name("group")
    commit(kafka.bootstrap, settings["kafka"]["group"], other, 0)
    assert other in only(found(settings, tmp_path), "has committed offsets of").message


def commit(bootstrap: str, group: str, topic: str, offset: int) -> None:
    with closing(
        KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    ) as consumer:
        source = TopicPartition(topic, 0)
        consumer.assign([source])
        consumer.commit({source: OffsetAndMetadata(offset, "", -1)}, timeout_ms=20_000)


def test_offsets_that_do_not_fit_are_found(settings, kafka, topic_factory, tmp_path):
    group, topic = settings["kafka"]["group"], settings["kafka"]["topics"][0]
    settings["kafka"]["journal"] = journal = topic_factory("journal")
    produce(kafka.bootstrap, topic, [Message(b"{}") for _ in range(20)])
    record = JournalRecord(0, 1, ((Range(Source(topic, 0), 0, 10),),), (), 10, "f", "c")
    produce(kafka.bootstrap, journal, [Message(encode(record))])
    commit(kafka.bootstrap, group, topic, 10)
    assert found(settings, tmp_path) == []
    commit(kafka.bootstrap, group, topic, 4)
    assert "journal ends at 10" in only(found(settings, tmp_path), "reset by hand").message
    with admin_client(kafka.bootstrap) as admin:
        admin.delete_records({TopicPartition(topic, 0): 15})
    commit(kafka.bootstrap, group, topic, 10)
    assert "deleted 5 records" in only(found(settings, tmp_path), "the log begins at 15").message
    settings["kafka"]["lost_input"] = "continue"
    only(found(settings, tmp_path), "the log begins at 15", "warning")
    commit(kafka.bootstrap, group, topic, 50)
    only(found(settings, tmp_path), "the log ends at 20")


def test_beside_a_running_worker_of_its_own_nothing_is_found_but_its_name(
    settings, kafka, tmp_path
):
    settings["kafka"]["instance_id"] = "one"
    settings |= {"metrics": {"port": 0}, "processing": {"commit_interval": "100ms"}}
    with DaemonProcess(tmp_path, settings) as daemon:
        daemon.wait_ready()
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        event = f'{{"id": "a", "t": "{now}", "amount": 1}}'.encode()
        produce(kafka.bootstrap, settings["kafka"]["topics"][0], [Message(event)] * 200)
        daemon.wait_processed(200)
        (only_one,) = found(settings, tmp_path)
        assert only_one.level == "warning"
        assert "kafka.instance_id: one is there already" in only_one.message
        assert daemon.stop() == 0
    del settings["kafka"]["instance_id"]  # which is a member until its session has timed out
    assert found(settings, tmp_path) == []


def test_an_open_transaction_on_the_input_is_named(settings, kafka, tmp_path):
    name = unique_name("payments")
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=name, max_block_ms=20_000
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(settings["kafka"]["topics"][0], b"{}").get(timeout=20)
        only(found(settings, tmp_path), f"a transaction is open of {name}", "warning")
        done = check(tmp_path), check(tmp_path, "--strict")
        assert [one.returncode for one in done] == [0, 3]
        producer.abort_transaction()
    finally:
        producer.close(timeout=5)


def test_a_quota_too_small_for_a_commit_is_found(settings, kafka, tmp_path):
    settings["kafka"]["producer"] = {"client_id": unique_name("slow")}
    entity = [("client-id", settings["kafka"]["producer"]["client_id"])]
    request = AlterClientQuotasRequest(
        entries=[(entity, [("producer_byte_rate", 1000.0, False)])], validate_only=False
    )
    with admin_client(kafka.bootstrap) as admin:
        admin._manager.run(admin._manager.send, request)
        deadline = time.monotonic() + 10
        while not any("1,000" in one.message for one in found(settings, tmp_path)):
            assert time.monotonic() < deadline
        only(found(settings, tmp_path), "producer_byte_rate=1,000")


# --- what takes more brokers, or other ones, than the tests have ---------------------------------


def judged(settings: dict[str, Any], directory: Path, facts: Facts) -> list[Finding]:
    config = loaded(settings, directory)
    assert config.kafka is not None
    return list(judge(config, config.kafka, facts))


@pytest.fixture
def bare(tmp_path) -> dict[str, Any]:
    return sound("127.0.0.1:1", tmp_path, unique_name)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (Group("Stable", "consumer"), "KIP-848"),
        (Group("Empty", "share"), "a share group"),
        (Group("Stable", "streams"), "Kafka Streams"),
    ],
)
def test_groups_of_newer_kinds_are_foreign(bare, tmp_path, group, words):
    only(judged(bare, tmp_path, Facts(group=group, authoriser=False)), words)


def test_replicas_leaders_and_transactions_are_judged(bare, tmp_path):
    brokers = tuple(BrokerFact(n, f"b{n}:9092") for n in (1, 2, 3))
    kept = {"min.insync.replicas": "2"}
    facts = Facts(
        brokers=brokers,
        authoriser=False,
        topics=(
            Topic("in", INPUT, partitions=(Partition(4, -1, (1, 2), (), (1, 2)),)),
            Topic("a", ALERTS, partitions=(Partition(0, 1, (1, 2, 3), (1,), ()),), settings=kept),
        ),
        open_transactions=(OpenTransaction(Source("in", 4), 17, None, -1, 3, 0),),
        versions={"InitProducerId": 4, "AddOffsetsToTxn": 3, "TxnOffsetCommit": 2},
    )
    findings = judged(bare, tmp_path, facts)
    only(findings, "no leader for partition 4")
    only(findings, "fewer replicas in sync")
    only(findings, "--start-offset 17")
    only(findings, "KIP-447")
    one = replace(
        facts,
        topics=(Topic("a", ALERTS, partitions=(Partition(0, 1, (1,), (1,), ()),)),),
        brokers=(replace(brokers[0], settings={"transaction.state.log.replication.factor": "9"}),),
        internal={"__transaction_state": 0},
    )
    only(judged(bare, tmp_path, one), "transaction.state.log.replication.factor=9")


def test_every_section_that_code_points_at_is_in_the_runbook():
    words = (REPOSITORY / "docs" / "runbook.md").read_text()
    headings = re.findall(r"^#+ (.+)$", words, re.MULTILINE)
    there = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
    named = set()
    for path in (REPOSITORY / "stream_detector").rglob("*.py"):
        named |= set(re.findall(r"docs/runbook\.md#([\w-]+)", path.read_text()))
    assert len(named) > 10
    assert named - there == set()
