"""All tasks of a run, one after the other or in several processes; results after each."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import repeat
from pathlib import Path
from typing import Any

from .measure import measure
from .parts import Task, every_task
from .peers import PEERS

Record = dict[str, Any]
LIBRARIES = dict.fromkeys(
    ("stream-detector", "numpy", "scikit-learn", *(peer.distribution for peer in PEERS.values()))
)


def measure_all(
    tasks: Sequence[Task], directory: Path, jobs: int, kept: Sequence[Record], output: Path
) -> Record:
    """Measure what ``kept`` has no record of; ``output`` is written after each."""
    records = {(each["part"], each["detector"], each["set"]): each for each in kept}
    left = [task for task in tasks if task.key not in records]
    order = {task.key: place for place, task in enumerate(every_task())}
    for record in measured(left, directory, jobs):
        record["date"] = today()
        records[record["part"], record["detector"], record["set"]] = record
        print(progress(record), file=sys.stderr, flush=True)
        save(output, records, order)
    return save(output, records, order)


def measured(left: Sequence[Task], directory: Path, jobs: int) -> Iterator[Record]:
    """Records as they come. Each task has a process of its own: peers leave things behind."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        yield from pool.map(measure, left, repeat(directory))


def progress(record: Record) -> str:
    """One line for a record."""
    figure = record.get("error")
    if figure is None:
        auc = record["auc"].get("whole", float("nan"))
        figure = f"AUC {auc:.3f}  {record['events_per_second']:,} events/s"
    names = f"{record['part']:10s} {record['detector']:24s} {record['set']:14s}"
    return f"{names} {record['rows']:7,} rows  {figure}"


def save(
    output: Path,
    records: dict[tuple[str, str, str], Record],
    order: dict[tuple[str, str, str], int],
) -> Record:
    """Write date, versions and records in the order of the tasks, one line a record."""
    ordered = [records[key] for key in sorted(records, key=lambda key: order.get(key, -1))]
    head = {"date": today(), "versions": versions()}
    lines = ",\n  ".join(json.dumps(record) for record in ordered)
    opened = json.dumps(head, indent=1).removesuffix("\n}")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(f'{opened},\n "records": [\n  {lines}\n ]\n}}\n')
    return head | {"records": ordered}


def versions() -> dict[str, str]:
    """Of Python and of every library that is compared."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found


def today() -> str:
    return datetime.now(tz=UTC).date().isoformat()
