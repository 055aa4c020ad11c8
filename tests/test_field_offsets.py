"""Offsets that an operator resets or deletes while the daemon is stopped."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata
from kafka_broker.clients import admin_client, produce
from support.process import DaemonProcess
from support.streams import records
from test_daemon import messages, settings, topics


def reset(bootstrap: str, group: str, topic: str, offset: int) -> None:
    """What ``kafka-consumer-groups --reset-offsets --to-offset`` does."""
    with closing(
        KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    ) as consumer:
        source = TopicPartition(topic, 0)
        consumer.assign([source])
        consumer.commit({source: OffsetAndMetadata(offset, "", -1)}, timeout_ms=20_000)


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_offsets_set_back_are_said_and_where_the_operator_wants_is_begun_on_request(
    kafka, tmp_path: Path, delivery: str
) -> None:
    section = {**topics(kafka.bootstrap), "delivery": delivery}
    config, (topic,) = settings(section, tmp_path), section["topics"]
    produce(kafka.bootstrap, topic, messages(records(600), 1))
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_processed(600).wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
        assert "offsets-differ" not in daemon.text()
        reset(kafka.bootstrap, section["group"], topic, 100)
        daemon.start()
        if delivery == "exactly_once":
            assert daemon.wait(60) == 4, daemon.text()
            said = "group's offset is 100, the journal ends at 600"
        else:
            daemon.wait_ready()
            assert daemon.metric("broker_errors_total", kind="offsets_reset") == 1
            assert daemon.stop() == 0, daemon.text()
            assert "goes on at 600" in daemon.text()
            said = "group's offset is 100 (was it reset by hand?)"
        assert topic in daemon.text()
        assert said in daemon.text()
        assert "--reset-state" in daemon.text()
        assert "docs/runbook.md#offsets-that-do-not-fit" in daemon.text()
    reset(kafka.bootstrap, section["group"], topic, 100)
    with DaemonProcess(tmp_path, config, arguments=("--reset-state",), name="again") as daemon:
        daemon.wait_ready().wait_processed(500).wait_worked_off()
        assert daemon.sum_of(daemon.get("/metrics")[1], "events_total") == 500
        assert daemon.stop() == 0, daemon.text()


def test_offsets_deleted_or_beyond_the_log_are_said(kafka, tmp_path: Path) -> None:
    """What is beyond the log would keep the daemon from alerting, without a word."""
    section = {**topics(kafka.bootstrap), "delivery": "at_least_once"}
    config, (topic,) = settings(section, tmp_path), section["topics"]
    produce(kafka.bootstrap, topic, messages(records(600), 1))
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_processed(600).wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
        reset(kafka.bootstrap, section["group"], topic, 900)
        daemon.start()
        assert daemon.wait(60) == 4, daemon.text()
        assert re.search(
            rf"{topic}\S* the group's offset is 900, the log ends at 600", daemon.text()
        )
        with admin_client(kafka.bootstrap) as admin:
            admin.delete_group_offsets(section["group"], [TopicPartition(topic, 0)])
        produce(kafka.bootstrap, topic, messages(records(100, seed=1), 1))
        daemon.start().wait_ready().wait_processed(100).wait_worked_off()
        assert "no committed offset" in daemon.text()
        assert daemon.stop() == 0, daemon.text()
