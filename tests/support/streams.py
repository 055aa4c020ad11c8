"""Small streams with a configuration that uses every kind of feature."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np

from stream_detector.config import Config, FieldPlan, state_fingerprint
from stream_detector.config.loading.load import parse
from stream_detector.decoding import Decoder
from stream_detector.events import EventBatch, PlainRecord, TopicPartition
from stream_detector.pipeline import BatchResult, PipelineCore

SOURCE = TopicPartition("events", 0)

SETTINGS: dict[str, Any] = {
    "name": "test",
    "event": {"id": "id", "time": {"field": "time"}},
    "features": [
        {"numeric": "amount", "transform": "log"},
        {"numeric": "weight", "missing": "indicator"},
        {"categorical": "kind", "size": 4},
        {"boolean": "flag", "missing": "mean"},
        {"time": "hour_of_day"},
        {"ratio": ["amount", "weight"], "missing": "mean"},
    ],
    "windows": [
        {
            "key": "user",
            "value": "amount",
            "half_lives": ["1h", "1d"],
            "compute": ["count", "mean", "deviation", "time_since_last"],
            "max_keys": 64,
        }
    ],
    "threshold": {"budget": "2 %", "burn_in": 300},
    "suppression": {"key": "user", "period": "10m", "max_keys": 50},
}


def configuration(**changes: Any) -> Config:
    """The configuration of these streams with some sections replaced."""
    return parse(json.dumps({**SETTINGS, **changes}), "test.yaml", {}).config


def records(count: int, seed: int = 0) -> list[PlainRecord]:
    """Events of some users, one in 50 of them strange (`label` 1); in the order of their time."""
    rng = np.random.default_rng(seed)
    made = []
    time_ms = 1_600_000_000_000
    for offset in range(count):
        time_ms += int(rng.exponential(20_000))
        event: dict[str, Any] = {
            "id": f"e{offset}",
            "time": time_ms,
            "user": f"u{int(rng.zipf(1.5)) % 200}",
            "amount": float(rng.lognormal(3, 1)),
            "kind": str(rng.choice(["a", "b", "c", "d", "e", "f"])),
        }
        if rng.random() < 0.9:
            event["weight"] = float(rng.normal(5, 1))
        if rng.random() < 0.7:
            event["flag"] = bool(rng.random() < 0.2)
        event["label"] = int(rng.random() < 0.02)
        if event["label"]:
            event["amount"] *= 1000
        made.append(PlainRecord(offset, time_ms, b"k", json.dumps(event).encode()))
    return made


def spoilt(count: int) -> list[PlainRecord]:
    """The same, each 97th of them no JSON, from the 50th on."""
    made = records(count)
    for row in range(50, count, 97):
        made[row] = made[row]._replace(value=b"{")
    return made


def new_pipeline(config: Config) -> PipelineCore:
    return PipelineCore(config, state_fingerprint(config))


def knowing(pipeline: PipelineCore) -> PipelineCore:
    """The pipeline as one that has been through every cycle of the time, as older versions were."""
    state = dict(pipeline.features.state())
    del state["cycles"]
    pipeline.features.restore(state)
    return pipeline


def decode(config: Config, some: list[PlainRecord]) -> EventBatch:
    return Decoder(config, FieldPlan.of(config)).decode(SOURCE, some)


def run_in_cuts(
    pipeline: PipelineCore, config: Config, some: list[PlainRecord], cuts: list[int]
) -> list[BatchResult]:
    """Process records in batches that end at ``cuts``."""
    edges = [0, *sorted({c for c in cuts if 0 < c < len(some)}), len(some)]
    return [
        pipeline.process(decode(config, some[start:stop]))
        for start, stop in itertools.pairwise(edges)
        if stop > start
    ]


def bytes_of(outcomes: list[BatchResult]) -> tuple[bytes, list[bytes | None]]:
    """All scores and alerts, for comparison bit by bit."""
    scores = np.concatenate([o.scores for o in outcomes])
    return scores.tobytes(), [alert.value for o in outcomes for alert in o.alerts]
