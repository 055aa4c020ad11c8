"""Keys and features: in the process, without a broker."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
from measured_daemon import resident_mib

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.decoding import Decoder
from stream_detector.detectors.base import Rows
from stream_detector.detectors.registry import find_detector
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.features import FeatureExtractor
from stream_detector.scaling import RunningScaler

CHUNK = 512
SOURCE = TopicPartition("events", 0)
WINDOW = {
    "value": "amount",
    "half_lives": ["17h", "5d", "21d"],
    "compute": ["count", "mean", "deviation"],
}


def _one(*values: object) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.scale", "--one", *map(str, values)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(ended.stdout))


def keys() -> list[dict[str, object]]:
    """Two key windows of three half-lives, keys drawn evenly: distinct keys against the bound."""
    rows: list[dict[str, object]] = []
    for bound, counts in ((100_000, (3, 4, 5, 6, 7)), (10_000_000, (6, 7))):
        for power in counts:
            found = _one("keys", 10**power, bound)
            rows.append(
                {
                    "distinct keys a window": f"{10**power:,}",
                    "`max_keys`": f"{bound:,}",
                    "CPU µs an event": f"{found['cpu_us']:.2f}",
                    "RSS MiB": f"{found['rss']:.0f}",
                }
            )
    return rows


def one_keys(distinct: int, bound: int) -> dict[str, float]:
    config = Config.model_validate(
        {
            "name": "keys",
            "event": {"time": {"field": "t", "format": "unix_s"}},
            "features": [{"numeric": "amount"}],
            "windows": [
                {"key": "a", **WINDOW, "max_keys": bound},
                {"key": "b", **WINDOW, "max_keys": bound},
            ],
        }
    )
    plan = FieldPlan.of(config)
    decoder, extractor = Decoder(config, plan), FeatureExtractor(config, plan)
    random = np.random.default_rng(0)
    total, warm, cpu = max(1_000_000, 2 * min(distinct, bound) + distinct // 2), 0, 0.0
    for start in range(0, total, CHUNK):
        drawn = random.integers(0, distinct, (CHUNK, 2)).tolist()
        values = [
            b'{"t":%d,"amount":%d.5,"a":"%d","b":"%d"}' % (1_600_000_000 + start + n, n, a, b)
            for n, (a, b) in enumerate(drawn)
        ]
        records = [PlainRecord(start + n, -1, None, value) for n, value in enumerate(values)]
        batch = decoder.decode(SOURCE, records)
        begun = time.thread_time()
        extractor.extract(batch)
        extractor.end_chunk()
        if start >= total // 2:  # the table is as full as it gets
            cpu += time.thread_time() - begun
            warm += CHUNK
    return {"cpu_us": cpu / warm * 1e6, "rss": resident_mib()}


def features() -> list[dict[str, object]]:
    """Numeric features, decoded from JSON, scaled, scored and learnt; µs an event by stage."""
    rows: list[dict[str, object]] = []
    for count in (5, 20, 100, 500):
        found = _one("features", count)
        rows.append(
            {
                "features": count,
                "JSON bytes": f"{found['bytes']:.0f}",
                **{f"{name}, µs": f"{found[name]:.1f}" for name in found if name != "bytes"},
            }
        )
    return rows


def one_features(count: int) -> dict[str, float]:
    config = Config.model_validate(
        {"name": "features", "features": [{"numeric": f"f{n}"} for n in range(count)]}
    )
    plan = FieldPlan.of(config)
    decoder, extractor = Decoder(config, plan), FeatureExtractor(config, plan)
    scaler = RunningScaler(count)
    kinds = ("autoencoder", "adaptive_ensemble")
    detectors = {name: find_detector(name).detector(count) for name in kinds}
    random = np.random.default_rng(0)
    chunks, taken, size = 20, dict.fromkeys(["decode", "features", "scale", *detectors], 0.0), 0
    for number in range(chunks):
        matrix = random.normal(size=(CHUNK, count)).round(4).tolist()
        values = [
            json.dumps({f"f{n}": value for n, value in enumerate(row)}).encode() for row in matrix
        ]
        size = len(values[0])
        records = [PlainRecord(n, -1, None, value) for n, value in enumerate(values)]
        marks = [time.thread_time()]
        batch = decoder.decode(SOURCE, records)
        marks.append(time.thread_time())
        raw = extractor.extract(batch)
        marks.append(time.thread_time())
        rows = Rows(raw, scaler.standardise(scaler.impute(raw)))
        scaler.learn(raw)
        marks.append(time.thread_time())
        for detector in detectors.values():
            if number:
                detector.score(rows)
            detector.learn(rows)
            marks.append(time.thread_time())
        if number >= chunks // 2:
            for name, (begun, ended) in zip(taken, pairwise(marks), strict=True):
                taken[name] += (ended - begun) / (CHUNK * (chunks - chunks // 2)) * 1e6
    return {"bytes": float(size), **taken}


ONE = {"keys": one_keys, "features": one_features}
