"""The job on a real Spark and a real broker: the daemon's alerts, once, whatever is killed."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from support.streams import SETTINGS, new_pipeline, records, spoilt
from test_batches import LABELLED

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.loading.load import parse
from stream_detector.decoding import Decoder
from stream_detector.events import PlainRecord, TopicPartition

REPOSITORY = Path(__file__).resolve().parents[1]
POM = REPOSITORY / "tests" / "kafka_broker" / "spark.xml"
NEEDED = ("spark-sql-kafka-0-10", "spark-token-provider-kafka", "kafka-clients", "commons-pool2")
DEADLINE_SECONDS = 600.0
LOOK_SECONDS = 10.0

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(
        find_spec("pyspark") is None, reason="pyspark is not installed: make spark installs it"
    ),
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="session")
def jars() -> str:
    """Spark's reader of Kafka, fetched once."""
    directory = Path(os.environ.get("SPARK_KAFKA_JARS", Path.home() / ".cache/spark-kafka-4.2.0"))
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = [one for name in NEEDED for one in directory.glob(f"{name}*.jar")]
        if len(found) < len(NEEDED):
            if shutil.which("mvn") is None:
                pytest.skip("mvn (Maven) is not installed, which fetches Spark's reader of Kafka")
            goal = ["dependency:copy-dependencies", "-DincludeScope=runtime"]
            command = ["mvn", "-q", "-B", "-f", str(POM), *goal, f"-DoutputDirectory={directory}"]
            subprocess.run(command, check=True, timeout=300)
            found = [one for name in NEEDED for one in directory.glob(f"{name}*.jar")]
    return ",".join(map(str, found))


@dataclass
class Place:
    """Topics, configuration and directories of one job."""

    bootstrap: str
    directory: Path
    document: dict[str, Any]
    jars: str

    @property
    def kafka(self) -> dict[str, Any]:
        return dict(self.document["kafka"])

    @contextmanager
    def job(self, master: str, buckets: int, events: int, **environment: str) -> Iterator[Any]:
        """A job that runs; its whole session is gone afterwards."""
        path = self.directory / "config.json"
        path.write_text(json.dumps(self.document))
        command = [sys.executable, "-m", "stream_detector", "spark", str(path)]
        command += ["--checkpoint", str(self.directory / "checkpoint"), "--master", master]
        command += ["--jars", self.jars, "--buckets", str(buckets), "--events", str(events)]
        command += ["--parts", "3", "--tasks", "2", "--trigger", "0"]
        quick = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        own = {"SPARK_LOCAL_IP": "127.0.0.1", "JAVA_TOOL_OPTIONS": quick, **environment}
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **own}, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                kill_session(process.pid)

    def journal(self) -> list[dict[str, Any]]:
        topic = f"{self.kafka['group']}-journal"
        return [json.loads(one.value) for one in consume_all(self.bootstrap, topic)]

    def wait_for(self, sequence: int, process: Any) -> bool:
        """Whether the journal came to so many events; False where the process ended before."""
        until = time.monotonic() + DEADLINE_SECONDS
        looked, seen = 0.0, -1
        while time.monotonic() < until:
            ended = process.poll() is not None
            # A look at the journal takes a consumer: where the log has a new batch, or in a while.
            batches = (self.directory / "log").read_bytes().count(b" INFO  batch ")
            if batches != seen or ended or time.monotonic() > looked + LOOK_SECONDS:
                looked, seen = time.monotonic(), batches
                if self.sequence() >= sequence:
                    return True
            if ended:
                return False
            time.sleep(0.1)
        raise AssertionError(f"not done in {DEADLINE_SECONDS:g} s:\n{self.log()}")

    def sequence(self) -> int:
        """Events that are in the journal."""
        with suppress(Exception):
            return int(self.journal()[-1]["sequence"])
        return 0

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-3000:]

    def alerts(self) -> list[bytes]:
        return [one.value for one in consume_all(self.bootstrap, self.kafka["alerts"])]

    def dead_letters(self) -> list[int]:
        found = consume_all(self.bootstrap, self.kafka["dead_letters"])
        return [int(dict(one.headers)["__connect.errors.offset"]) for one in found]


def session_of(leader: int) -> list[tuple[int, str]]:
    """Everything that a job has started, the job among it: numbers and command lines."""
    listed = subprocess.run(
        ["ps", "-wweo", "pid=,sess=,args="], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    each = (line.split(None, 2) for line in listed.splitlines())
    return [(int(pid), args) for pid, session, args in each if int(session) == leader]


def kill_session(leader: int) -> None:
    """The virtual machine and Python's workers, too."""
    for pid, _ in session_of(leader):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def place(kafka: Any, jars: str, tmp_path: Path) -> Any:
    def make(some: list[PlainRecord], partitions: int, topic: str = "", **changes: Any) -> Place:
        name = unique_name("spark")
        if not topic:
            topic = create_topic(kafka.bootstrap, f"{name}-in", partitions, {"retention.ms": "-1"})
            produce(
                kafka.bootstrap,
                topic,
                [
                    Message(one.value, row % partitions, b"k", one.timestamp)
                    for row, one in enumerate(some)
                ],
            )
        outputs = {
            "alerts": create_topic(kafka.bootstrap, f"{name}-alerts"),
            "dead_letters": create_topic(kafka.bootstrap, f"{name}-letters"),
        }
        directory = tmp_path / name
        directory.mkdir()
        section = {"bootstrap_servers": kafka.bootstrap, "topics": [topic], "group": name}
        document = {
            **SETTINGS,
            **LABELLED,
            "threshold": {"budget": "3 %", "burn_in": 64},
            "kafka": {**section, **outputs, "start": "earliest"},
            "state": {"directory": str(directory / "state")},
            "metrics": {"enabled": False},
            **changes,
        }
        document["event"] = {**document["event"], "max_ahead": "3650d"}
        return Place(kafka.bootstrap, directory, document, jars)

    return make


def test_batches_of_one_chunk_give_the_daemons_alerts(place: Any) -> None:
    some = records(256)
    here = place(some, 1)
    with here.job("local[2,4]", 4, 32) as process:
        assert here.wait_for(len(some), process)
    config = parse(json.dumps(here.document), "test.yaml", {}).config
    source = TopicPartition(here.kafka["topics"][0], 0)
    decoder, pipeline = Decoder(config, FieldPlan.of(config)), new_pipeline(config)
    expected = [
        alert.value
        for start in range(0, len(some), 32)
        for alert in pipeline.process(decoder.decode(source, some[start : start + 32])).alerts
    ]
    assert here.alerts() == expected
    assert expected


def test_cores_and_buckets_make_no_difference(place: Any) -> None:
    some = spoilt(1500)
    one = place(some, 3)
    accepted = len(some) - len(range(50, 1500, 97))
    with one.job("local[1,4]", 4, 300) as process:
        assert one.wait_for(accepted, process)
    assert len(one.alerts()) > 5
    assert sorted(one.dead_letters()) == sorted(row // 3 for row in range(50, 1500, 97))
    for master, buckets in (("local[1,4]", 12), ("local[2,4]", 4), ("local[2,4]", 12)):
        other = place(some, 3, topic=one.kafka["topics"][0])
        with other.job(master, buckets, 300) as process:
            assert other.wait_for(accepted, process)
        assert other.alerts() == one.alerts(), f"{master}, {buckets} buckets"
        assert other.dead_letters() == one.dead_letters(), f"{master}, {buckets} buckets"


def victim(kind: str, leader: int) -> int | None:
    """A process of the job: its driver, its virtual machine, or one of Python's workers."""
    if kind == "driver":
        return leader
    named = "org.apache.spark" if kind == "machine" else "stream_detector.spark.workers"
    found = [pid for pid, args in session_of(leader) if named in args]
    return found[-1] if found else None  # the youngest worker, not the daemon that forks them


def test_kills_at_random_places_lose_and_double_nothing(place: Any) -> None:
    """KILLS: how many; SEED: of places and victims."""
    kills, seed = int(os.environ.get("KILLS", "3")), int(os.environ.get("SEED", "1"))
    rng = random.Random(seed)
    some = spoilt(300 * (kills + 3))
    accepted = len(some) - len(range(50, len(some), 97))
    calm = place(some, 3)
    with calm.job("local[2,4]", 4, 150) as process:
        assert calm.wait_for(accepted, process)
    assert len(calm.alerts()) > 5

    shaken = place(some, 3, topic=calm.kafka["topics"][0])
    kinds = [("driver", "machine", "worker")[number % 3] for number in range(kills)]
    while kinds:
        with shaken.job("local[2,4]", 4, 150) as process:
            while kinds:
                assert shaken.wait_for(shaken.sequence() + 1, process), shaken.log()
                time.sleep(rng.uniform(0, 2))
                kind = kinds[0]
                pid = victim(kind, process.pid)
                assert pid is not None, shaken.log()
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                print(f"killed the {kind} after {shaken.sequence()} events", flush=True)
                kinds.pop(0)
                if kind != "worker":
                    process.wait(60)  # a driver without its machine ends by itself
                    break
    with shaken.job("local[2,4]", 4, 150) as process:
        assert shaken.wait_for(accepted, process)
    batches = [record["batch"][1] for record in shaken.journal()]
    assert batches == sorted(set(batches))
    assert shaken.alerts() == calm.alerts()
    assert shaken.dead_letters() == calm.dead_letters()
