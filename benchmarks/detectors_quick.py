"""Quality and speed of one of our detectors on the twelve streams of benchmarks/quality.

    python benchmarks/detectors_quick.py ensemble [--rows 30000] [--sets cardio,cover] [--seed 0]
    python benchmarks/detectors_quick.py ensemble --set autoencoder=false

For work on a detector: half a minute, no peers. Printed as there: ROC AUC and average precision of
the rows that count, their means, and events a second through the pipeline, on one thread.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from quality.data import SETS, data_directory
from quality.measure import measure
from quality.parts import Task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", help="kind of the detector")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON", dest="settings")
    parser.add_argument("--sets", default=",".join(SETS), help="data sets, by comma")
    parser.add_argument("--rows", type=int, help="only the first rows of each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="directory of the data sets")
    arguments = parser.parse_args()
    section = {
        name: json.loads(value)
        for name, value in (item.split("=", 1) for item in arguments.settings)
    }
    section |= {"kind": arguments.kind, "seed": arguments.seed}
    directory = data_directory(arguments.data)
    table: list[tuple[float, float]] = []
    all_rows, all_seconds = 0, 0.0
    print(f"{'set':14s} {'rows':>7s} {'columns':>7s} {'AUC':>6s} {'AP':>6s} {'events/s':>9s}")
    for name in arguments.sets.split(","):
        task = Task("quick", "ours", name, {"detector": section}, rows=arguments.rows)
        record = measure(task, directory)
        line = f"{name:14s} {record['rows']:7d} {record['columns']:7d}"
        if "error" in record:
            raise SystemExit(f"{line} {record['error']}")
        if "whole" not in record["auc"]:
            print(f"{line}  one class only in these rows")
            continue
        figures = record["auc"]["whole"], record["ap"]["whole"]
        table.append(figures)
        all_rows += record["rows"]
        all_seconds += record["seconds"]
        speed = record["events_per_second"]
        print(f"{line} {figures[0]:6.3f} {figures[1]:6.3f} {speed:9,d}", flush=True)
    auc, precision = np.mean(table, axis=0)
    mean_speed = all_rows / all_seconds
    print(f"{'mean':14s} {all_rows:7d} {'':7s} {auc:6.4f} {precision:6.4f} {mean_speed:9,.0f}")


if __name__ == "__main__":
    main()
