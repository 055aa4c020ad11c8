"""`make forward`: ten thousand alerts through what fails, through kills, after an outage.

Writes benchmarks/results/forward.json. Real: broker, forwarder processes, Alertmanager. The
endpoint that fails is tests/support/endpoint.py: half of the answers are 500, 503, 429, a reset
before or after the message was taken, a deadline passed, or an answer that breaks off.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kafka_broker.broker import Broker
from kafka_broker.clients import consume_all, create_topic, produce, unique_name
from support.alertmanager import Alertmanager
from support.endpoint import FLAKY, Endpoint
from support.messages import alert, record
from support.process import DaemonProcess, wait_until
from support.streams import SETTINGS

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "forward.json"
DEADLINE_SECONDS = 3600.0
QUICK = {"start": "earliest", "first_pause": "50ms", "longest_pause": "2s"}


class Place:
    """Topics of one trial."""

    def __init__(self, bootstrap: str, directory: Path) -> None:
        self._bootstrap, self._directory = bootstrap, directory
        self.alerts = create_topic(bootstrap, unique_name("alerts"), 4)
        self.letters = create_topic(bootstrap, unique_name("letters"))

    def put(self, numbers: range) -> None:
        produce(self._bootstrap, self.alerts, [record(alert(n), n % 4) for n in numbers])

    def dead(self) -> int:
        return len(consume_all(self._bootstrap, self.letters))

    @contextmanager
    def forwarder(self, target: dict[str, Any]) -> Iterator[DaemonProcess]:
        kafka = {
            "bootstrap_servers": self._bootstrap,
            "topics": ["events"],
            "group": unique_name("group"),
            "alerts": self.alerts,
            "dead_letters": self.letters,
        }
        forward = {"targets": [{**QUICK, **target}], "port": 0}
        settings = {**SETTINGS, "kafka": kafka, "forward": forward, "metrics": {"port": 0}}
        with DaemonProcess(
            self._directory / unique_name("f"), settings, command="forward", name="forward"
        ) as process:
            yield process


def flaky(seed: int) -> Callable[[int], str]:
    dice = random.Random(seed)
    return lambda _: dice.choice(FLAKY) if dice.random() < 0.5 else "200"


def failing_endpoint(place: Place, count: int, seed: int) -> dict[str, Any]:
    """All alerts through an endpoint that fails half of the time."""
    place.put(range(count))
    with Endpoint(flaky(seed)) as endpoint:
        endpoint.hang_seconds, endpoint.retry_after = 1.5, "0"
        hook = {"kind": "webhook", "name": "hook", "url": endpoint.url, "concurrency": 16}
        start = time.monotonic()
        with place.forwarder({**hook, "request_timeout": "1s"}) as forwarder:
            wait_until(
                lambda: (
                    len(set(endpoint.keys())) == count and forwarder.metric("forward_waiting") == 0
                ),
                "all alerts",
                DEADLINE_SECONDS,
                every=1.0,
            )
        seconds = time.monotonic() - start
    times = Counter(endpoint.keys())
    return {
        "alerts": count,
        "requests": sum(endpoint.modes.values()),
        "failed": {
            mode: number for mode, number in sorted(endpoint.modes.items()) if mode != "200"
        },
        "lost": count - len(times),
        "again_after_success": sum(number - 1 for number in times.values()),
        "taken_but_answer_lost": len(endpoint.lost),
        "dead_letters": place.dead(),
        "seconds": round(seconds, 1),
    }


def failing_alertmanager(place: Place, count: int, seed: int, directory: Path) -> dict[str, Any]:
    """All alerts into a real Alertmanager, by a way that fails half of the time."""
    place.put(range(count))
    with Alertmanager(directory / "am") as am, Endpoint(flaky(seed), behind=am.url) as endpoint:
        endpoint.hang_seconds, endpoint.retry_after = 1.5, "0"
        target = {
            "kind": "alertmanager",
            "name": "am",
            "url": endpoint.url,
            "alert_lasts": "12h",
            "request_timeout": "1s",
            "max_batch": 100,
        }
        with place.forwarder(target) as forwarder:
            wait_until(
                lambda: forwarder.metric("forward_sent_total") >= count,
                "all alerts",
                DEADLINE_SECONDS,
                every=1.0,
            )
        ids = Counter(one["labels"]["alert_id"] for one in am.alerts())
    return {
        "alerts": count,
        "requests": sum(endpoint.modes.values()),
        "lost": count - len(ids),
        "ids_twice": sum(number > 1 for number in ids.values()),
        "dead_letters": place.dead(),
    }


def kills(place: Place, count: int, seed: int, times: int) -> dict[str, Any]:
    """All alerts while the forwarder is killed at random moments."""
    place.put(range(count))
    dice = random.Random(seed)
    with Endpoint() as endpoint:
        hook = {"kind": "webhook", "name": "hook", "url": endpoint.url, "per_second": 400}
        with place.forwarder(hook) as forwarder:
            for _ in range(times):
                before = len(set(endpoint.keys()))
                more = dice.randrange(count // (2 * times))
                aim = min(before + 1 + more, count)
                wait_until(lambda aim=aim: len(set(endpoint.keys())) >= aim, "some", 300.0)
                time.sleep(dice.random() * 0.3)
                forwarder.kill()
                forwarder.start()
            wait_until(lambda: len(set(endpoint.keys())) == count, "all", DEADLINE_SECONDS)
            wait_until(lambda: forwarder.metric("forward_lag_records") == 0, "offsets", 300.0)
    keys = Counter(endpoint.keys())
    return {
        "alerts": count,
        "kills": times,
        "lost": count - len(keys),
        "again_under_the_same_key": sum(number - 1 for number in keys.values()),
        "dead_letters": place.dead(),
    }


def outage(place: Place, seconds: int, each_second: int) -> dict[str, Any]:
    """What comes in while an endpoint is away for so long, at so many a second, and after it."""
    count = seconds * each_second
    with Endpoint() as endpoint:
        hook = {"kind": "webhook", "name": "hook", "url": endpoint.url}
        with place.forwarder(hook) as forwarder:
            place.put(range(10))
            wait_until(lambda: len(endpoint.taken) == 10, "the first", 120.0)
            endpoint.stop()
            place.put(range(10, count))
            wait_until(lambda: forwarder.metric("forward_failures_total") > 20, "failures", 300.0)
            held = forwarder.metric("forward_waiting")
            memory = forwarder.get("/metrics")[1]
            endpoint.start()
            start = time.monotonic()
            wait_until(lambda: len(endpoint.taken) >= count, "all", DEADLINE_SECONDS, every=0.2)
            caught_up = time.monotonic() - start
            wait_until(lambda: forwarder.metric("forward_lag_records") == 0, "offsets", 300.0)
    keys = Counter(endpoint.keys())
    resident = next(
        float(line.split()[1])
        for line in memory.splitlines()
        if line.startswith("process_resident_memory_bytes ")
    )
    return {
        "backlog": count,
        "held_in_memory": int(held),
        "resident_mib": round(resident / 2**20),
        "caught_up_seconds": round(caught_up, 1),
        "lost": count - len(keys),
        "again": sum(number - 1 for number in keys.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", help="one of the four trials, by its name")
    arguments = parser.parse_args()
    count, seed = arguments.alerts, arguments.seed
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bootstrap = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
        if bootstrap is None:
            bootstrap = stack.enter_context(Broker(directory / "broker")).bootstrap

        def place() -> Place:
            return Place(bootstrap, directory)

        trials: dict[str, Callable[[], dict[str, Any]]] = {
            "failing_endpoint": lambda: failing_endpoint(place(), count, seed),
            "failing_alertmanager": lambda: failing_alertmanager(place(), count, seed, directory),
            "kills": lambda: kills(place(), count, seed, arguments.kills),
            "outage_of_an_hour": lambda: outage(place(), 3600, max(1, count * 3 // 10_000)),
        }
        for name in arguments.only or trials:
            result = {"seed": seed, **trials[name]()}
            print(name, json.dumps(result), flush=True)
            known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            RESULTS.write_text(json.dumps({**known, name: result}, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
