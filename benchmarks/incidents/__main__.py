"""Plant incidents into payments and departures, and see what is told of them.

    python -m benchmarks.incidents                       # what is missing of the reported draws
    python -m benchmarks.incidents --fresh               # all of it anew: about five minutes
    python -m benchmarks.incidents --only payments --draw 101
    python -m benchmarks.incidents --only outages

Results stand in ``results/incidents.json``; a run for some streams or other draws leaves the file
alone. Constants may only be tried on draws from 101 on.

Data: ``--data DIR``, else ``STREAM_DETECTOR_DATA``, else ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.quality.data import data_directory
from benchmarks.quality.run import today, versions

from . import departures, outages, payments
from .plants import judge
from .stream import incidents

RESULTS = Path(__file__).resolve().parents[1] / "results" / "incidents.json"
REPORTED = (1,)
STREAMS = {"payments": payments, "departures": departures}
OUTAGES = {
    "payments": outages.of_payments,
    "network": outages.of_network,
    "departures": outages.of_departures,
    "seldom cards": outages.of_seldom,
}


def planted(stream: str, draw: int, data: Path) -> dict[str, Any]:
    """What is told of the 50 incidents of a draw."""
    module = STREAMS[stream]
    drawn = module.draw(draw, data)
    changes = incidents(module.CONFIGURATION, drawn.lines)
    judged = judge(drawn.plants, changes)
    return {
        "stream": stream,
        "draw": draw,
        "events": len(drawn.lines),
        "planted": len(judged),
        "found": sum(each["found"] for each in judged),
        "first": sum(each["right"] for each in judged),
        "incidents": len({change["id"] for change in changes}),
        "messages": len(changes),
        "each": judged,
    }


def outage(stream: str, data: Path) -> dict[str, Any]:
    """How often what happens once is told."""
    return {"outage": stream, "each": OUTAGES[stream](data)}


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    """What a record is of."""
    return (record.get("stream"), record.get("draw"), record.get("outage"))


def show(record: dict[str, Any]) -> str:
    """A line about a record, and one for each kind."""
    if "outage" in record:
        rows = [
            f"  {each['kind']:18s} incidents {each['incidents']}  opened {each['opened']}"
            f"  merged {each['merged']}  resolved {each['resolved']}  of {each['events']} events"
            for each in record["each"]
        ]
        return "\n".join([f"{record['outage']}: told once?", *rows])
    counts = f"named first {record['first']} of {record['planted']}, found {record['found']}"
    lines = [f"{record['stream']}, draw {record['draw']}: {counts}"]
    for kind in dict.fromkeys(each["kind"] for each in record["each"]):
        some = [each for each in record["each"] if each["kind"] == kind]
        right, found = (sum(each[name] for each in some) for name in ("right", "found"))
        lines.append(f"  {kind:18s} first {right:2d}, found {found:2d} of {len(some)}")
    return "\n".join(lines)


def save(records: list[dict[str, Any]]) -> None:
    """Write the results, a line for each record."""
    kept = ("python", "stream-detector", "numpy")
    head = {"date": today(), "versions": {n: v for n, v in versions().items() if n in kept}}
    lines = ",\n  ".join(json.dumps(each) for each in records)
    opened = json.dumps(head, indent=1).removesuffix("\n}")
    RESULTS.write_text(f'{opened},\n "records": [\n  {lines}\n ]\n}}\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[*STREAMS, "outages"])
    parser.add_argument("--draw", type=int, action="append", help="may come more than once")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is there")
    parser.add_argument("--data", help="directory of the data sets")
    arguments = parser.parse_args()
    data = data_directory(arguments.data)
    draws = arguments.draw or REPORTED
    wanted: list[tuple[Any, ...]] = [
        (stream, draw, None)
        for draw in draws
        for stream in STREAMS
        if arguments.only in (None, stream)
    ]
    if arguments.only in (None, "outages"):
        wanted += [(None, None, name) for name in OUTAGES]
    kept = json.loads(RESULTS.read_text())["records"] if RESULTS.exists() else []
    records = {key(each): each for each in kept}
    for what in wanted:
        if arguments.fresh or what not in records:
            stream, draw, name = what
            records[what] = outage(name, data) if name else planted(stream, draw, data)
            if draw is None or draw in REPORTED:
                save([one for one in records.values() if one.get("draw") in (None, *REPORTED)])
        print(show(records[what]), flush=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
