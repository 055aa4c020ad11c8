"""``python -m chaos.soak``: whether memory, descriptors or threads grow under steady load."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka_broker.cluster import Cluster

from chaos.live import LiveProducer
from chaos.run import Run, say
from chaos.stream import create_input, settings
from chaos.workers import FaultLog, Tally

WARM_UP_SHARE = 0.25
"""Of the samples, at the beginning: caches fill, keys come in, the allocator finds its size."""

ALLOWED = {"rss_mib": (0.02, 4.0), "descriptors": (0.0, 2.0), "threads": (0.0, 1.0)}
"""Growth between the middle and the last third that counts as none: a share of the level, and an
amount; the larger of the two."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What a series does after its warm-up.

    Attributes:
        middle: median of the middle third.
        last: median of the last third.
        slope: growth over the whole of what is judged.
        grows: the judgement.
    """

    middle: float
    last: float
    slope: float
    grows: bool


def judge_growth(series: Sequence[float], allowed: tuple[float, float]) -> Growth:
    """Whether a series, sampled evenly, grows.

    A leak of G over the part that is judged shows three times: the median of the last third lies
    G / 3 above that of the middle one, the slope projected over the whole is G, and the slope
    within the last third, projected over it, G / 3. Each alone misleads: a step (one more buffer
    after an outage) raises the medians but is flat afterwards, the end of a long warm-up bends the
    slope of the whole, and the last third alone has too few points. So a series grows where all
    three say so. Medians make single peaks (a snapshot being encoded) count for nothing.

    Args:
        series: samples, the warm-up first.
        allowed: growth that counts as none: share of the level, amount.
    """
    judged = list(series[int(len(series) * WARM_UP_SHARE) :])
    third = len(judged) // 3
    if third < 4:
        raise ValueError(f"{len(series)} samples are too few to judge")
    middle = statistics.median(judged[third : 2 * third])
    last = statistics.median(judged[2 * third :])
    limit = max(allowed[0] * middle, allowed[1])
    slope = _slope(judged) * len(judged)
    late = _slope(judged[2 * third :]) * third
    # Half of its share for the late slope, which has the fewest points and is the least certain.
    grows = last - middle > limit / 3 and slope > limit and late > limit / 6
    return Growth(middle, last, slope, grows)


def _slope(series: Sequence[float]) -> float:
    """Median growth a sample, between all points that are half the series apart."""
    half = len(series) // 2
    return statistics.median((series[at + half] - series[at]) / half for at in range(half))


def sample(pid: int) -> dict[str, float] | None:
    """Resident memory, open descriptors and threads of a process; None where it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    if "VmRSS" not in status:
        return None
    return {
        "rss_mib": int(status["VmRSS"].split()[0]) / 1024,
        "descriptors": float(sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())),
        "threads": float(status["Threads"]),
    }


def soak(
    directory: Path, seconds: float, rate: float, restart_every: float, seed: int
) -> dict[str, Any]:
    """Run one worker under load for so long; its samples judged."""
    log, tally = FaultLog(directory / "faults.jsonl"), Tally()
    samples: list[dict[str, float]] = []
    with Cluster(directory / "broker", 1) as cluster:
        topics = [create_input(cluster.bootstrap)]
        configuration = settings(cluster.bootstrap, topics, directory)
        # As the daemon fetches by itself: it is the load that matters here, not the kills.
        configuration["kafka"]["consumer"] = {}
        with (
            Run(cluster, configuration, directory, tally, log) as run,
            LiveProducer(cluster.bootstrap, topics, rate, seed) as producer,
        ):
            worker = run.begin()
            run.wait_ready(worker)
            started = time.monotonic()
            next_sample, next_restart = started, started + restart_every
            while (now := time.monotonic()) - started < seconds and worker.running():
                if restart_every and now >= next_restart:
                    cluster.brokers[0].restart()
                    tally.broker_restarts += 1
                    next_restart = time.monotonic() + restart_every
                taken = sample(worker.pid)
                if taken is None:
                    break
                samples.append(taken)
                if len(samples) % 60 == 0:
                    say(f"{now - started:.0f} s: {producer.sent} events, {samples[-1]}")
                next_sample = max(next_sample + 1, time.monotonic())
                time.sleep(max(next_sample - time.monotonic(), 0.05))
            if not worker.running():
                raise SystemExit(f"the daemon has ended:\n{worker.text()[-2000:]}")
            producer.stop()
            run.finish()
            log.close()
    judged = {
        name: judge_growth([each[name] for each in samples], allowed)
        for name, allowed in ALLOWED.items()
    }
    return {
        "seconds": round(seconds),
        "samples": len(samples),
        "events": producer.sent,
        "broker_restarts": tally.broker_restarts,
        "grows": [name for name, growth in judged.items() if growth.grows],
        **{
            name: {
                "middle": round(growth.middle, 2),
                "last": round(growth.last, 2),
                "slope": round(growth.slope, 3),
                "peak": round(max(each[name] for each in samples), 2),
            }
            for name, growth in judged.items()
        },
        "unexpected_exits": tally.unexpected_exits,
    }


def main() -> int:
    """The command; returns its exit code: 1 where something grows."""
    parser = argparse.ArgumentParser(prog="chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=1000, help="events a second")
    parser.add_argument(
        "--broker-restart", type=float, default=0, metavar="SECONDS", help="restart it so often"
    )
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    say(f"logs in {directory}")
    result = soak(directory, given.minutes * 60, given.rate, given.broker_restart, given.seed)
    print(json.dumps(result, indent=2))
    if result["grows"] or result["unexpected_exits"]:
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
