"""The configurations of config/ on the data they are made for, through the real broker."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from support.process import DaemonProcess

from stream_detector.config import Config, load_config
from stream_detector.connectors.files import FileSource, typed_columns
from stream_detector.evaluation.backtest import backtest
from stream_detector.evaluation.figures import figures
from stream_detector.events import Record

CONFIG = Path(__file__).resolve().parents[1] / "config"
KEEP = {"retention.ms": "-1"}


def source_of(config: Config, path: Path, limit: int | None = None) -> FileSource:
    numeric, boolean = typed_columns(config)
    return FileSource(
        str(path),
        numeric=numeric,
        boolean=boolean,
        columns=config.event.columns,
        limit=limit,
    )


def records_of(source: FileSource) -> list[Record]:
    records: list[Record] = []
    while not source.exhausted():
        records.extend(itertools.chain.from_iterable(f.records for f in source.poll(1.0)))
    source.close()
    return records


def daemon_settings(name: str, section: dict[str, Any], state: Path) -> dict[str, Any]:
    """A file of config/ with other topics, state and port, and nothing else changed."""
    settings = yaml.safe_load((CONFIG / name).read_text())
    settings["kafka"] |= section
    settings["state"] = {"directory": str(state)}
    settings["metrics"] = {"port": 0}
    return settings


def section_for(bootstrap: str, topic: str) -> dict[str, Any]:
    return {
        "bootstrap_servers": bootstrap,
        "topics": [topic],
        "group": unique_name("group"),
        "alerts": create_topic(bootstrap, unique_name("alerts"), 1, KEEP),
        "dead_letters": create_topic(bootstrap, unique_name("dead"), 1, KEEP),
    }


def test_nsl_kdd_stopped_and_restarted_gives_the_alerts_of_one_run(
    kafka, data_directory: Path, tmp_path: Path
) -> None:
    count = 30_000
    config = load_config(CONFIG / "network.yaml", os.environ)
    some = records_of(source_of(config, data_directory / "nsl_kdd_train.csv.gz", count))
    topic = create_topic(kafka.bootstrap, unique_name("connections"), 1, KEEP)
    produce(kafka.bootstrap, topic, [Message(r.value) for r in some])
    found = []
    for run, stops in (("whole", 0), ("restarted", 2)):
        section = section_for(kafka.bootstrap, topic)
        settings = daemon_settings("network.yaml", section, tmp_path / run)
        if stops:  # so that a stop falls in the middle of the work
            settings["processing"] = {"max_poll_records": 200}
        with DaemonProcess(tmp_path, settings, name=run) as daemon:
            done = 0
            for _ in range(stops):
                daemon.wait_ready().wait_processed(5000)
                assert daemon.stop() == 0, daemon.text()
                done = int(daemon.text().rsplit("events=", 1)[1].split()[0])
                daemon.start()
            assert done < count
            daemon.wait_ready().wait_processed(count - done)
            assert daemon.metric("rejected_total") == 0
            assert daemon.stop() == 0
        found.append([r.value for r in consume_all(kafka.bootstrap, section["alerts"])])
    assert len(found[0]) >= 20
    assert found[0] == found[1]


def test_a_month_of_card_transactions_through_the_broker_equals_the_back_test(
    kafka, data_directory: Path, tmp_path: Path
) -> None:
    count = 290_000  # thirty days
    config = load_config(CONFIG / "transactions.yaml", os.environ)
    path = data_directory / "card_transactions.csv.gz"
    some = records_of(source_of(config, path, count))
    topic = create_topic(kafka.bootstrap, unique_name("transactions"), 1, KEEP)
    produce(kafka.bootstrap, topic, [Message(r.value) for r in some])
    section = section_for(kafka.bootstrap, topic)
    settings = daemon_settings("transactions.yaml", section, tmp_path)
    with DaemonProcess(tmp_path, settings) as daemon:
        daemon.wait_ready().wait_processed(count, timeout=240)
        assert daemon.metric("rejected_total") == 0
        raised = daemon.metric("alerts_total")
        assert daemon.stop() == 0, daemon.text()
    alerts = [json.loads(r.value) for r in consume_all(kafka.bootstrap, section["alerts"])]
    assert len(alerts) == raised > 500
    scored = backtest(config, source_of(config, path, count), keep_alerts=10**6)
    again = [json.loads(alert.value or b"") for alert in scored.alerts]
    for alert in (*alerts, *again):  # what names the topic
        del alert["id"], alert["receipt"]["topic"]
    assert alerts == again
    result = figures(scored)
    assert result["events"] == count
    assert 0 < result["precision_at_100_per_day"] < 1


@pytest.mark.parametrize(
    ("name", "file", "least_auc"),
    [
        ("transactions.yaml", "card_transactions.csv.gz", 0.6),
        ("network.yaml", "kddcup99_10_percent.csv.gz", 0.5),
        ("sensors.yaml", "ai4i2020.csv.gz", 0.65),
        ("patients.yaml", "cardio.npz", 0.85),
    ],
)
def test_each_configuration_runs_on_its_data(
    data_directory: Path, name: str, file: str, least_auc: float
) -> None:
    """No record is rejected, and the ranking is better than chance by what is usual there."""
    config = load_config(CONFIG / name, os.environ)
    scored = backtest(config, source_of(config, data_directory / file, 60_000))
    result = figures(scored)
    assert result["rejected"] == 0, result["rejected_by_reason"]
    assert np.isfinite(scored.scores).all()
    assert result["roc_auc"] > least_auc
    assert result["alerts"] > 0
