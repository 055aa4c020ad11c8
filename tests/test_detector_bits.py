"""Scores and states of every detector, against digests that an earlier version has stored."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.streams import bytes_of, configuration, new_pipeline, records, run_in_cuts
from test_detectors import CONFIGURATIONS

from stream_detector.snapshots import Snapshot, encode

STORED = Path(__file__).parent / "data" / "detector-digests.json"
PROCESSOR = blake2b(
    np.matmul(*np.random.RandomState(0).standard_normal((2, 64, 64))).tobytes()
    + np.tanh(np.random.RandomState(1).standard_normal(4096)).tobytes()
    + np.cos(np.random.RandomState(2).standard_normal(4096).astype(np.float32)).tobytes(),
    digest_size=8,
).hexdigest()
"""Digest of some arithmetic: where it is another one, so are the last bits of scores."""

LABELS = {"field": "label", "delay": "1h"}


def digests(name: str) -> dict[str, Any]:
    """Of a small stream: scores and alerts, state's names and its bytes (River's pickles vary)."""
    config = configuration(detector=CONFIGURATIONS[name], labels=LABELS)
    pipeline = new_pipeline(config)
    scores, alerts = bytes_of(run_in_cuts(pipeline, config, records(2500), [700]))
    state = b"" if name.startswith("river") else bytes(encode(Snapshot({}, pipeline.state())))
    found = {"scores": scores, "alerts": b"\n".join(each or b"" for each in alerts), "state": state}
    return {key: blake2b(value, digest_size=8).hexdigest() for key, value in found.items()}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_scores_alerts_and_state_are_what_they_were(name: str) -> None:
    stored = json.loads(STORED.read_text())
    if stored["processor"] != PROCESSOR:
        pytest.skip("the digests were stored on a processor that rounds otherwise")
    assert digests(name) == stored["detectors"][name]
