"""Scores and states of every detector, against digests that an earlier version has stored.

A process of its own computes them with the instructions that every x86-64 processor of the last ten
years has: with AVX-512 NumPy rounds the last bits of logarithms and powers otherwise, and which
processor a test runs on is chance.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.streams import bytes_of, configuration, knowing, new_pipeline, records, run_in_cuts
from test_detectors import CONFIGURATIONS

from stream_detector.snapshots import Snapshot, encode

TESTS = Path(__file__).parent
STORED = TESTS / "data" / "detector-digests.json"
COMMON_INSTRUCTIONS = {
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL "
    "AVX512_SPR X86_V4",
    "OPENBLAS_CORETYPE": "Haswell",
}
LABELS = {"field": "label", "delay": "1h"}


def processor() -> str:
    """Digest of some arithmetic: where it is another one, so are the last bits of scores."""
    values = np.random.RandomState(1).standard_normal(4096)
    parts = [
        np.matmul(*np.random.RandomState(0).standard_normal((2, 64, 64))),
        np.cos(np.random.RandomState(2).standard_normal(4096).astype(np.float32)),
        *(f(np.abs(values)) for f in (np.log, np.log1p, np.exp, np.sqrt, np.tanh, np.cos)),
        np.abs(values) ** 0.3,
    ]
    return blake2b(b"".join(part.tobytes() for part in parts), digest_size=8).hexdigest()


def digests(name: str) -> dict[str, Any]:
    """Of a small stream: scores and alerts, state's names and its bytes (River's pickles vary)."""
    config = configuration(detector=CONFIGURATIONS[name], labels=LABELS)
    pipeline = knowing(new_pipeline(config))
    scores, alerts = bytes_of(run_in_cuts(pipeline, config, records(2500), [700]))
    kept = dict(pipeline.state())
    # The digests are older than this part.
    kept["features"] = {part: value for part, value in kept["features"].items() if part != "cycles"}
    state = b"" if name.startswith("river") else bytes(encode(Snapshot({}, kept)))
    found = {"scores": scores, "alerts": b"\n".join(each or b"" for each in alerts), "state": state}
    return {key: blake2b(value, digest_size=8).hexdigest() for key, value in found.items()}


def printed_by(module: str) -> dict[str, Any]:
    """The JSON that a module of the tests prints as a program, with the instructions all have."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", module],
        env={**os.environ, **COMMON_INSTRUCTIONS, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    computed: dict[str, Any] = json.loads(ran.stdout)
    return computed


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What this module computes as a program."""
    return printed_by(__file__)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_scores_alerts_and_state_are_what_they_were(name: str, found: dict[str, Any]) -> None:
    stored = json.loads(STORED.read_text())
    if stored["processor"] != found["processor"]:
        pytest.skip("the digests were stored on a processor that rounds otherwise")
    assert found["detectors"][name] == stored["detectors"][name]


if __name__ == "__main__":
    found_here = {name: digests(name) for name in CONFIGURATIONS}
    print(json.dumps({"processor": processor(), "detectors": found_here}, indent=1))
