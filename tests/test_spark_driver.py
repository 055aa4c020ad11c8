"""The driver of the job on Spark, on a real broker but without Spark: each batch once, or not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from support.streams import SETTINGS, spoilt
from test_batches import LABELLED

from stream_detector.config.loading.load import parse
from stream_detector.errors import ConfigurationError
from stream_detector.spark.limits import check_fits

SIZE = 120
COUNT = 960
TESTS = Path(__file__).parent
FAULTS = [
    "spark_scored:2",
    "spark_kept:3",
    "mid_produce:2",
    "after_flush:2",
    "after_offsets:1",
    "after_commit:2",
    "spark_committed:1",
]


@dataclass
class Place:
    """A group of its own on a topic, and its directories."""

    bootstrap: str
    directory: Path
    document: dict[str, Any]

    def run(self, fault: str = "") -> subprocess.CompletedProcess[str]:
        config = self.directory / "config.json"
        config.write_text(json.dumps(self.document))
        command = [sys.executable, "-m", "support.plain_engine", str(config)]
        command += [str(self.directory / "engine"), str(SIZE)]
        return subprocess.run(
            command,
            env={**os.environ, "FAILPOINT": fault},
            cwd=TESTS,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def alerts(self) -> list[bytes | None]:
        return [one.value for one in consume_all(self.bootstrap, self.document["kafka"]["alerts"])]

    def letters(self) -> list[bytes | None]:
        topic = self.document["kafka"]["dead_letters"]
        return [one.value for one in consume_all(self.bootstrap, topic)]

    def batches(self) -> list[int]:
        topic = f"{self.document['kafka']['group']}-journal"
        found = consume_all(self.bootstrap, topic)
        return [json.loads(one.value or b"")["batch"][1] for one in found]


def document(bootstrap: str, topic: str, directory: Path) -> dict[str, Any]:
    name = unique_name("driver")
    kafka = {
        "bootstrap_servers": bootstrap,
        "topics": [topic],
        "group": name,
        "alerts": create_topic(bootstrap, f"{name}-alerts"),
        "dead_letters": create_topic(bootstrap, f"{name}-letters"),
        "start": "earliest",
    }
    return {
        **SETTINGS,
        **LABELLED,
        "event": {**SETTINGS["event"], "max_ahead": "3650d"},
        "threshold": {"budget": "3 %", "burn_in": 64},
        "kafka": kafka,
        "state": {"directory": str(directory / "state")},
        "metrics": {"enabled": False},
    }


@pytest.fixture
def place(kafka: Any, tmp_path: Path) -> Any:
    topic = create_topic(kafka.bootstrap, unique_name("driver-in"), 1, {"retention.ms": "-1"})
    sent = [Message(one.value, 0, b"k", one.timestamp) for one in spoilt(COUNT)]
    produce(kafka.bootstrap, topic, sent)

    def make() -> Place:
        directory = tmp_path / unique_name("place")
        directory.mkdir()
        return Place(kafka.bootstrap, directory, document(kafka.bootstrap, topic, directory))

    return make


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_deaths_at_each_step_of_a_batch_change_no_byte(place: Any) -> None:
    calm = place()
    done = calm.run()
    assert done.returncode == 0, done.stderr
    assert len(calm.alerts()) > 5, done.stdout + done.stderr
    assert len(calm.letters()) == len(range(50, COUNT, 97))
    shaken = place()
    for fault in FAULTS:
        assert shaken.run(fault).returncode == -signal.SIGKILL, fault
    last = shaken.run()
    assert last.returncode == 0, last.stderr
    assert shaken.batches() == list(range(COUNT // SIZE))
    assert shaken.alerts() == calm.alerts()
    assert shaken.letters() == calm.letters()
    # What was killed after its transaction was run again, and said so.
    assert " again" in last.stdout


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_what_does_not_belong_together_is_refused(place: Any) -> None:
    here = place()
    assert here.run("spark_committed:3").returncode == -signal.SIGKILL
    engine, state = here.directory / "engine", here.directory / "state"
    shutil.copytree(engine, here.directory / "kept")

    shutil.rmtree(engine)
    assert "goes on from another checkpoint" in here.run().stderr
    shutil.rmtree(engine)
    shutil.copytree(here.directory / "kept", engine)

    shutil.move(state, here.directory / "aside")
    assert "does not hold the state after batch 2" in here.run().stderr
    shutil.rmtree(state)
    shutil.move(here.directory / "aside", state)

    config = here.directory / "config.json"
    daemon = [sys.executable, "-m", "stream_detector", "run", str(config)]
    refused = subprocess.run(daemon, capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode == 4, refused.stderr
    assert "job on Spark" in refused.stderr

    assert here.run().returncode == 0
    assert here.batches() == list(range(COUNT // SIZE))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kafka": {"labels": "late"}, "labels": LABELLED["labels"]}, "kafka.labels"),
        ({"kafka": {"delivery": "at_least_once"}}, "at_least_once"),
        ({"processing": {"shards": 2}}, "processing.shards"),
        ({"state": {"keep": 1}}, "state.keep: 1"),
    ],
)
def test_what_the_job_would_leave_undone_is_refused(
    changes: dict[str, dict[str, Any]], named: str
) -> None:
    kafka = {"bootstrap_servers": "b:1", "topics": ["in"], "group": "g", "alerts": "out"}
    whole = {**SETTINGS, "kafka": {**kafka, "dead_letters": "bad"}}
    for section, some in changes.items():
        whole[section] = {**whole.get(section, {}), **some}
    config = parse(json.dumps(whole), "test.yaml", {}).config
    assert config.kafka is not None
    with pytest.raises(ConfigurationError, match=f"not with Spark: .*{named}"):
        check_fits(config, config.kafka)
