"""``python -m fuzz``: mutants for every reader of foreign bytes, some time each."""

from __future__ import annotations

import argparse
import sys

from fuzz.engine import TESTS, UNENDING, keep, run
from fuzz.target import names

CASES = TESTS / "data" / "fuzz"
"""Findings by target, which tests/test_fuzz.py reads again."""


def main() -> int:
    """The command; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--count", type=int, default=UNENDING, help="mutants of each target")
    parser.add_argument("--seed", type=int, default=0, help="decides which mutants are made")
    parser.add_argument("--only", nargs="+", choices=names(), default=names(), help="these targets")
    given = parser.parse_args()
    found = 0
    for name in given.only:
        outcome = run(name, given.seed, given.seconds, given.count)
        results = outcome.results
        print(
            f"{name:<12} {results.total():>8,} inputs, {results['taken in']:>7,} taken in, "
            f"{results['refused']:>7,} refused, {results['findings']:>3} findings, slowest "
            f"{outcome.slowest:.2f} s, peak {outcome.peak_mib:.0f} MiB",
            flush=True,
        )
        for finding in outcome.findings.values():
            path = keep(finding, CASES / name)
            print(f"  mutant {finding.number}: {finding.where}\n  kept as {path}")
            print("    " + finding.about.strip().replace("\n", "\n    "))
        if outcome.trouble:
            print(f"  {outcome.trouble}")
        found += len(outcome.findings) + bool(outcome.trouble)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
