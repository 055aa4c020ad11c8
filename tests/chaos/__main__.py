"""``python -m chaos``: kills and outages by the dozen, and nothing lost, doubled or different.

Three brokers, every topic on all of them. Phases: a backlog with one shard, with two, and with rare
snapshots, so that every restart replays all there was (each against a run without faults, byte for
byte), live input with two shards (against its journal and what ``state verify`` recomputes), and
live input on two topics of which one is deleted and made anew.
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

from chaos.anew import made_anew
from chaos.campaign import Campaign
from chaos.faults import KINDS
from chaos.run import StuckError, say
from chaos.stream import INGREDIENTS

PHASES = {"backlog-1": 4, "replay-1": 4, "backlog-2": 8, "live-2": 8, "anew-1": 1}
"""Each with its part of the time and the kills. Making a topic anew takes time and kills nobody."""

BROKERS = 3


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="faults fall at least so long")
    parser.add_argument("--kills", type=int, default=100, help="at least so many SIGKILLs")
    parser.add_argument("--seed", type=int, default=0, help="decides which faults fall")
    parser.add_argument("--events", type=int, default=50_000, help="size of the backlog")
    parser.add_argument("--rate", type=float, default=500, help="live events a second")
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=[*PHASES])
    parser.add_argument(
        "--without", nargs="+", choices=[*KINDS, *INGREDIENTS], default=(), help="leave out"
    )
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    say(f"seed {given.seed}, logs in {directory}")
    parts = sum(PHASES[phase] for phase in given.phases)
    campaign = Campaign(directory, given.seed, given.without)
    stuck = ""
    try:
        with Cluster(directory / "brokers", BROKERS) as cluster:
            for phase in given.phases:
                shards = int(phase[-1])
                share = PHASES[phase] / parts
                until = time.monotonic() + given.minutes * 60 * share
                kills = campaign.tally.kills + given.kills * share

                def enough(until: float = until, kills: float = kills) -> bool:
                    return time.monotonic() >= until and campaign.tally.kills >= kills

                if phase.startswith("anew"):
                    made_anew(campaign, cluster, phase, given.rate, enough)
                elif phase.startswith("live"):
                    campaign.live(cluster, phase, shards, given.rate, enough)
                else:
                    campaign.backlog(cluster, phase, shards, given.events, enough)
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
