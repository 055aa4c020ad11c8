"""The same crashes for the loop that people write and for the daemon: lost and doubled alerts.

Both read the same events from one partition, which arrive at a steady rate; both are killed
(SIGKILL) at the same moments and started again at once, as a supervisor would. Each is compared
with its own undisturbed run over the same events, by the event's id: ``lost`` alerts never came,
``doubled`` came again, ``other`` are alerts that the undisturbed run does not have (the model has
learnt other things, or some twice). One partition, so that the order of the events is no choice of
either. Prints a table, or ``--json``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from chaos import stream
from kafka import KafkaProducer
from kafka_broker.clients import Message
from throughput import REPOSITORY, Broker, consume_all, create_topic

PLAIN = "plain loop"
OURS = "stream-detector"
STOPPED = {0, -signal.SIGTERM}
IDLE_SECONDS = 15.0


class Contender:
    """One program on one input topic: its command, its process, where its alerts go."""

    def __init__(self, name: str, broker: Broker, topic: str, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        if name == PLAIN:
            self.alerts = create_topic(broker.bootstrap, f"{topic}.{name[:5]}.alerts", 1)
            script = str(REPOSITORY / "benchmarks" / "plain_loop.py")
            model = str(directory / "model.pickle")
            self._command = [script, broker.bootstrap, topic, self.alerts, model]
        else:
            configuration = stream.settings(broker.bootstrap, [topic], directory)
            # Both sides as a user would set them: what is peculiar to the chaos run goes.
            configuration["kafka"]["consumer"] = {
                "session_timeout_ms": 3000,
                "heartbeat_interval_ms": 500,
            }
            del configuration["processing"]
            del configuration["state"]["interval"]
            self.alerts = configuration["kafka"]["alerts"]
            path = directory / "config.yaml"
            path.write_text(yaml.safe_dump(configuration))
            self._command = ["-m", "stream_detector", "run", str(path)]

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        if self._process.wait(60) not in STOPPED:
            raise SystemExit(f"a contender failed:\n{self._log.read_text()[-3000:]}")

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log_tail(self) -> str:
        return self._log.read_text()[-3000:]


def produce_at(bootstrap: str, topic: str, messages: Sequence[Message], rate: float) -> None:
    """All messages in their order, ``rate`` a second; 0 is as fast as it goes."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, max_block_ms=60_000)
    started = time.monotonic()
    for number, message in enumerate(messages):
        if rate and number % 20 == 0:
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
        producer.send(
            topic, message.value, message.key, partition=0, timestamp_ms=message.timestamp_ms
        )
    producer.flush(timeout=60)
    producer.close(timeout=10)


def event_ids(bootstrap: str, topic: str) -> Counter[str]:
    return Counter(json.loads(r.value)["event_id"] for r in consume_all(bootstrap, topic))


def wait_until_quiet(broker: Broker, contender: Contender) -> None:
    """Until no alert has come for a while: neither tells alike how far it is.

    Longer than a session, a start and a recovery take together.
    """
    count, since = -1, time.monotonic()
    while time.monotonic() - since < IDLE_SECONDS:
        if not contender.running():
            raise SystemExit(f"a contender has ended:\n{contender.log_tail()}")
        found = len(consume_all(broker.bootstrap, contender.alerts))
        if found != count:
            count, since = found, time.monotonic()
        time.sleep(1.0)


def run(
    name: str,
    broker: Broker,
    directory: Path,
    messages: Sequence[Message],
    rate: float,
    kill_times: Sequence[float],
) -> Counter[str]:
    """One run; the alerts by the event's id."""
    topic = create_topic(broker.bootstrap, f"in-{directory.name}", 1, stream.KEEP)
    contender = Contender(name, broker, topic, directory)
    helper: subprocess.Popen[bytes] | None = None
    try:
        if not kill_times:
            produce_at(broker.bootstrap, topic, messages, 0)
            contender.start()
        else:
            # A process of its own: the kills must not wait for the production, nor it for them.
            arguments = [broker.bootstrap, topic, str(len(messages)), str(rate)]
            helper = subprocess.Popen([sys.executable, __file__, "--produce", *arguments])
            started = time.monotonic()
            contender.start()
            for at in kill_times:
                time.sleep(max(0.0, started + at - time.monotonic()))
                contender.kill()
                contender.start()
            helper.wait(600)
        wait_until_quiet(broker, contender)
        contender.stop()
    finally:
        contender.kill()
        if helper is not None and helper.poll() is None:
            helper.kill()
            helper.wait(10)
    return event_ids(broker.bootstrap, contender.alerts)


def compare(clean: Counter[str], crashed: Counter[str]) -> dict[str, int]:
    return {
        "alerts": len(clean),
        "lost": len(clean.keys() - crashed.keys()),
        "doubled": sum(crashed.values()) - len(crashed),
        "other": len(crashed.keys() - clean.keys()),
    }


def some_events(count: int) -> list[Message]:
    return list(itertools.islice(stream.events(0, bad_every=0), count))


def measure(arguments: argparse.Namespace, directory: Path) -> dict[str, Any]:
    generator = random.Random(arguments.seed)
    gaps = [generator.uniform(8, 16) for _ in range(arguments.kills)]
    kill_times = [round(at, 1) for at in itertools.accumulate(gaps)]
    messages = some_events(int((kill_times[-1] + 10) * arguments.rate))
    result: dict[str, Any] = {"events": len(messages), "kill_times": kill_times}
    with Broker(directory / "broker") as broker:
        for name in (PLAIN, OURS):
            runs = [
                run(name, broker, directory / f"{name[:5]}-{kind}", messages, arguments.rate, at)
                for kind, at in (("clean", ()), ("crashed", kill_times))
            ]
            result[name] = compare(*runs)
            print(name, result[name], file=sys.stderr)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=1000, help="events a second")
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--produce", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.produce:
        bootstrap, topic, count, rate = arguments.produce
        produce_at(bootstrap, topic, some_events(int(count)), float(rate))
        return
    with tempfile.TemporaryDirectory() as directory:
        result = measure(arguments, Path(directory))
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{result['events']:,} events, killed {arguments.kills} times")
    print(f"{'':<16} {'alerts':>8} {'lost':>8} {'doubled':>8} {'other':>8}")
    for name in (PLAIN, OURS):
        print(f"{name:<16} " + " ".join(f"{value:>8}" for value in result[name].values()))


if __name__ == "__main__":
    main()
