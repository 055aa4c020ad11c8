"""Plant incidents into departures, let everybody look for them, write the results and the tables.

    python -m benchmarks.rates                            # what is missing of the reported draws
    python -m benchmarks.rates --fresh --only ours        # ours anew: about two minutes
    python -m benchmarks.rates --only ours,prophet --draw 7      # to try things out
    python -m benchmarks.rates --draw 24 --output benchmarks/results/rates.json  # a further one
    python -m benchmarks.rates --tables                   # only write the tables anew

Results stand in ``results/rates.json``, and what stands there is not run again; a run for some
methods or other draws leaves the file alone, unless ``--output`` names one. Settings may only be
tried on draws 7, 11, 12 and 13. A peer that is not installed is left out, and is named.

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

from . import report
from .measure import METHODS, REPORTED, measure
from .peers import FOREST_VERSION, PROPHET_VERSION, PeerMissingError

RESULTS = Path(__file__).resolve().parents[1] / "results" / "rates.json"
Task = tuple[str, int]


def head() -> dict[str, Any]:
    kept = ("python", "stream-detector", "numpy")
    found = {name: version for name, version in versions().items() if name in kept}
    peers = {"randomcutforest": FOREST_VERSION, "prophet": PROPHET_VERSION}
    return {"date": today(), "versions": found | peers}


def run(wanted: list[Task], before: list[dict[str, Any]], output: Path | None, data: Path) -> Any:
    """Measure what ``before`` does not have; ``output`` is written after each."""
    records = {(each["method"], each["draw"]): each for each in before}
    lacking: set[str] = set()
    for method, draw in wanted:
        if (method, draw) in records or method in lacking:
            continue
        try:
            records[method, draw] = record = measure(method, draw, data)
        except PeerMissingError as error:
            print(f"{method} is left out: {error}", file=sys.stderr)
            lacking.add(method)
            continue
        found = {budget: each["found"] for budget, each in record["plain"].items()}
        print(f"{method:14s} draw {draw:2d}  found {found}", file=sys.stderr, flush=True)
        if output is not None:
            save(output, list(records.values()))
    return head() | {"records": list(records.values())}


def save(output: Path, records: list[dict[str, Any]]) -> None:
    lines = ",\n  ".join(json.dumps(each) for each in records)
    opened = json.dumps(head(), indent=1).removesuffix("\n}")
    output.write_text(f'{opened},\n "records": [\n  {lines}\n ]\n}}\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"methods, by comma: {', '.join(METHODS)}")
    parser.add_argument("--draw", type=int, action="append", help="may come more than once")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is asked for")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    parser.add_argument("--output", type=Path, help="file of the results")
    parser.add_argument("--data", help="directory of the data sets")
    arguments = parser.parse_args()
    methods = arguments.only.split(",") if arguments.only else list(METHODS)
    if unknown := set(methods) - set(METHODS):
        parser.error(f"no method {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    some = bool(arguments.only or arguments.draw)
    output = arguments.output or (None if some else RESULTS)
    before = json.loads(output.read_text()) if output is not None and output.exists() else {}
    results = before
    if not arguments.tables:
        wanted = [(method, draw) for draw in arguments.draw or REPORTED for method in methods]
        kept = before.get("records", [])
        if arguments.fresh:
            kept = [each for each in kept if (each["method"], each["draw"]) not in wanted]
        results = run(wanted, kept, output, data_directory(arguments.data))
    draws = arguments.draw or REPORTED
    print(f"\n{report.comparison(results, draws)}\n\n{report.kinds(results, '1', draws)}")
    if output is not None and output.resolve() == RESULTS:
        report.write(results)


if __name__ == "__main__":
    main()
