"""``python -m chaos``: kills and outages by the dozen, and nothing lost, doubled or different.

Three brokers, every topic on all of them. Phases: a backlog with one shard, with two, and with rare
snapshots, so that every restart replays all there was (each against a run without faults, byte for
byte), and live input with two shards (against its journal and what ``state verify`` recomputes).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from kafka_broker.cluster import Cluster

from chaos.campaign import Campaign
from chaos.faults import KINDS
from chaos.run import StuckError, say
from chaos.stream import INGREDIENTS

PHASES = ("backlog-1", "replay-1", "backlog-2", "live-2")
BROKERS = 3


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="faults fall at least so long")
    parser.add_argument("--kills", type=int, default=100, help="at least so many SIGKILLs")
    parser.add_argument("--seed", type=int, default=0, help="decides which faults fall")
    parser.add_argument("--events", type=int, default=100_000, help="size of the backlog")
    parser.add_argument("--rate", type=float, default=500, help="live events a second")
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=PHASES)
    parser.add_argument(
        "--without", nargs="+", choices=[*KINDS, *INGREDIENTS], default=(), help="leave out"
    )
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    say(f"seed {given.seed}, logs in {directory}")
    kills: float = given.kills / len(given.phases)
    seconds: float = given.minutes * 60 / len(given.phases)
    campaign = Campaign(directory, given.seed, given.without)
    stuck = ""
    try:
        with Cluster(directory / "brokers", BROKERS) as cluster:
            for phase in given.phases:
                shards = int(phase[-1])
                started, before = time.monotonic(), campaign.tally.kills

                def enough(started: float = started, before: int = before) -> bool:
                    if time.monotonic() - started < seconds:
                        return False
                    return campaign.tally.kills - before >= kills

                if phase.startswith("live"):
                    campaign.live(cluster, phase, shards, given.rate, enough)
                else:
                    # A replay is as long as what was done before it: a third gives seconds.
                    count = given.events // 3 if phase.startswith("replay") else given.events
                    campaign.backlog(cluster, phase, shards, count, enough)
    except StuckError as error:
        stuck = str(error)
        say(stuck)
    finally:
        campaign.close()
    result = campaign.result() | {"seed": given.seed}
    if stuck:
        result["stuck"] = stuck.splitlines()[0]
    sound = campaign.sound() and not stuck
    if sound:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        result["logs"] = str(directory)
        for text in campaign.verdict.details + campaign.problems:
            say(text)
    print(json.dumps(result, indent=2))
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
