"""A snapshot that version 0.2.0 has written is read, and always goes on to the same bytes.

It holds two models, labels that wait, feedback, drift and the old name of a setting: made on the
first 900 events of the stream below by the code of 0.2.0. The digests were 0.2.0's own until tables
forgot seldom used keys and values first and rare alerts passed suppression: those are of now.
"""

from __future__ import annotations

import json
import lzma
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from support.streams import SETTINGS, SOURCE, configuration, records
from test_detector_bits import printed_by, processor

from stream_detector.connectors.base import Fetched
from stream_detector.daemon.shard import Shard
from stream_detector.snapshots import Snapshot, decode, encode
from stream_detector.telemetry.metrics import Metrics

TESTS = Path(__file__).parent
SNAPSHOT = TESTS / "data" / "snapshot-v02.bin.xz"
PROCESSOR = "905cb607e61866f1"
CHANGES: dict[str, Any] = {
    "features": [feature for feature in SETTINGS["features"] if "time" not in feature],
    "detector": {"kind": "loda", "projections": 8, "bins": 16},
    "challenger": {"detector": {"kind": "half_space_forest", "trees": 3, "depth": 4}},
    "labels": {
        "field": "label",
        "delay": "1h",
        "keep_first": 0,
        "keep_top": 0.1,
        "keep_random": 0.05,
    },
    "drift": [{"on": "inputs", "answer": "faster"}],
    "processing": {"chunk_size": 64, "learn_first": 100_000, "counterfactuals": False},
}
BEFORE = {
    "alerts": "4376ba245e6b2550",
    "scores": "ae46ddef03e48e38",
    "state": "27152345d1d93916",
    "fingerprint": "239cf8b139110396438bf85c92676103",
    "configuration": "ac1507d0d9bfdf98",
}


def continued() -> dict[str, Any]:
    """What comes of the rest of the stream."""
    shard = Shard(0, configuration(**CHANGES), Metrics())
    shard.restore(decode(lzma.decompress(SNAPSHOT.read_bytes())))
    position = shard.restored_positions().get(SOURCE)
    assert position == 900
    shard.add(SOURCE, position)
    shard.take_in(Fetched(SOURCE, records(2400)[position:]))
    alerts, scores, of_challenger = [], [], []
    while (outcome := shard.advance({SOURCE})) is not None:
        alerts += [alert.value or b"" for alert in outcome.alerts]
        scores.append(outcome.scores.tobytes())
        of_challenger += [each.tobytes() for each in outcome.challenger_scores]
    shard.take_slices()
    snapshot = shard.snapshot({"written_at": 1.0})
    features = dict(snapshot.state["features"])
    del features["cycles"]  # new since, as the probes are
    state = {**snapshot.state, "features": features}
    del state["probe"], state["probe_rows"], state["challenger"]["model"]["probe"]
    whole = Snapshot(snapshot.meta, state)
    all_scores = [b"".join(scores), b"".join(of_challenger)]  # however the stream is cut
    parts = {"alerts": alerts, "scores": all_scores, "state": [bytes(encode(whole))]}
    digests = {
        name: blake2b(b"\n".join(part), digest_size=8).hexdigest() for name, part in parts.items()
    }
    return {
        **digests,
        "fingerprint": shard.pipeline.fingerprint,
        "configuration": shard.configuration,
    }


def test_a_snapshot_of_0_2_0_goes_on_to_the_same_bytes() -> None:
    found = printed_by(__file__)
    if found.pop("processor") != PROCESSOR:
        pytest.skip("the digests were stored on a processor that rounds otherwise")
    assert found == BEFORE


if __name__ == "__main__":
    print(json.dumps({"processor": processor(), **continued()}))
