r"""Attack the detectors, write the results and the tables.

    python -m benchmarks.attacks                          # what is missing of the reported seeds
    python -m benchmarks.attacks --fresh                  # everything anew: about twenty minutes
    python -m benchmarks.attacks --only copies --stream payments --detector river --seed 1
    python -m benchmarks.attacks --fresh --detector adaptive_ensemble \
        --output benchmarks/results/attacks.json          # and the tables
    python -m benchmarks.attacks --tables                 # only write the tables anew

Results stand in ``results/attacks.json``, and what stands there is not run again; a run for some
cases or other seeds (``--only``, ``--stream``, ``--detector``, ``--seed``) measures them and
leaves the file alone, unless ``--output`` names one.

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
from .cases import CASES, REPORTED, applies
from .detectors import DETECTORS
from .measure import measure
from .streams import Case

RESULTS = Path(__file__).resolve().parents[1] / "results" / "attacks.json"
Task = tuple[Case, str, int]
KEY = ("stream", "attack", "planted", "detector", "seed")


def tasks(arguments: argparse.Namespace) -> list[Task]:
    """What was asked for: each case, and the same without the attack before it."""
    made: dict[Task, None] = {}
    for case in CASES:
        if arguments.only and case.attack not in arguments.only.split(","):
            continue
        if arguments.stream and case.stream not in arguments.stream.split(","):
            continue
        if arguments.strength is not None and case.strength != arguments.strength:
            continue
        for detector in (arguments.detector or ",".join(DETECTORS)).split(","):
            for seed in arguments.seed or REPORTED:
                if applies(case, detector):
                    made[case.without, detector, seed] = None
                    made[case, detector, seed] = None
    return list(made)


def key_of(task: Task) -> tuple[Any, ...]:
    case, detector, seed = task
    return case.stream, case.name, case.planted, detector, seed


def run(wanted: list[Task], before: list[dict[str, Any]], output: Path | None, data: Path) -> Any:
    """Measure what ``before`` does not have; ``output`` is written after each."""
    records = {tuple(each[name] for name in KEY): each for each in before}
    head: dict[str, Any] = {"date": today()}
    kept = ("python", "stream-detector", "numpy", "scikit-learn", "river")
    head["versions"] = {name: found for name, found in versions().items() if name in kept}
    for task in wanted:
        if key_of(task) not in records:
            records[key_of(task)] = record = measure(*task, data)
            line = f"{record['stream']:9s}{record['attack']:20s}{record['detector']:18s}"
            line += f"seed {record['seed']}  alerted {record['alerted']:.3f}  raised "
            line += f"{record['raised']:.3f}  {record['alerts']} alerts  {record['seconds']} s"
            print(line, file=sys.stderr, flush=True)
        if output is not None:
            lines = ",\n  ".join(json.dumps(each) for each in records.values())
            opened = json.dumps(head, indent=1).removesuffix("\n}")
            output.write_text(f'{opened},\n "records": [\n  {lines}\n ]\n}}\n')
    return head | {"records": list(records.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="attacks, by comma")
    parser.add_argument("--strength", type=float, help="of the attack")
    parser.add_argument("--stream", help="payments, http, nsl, by comma")
    parser.add_argument("--detector", help="adaptive_ensemble, classifier, river, by comma")
    parser.add_argument("--seed", type=int, action="append", help="may come more than once")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is asked for")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    parser.add_argument("--json", action="store_true", help="print the records as JSON")
    parser.add_argument("--output", type=Path, help="file of the results")
    parser.add_argument("--data", help="directory of the data sets")
    arguments = parser.parse_args()
    some = any((arguments.only, arguments.stream, arguments.detector, arguments.seed))
    some = some or arguments.strength is not None
    output = arguments.output or (None if some else RESULTS)
    known = output is not None and output.exists()
    before = json.loads(output.read_text()) if known and output is not None else {}
    results = before
    if not arguments.tables:
        wanted = tasks(arguments)
        kept = before.get("records", [])
        if arguments.fresh:
            anew = set(map(key_of, wanted))
            kept = [each for each in kept if tuple(each[name] for name in KEY) not in anew]
        results = run(wanted, kept, output, data_directory(arguments.data))
    if arguments.json:
        print(json.dumps(results))
    else:
        seeds = arguments.seed or REPORTED
        for name in dict.fromkeys(each["stream"] for each in results.get("records", [])):
            print(f"\n{name}\n\n{report.table(results, name, seeds)}")
    if output is not None and output.resolve() == RESULTS:
        report.write(results)


if __name__ == "__main__":
    main()
