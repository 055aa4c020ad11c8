"""The command lines of docker-compose.yml, run for real outside of containers.

No Docker engine is needed: the commands, their arguments and their environment are those of the
file; only the host name of the broker, the paths inside the image and the port of the metrics
(which may be taken outside of a container) are replaced.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import yaml
from kafka_broker.broker import Broker
from kafka_broker.clients import Message, create_topic, produce
from support.process import wait_until
from support.streams import configuration, new_pipeline, records, run_in_cuts

REPOSITORY = Path(__file__).resolve().parents[1]


def start(service: str, broker: Broker, directory: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a service of ours as compose would; returns the process and its output."""
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    definition = compose["services"][service]
    environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap}
    environment |= {k: str(v) for k, v in (definition.get("environment") or {}).items()}
    environment |= {
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
        "STATE_DIRECTORY": str(directory / "state"),
        "METRICS_HOST": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }
    command = [
        str(argument)
        .replace("/app/config", str(REPOSITORY / "config"))
        .replace("kafka:9092", broker.bootstrap)
        for argument in definition["command"]
    ]
    if service == "detector":
        command += ["--set", "metrics.port=0"]
    log = directory / f"{service}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "stream_detector", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
        )
    return process, log


def test_detector_simulator_and_alerts_work_together(broker_factory, tmp_path: Path) -> None:
    broker = broker_factory()
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    for item in compose["services"]["topics"]["environment"]["TOPICS"].split():
        name, _, partitions = item.partition(":")
        create_topic(broker.bootstrap, name, int(partitions), {"retention.ms": "-1"})
    processes = {}
    try:
        for service in ("detector", "alerts", "simulator"):
            processes[service] = start(service, broker, tmp_path)
        detector, log = processes["detector"]

        def events() -> float:
            assert detector.poll() is None, log.read_text()
            found = re.search(r"metrics at (http://\S+)", log.read_text())
            if not found:
                return 0
            with urllib.request.urlopen(found[1], timeout=5) as answer:
                text = answer.read().decode()
            samples = re.findall(r"^stream_detector_events_total\{.*\} (\S+)$", text, re.MULTILINE)
            return sum(map(float, samples))

        wait_until(lambda: events() >= 300, "events of the simulator")
        config = configuration()
        outcomes = run_in_cuts(new_pipeline(config), config, records(1500), [])
        alert = next(a for o in outcomes for a in o.alerts)
        follower, output = processes["alerts"]

        def printed() -> bool:
            assert follower.poll() is None, output.read_text()
            produce(broker.bootstrap, "transactions.alerts", [Message(alert.value)])
            return "events-0-" in output.read_text()

        wait_until(printed, "the alert on the follower's output", every=0.5)
        assert processes["simulator"][0].poll() is None
        for service, (process, output) in processes.items():
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) in (0, -signal.SIGTERM), (service, output.read_text())
        assert detector.returncode == 0
    finally:
        for process, _ in processes.values():
            process.kill()
            process.wait(10)
