"""Measure, write the results and the tables.

    python -m benchmarks.quality                       # everything; with all peers about an hour
    python -m benchmarks.quality --parts comparison --detectors ensemble,river-hst --sets cardio \
        --output some.json
    python -m benchmarks.quality --keep                # what stands in the results is not run again
    python -m benchmarks.quality --tables              # only write the tables anew

Data: ``--data DIR``, else ``STREAM_DETECTOR_DATA``, else ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from . import data, report, run
from .parts import PARTS, tasks

RESULTS = Path(__file__).resolve().parents[1] / "results" / "quality.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="of the page, by comma")
    parser.add_argument("--detectors", help="of the comparison, by comma; default: all")
    parser.add_argument("--sets", default=",".join(data.SETS), help="streams, by comma")
    parser.add_argument("--rows", type=int, help="only the first rows of each stream")
    parser.add_argument("--jobs", type=int, default=1, help="processes; more make speeds worse")
    parser.add_argument("--keep", action="store_true", help="keep what has been measured")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the results")
    parser.add_argument("--data", help="directory of the data sets")
    arguments = parser.parse_args()
    before = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    if arguments.tables:
        results = before
    else:
        names = arguments.detectors.split(",") if arguments.detectors else None
        wanted = tasks(arguments.parts.split(","), names, arguments.sets.split(","))
        results = run.measure_all(
            [replace(task, rows=arguments.rows) for task in wanted],
            data.data_directory(arguments.data),
            arguments.jobs,
            before.get("records", []) if arguments.keep else [],
            arguments.output,
        )
    for name, table in report.tables(results).items():
        print(f"\n{name}\n\n{table}")
    if arguments.output == RESULTS:
        report.write(results)


if __name__ == "__main__":
    main()
