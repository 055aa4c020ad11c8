"""The pipeline in stages: the daemon's bits, whatever the buckets, parts and restarts."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from support.streams import bytes_of, configuration, decode, new_pipeline, records, run_in_cuts

from stream_detector.batches.head import Head
from stream_detector.batches.in_process import InProcess
from stream_detector.batches.ordering import part_edges
from stream_detector.batches.packing import pack, pack_events, unpack, unpack_events
from stream_detector.batches.scored import PartScorer
from stream_detector.config.models.config import Config
from stream_detector.detectors.base import Rows
from stream_detector.detectors.registry import build_detector
from stream_detector.errors import StateError
from stream_detector.events import EventBatch, PlainRecord
from stream_detector.pipeline import BatchResult
from stream_detector.pipeline.chunk import EARLY_CHUNK, EARLY_EVENTS

CHUNK = 256
STREAM = records(4096)
KEYED = {
    "windows": [
        {
            "key": "user",
            "value": "amount",
            "half_lives": ["1h", "1d"],
            "compute": ["count", "mean", "deviation", "ratio", "baseline", "burst"],
        },
        {
            "key": "kind",
            "value": "amount",
            "half_lives": ["1d"],
            "compute": ["count", "distinct", "time_since_last"],
            "distinct_of": "user",
        },
    ],
    "processing": {"counterfactuals": False, "chunk_size": CHUNK},
}
LABELLED = {
    **KEYED,
    "detector": {"kind": "classifier", "min_positives": 5},
    "labels": {
        "field": "label",
        "delay": "4h",
        "keep_first": 1000,
        "risk": [{"key": "user", "half_lives": ["1h", "1d"]}],
    },
}


def chunk_ends(count: int) -> list[int]:
    early = list(range(0, min(count, EARLY_EVENTS), EARLY_CHUNK))
    return [*early, *range(EARLY_EVENTS, count, CHUNK), count]


def run(
    config: Config, some: list[PlainRecord], ends: list[int], buckets: int = 4, parts: int = 3
) -> tuple[InProcess, list[BatchResult]]:
    runner = InProcess(config, buckets, parts)
    return runner, [
        runner.process([decode(config, some[start:stop])]) for start, stop in pairwise(ends)
    ]


@pytest.mark.parametrize("settings", [KEYED, LABELLED], ids=["ensemble", "classifier"])
def test_batches_of_one_chunk_give_the_daemons_bytes(settings: dict[str, Any]) -> None:
    config = configuration(**settings)
    daemon = new_pipeline(config)
    ends = chunk_ends(len(STREAM))
    expected = bytes_of(run_in_cuts(daemon, config, STREAM, ends))
    runner, outcomes = run(config, STREAM, ends)
    assert bytes_of(outcomes) == expected
    assert len(expected[1]) > 10
    assert runner.head.core.fingerprint == daemon.fingerprint


@pytest.mark.parametrize("settings", [KEYED, LABELLED], ids=["ensemble", "classifier"])
def test_buckets_and_parts_make_no_difference(settings: dict[str, Any]) -> None:
    config = configuration(**settings)
    ends = [0, 700, 701, 1500, 2750, 4096]
    found = [
        bytes_of(run(config, STREAM, ends, buckets, parts)[1])
        for buckets, parts in ((1, 1), (4, 2), (12, 8))
    ]
    assert found[0][1]
    assert found[1:] == [found[0]] * 2


def spoilt() -> list[PlainRecord]:
    """Records of which some are none, and whose clock was wrong for a while."""
    made = list(STREAM[:3000])
    for row in range(100, 3000, 97):
        made[row] = made[row]._replace(value=b"{", headers=[("trace", b"7"), ("none", None)])
    for row in range(1200, 1260):
        event = json.loads(STREAM[row].value or b"")
        event["time"] += 20 * 86_400_000
        made[row] = made[row]._replace(value=json.dumps(event).encode())
    return made


def test_rejected_records_and_a_clock_that_was_wrong_make_no_difference() -> None:
    config = configuration(**{**LABELLED, "event": {**_EVENT, "max_ahead": "3650d"}})
    some, ends = spoilt(), [0, 1000, 1230, 1231, 2100, 3000]
    first, outcomes = run(config, some, ends, 1, 1)
    _, others = run(config, some, ends, 12, 5)
    assert sum(len(one.rejections) for one in outcomes) > 20
    assert any(shift.after_ms < shift.before_ms for one in outcomes for shift in one.shifts)
    letters = [[m.value for m in one.dead_letters] for one in outcomes]
    assert letters == [[m.value for m in one.dead_letters] for one in others]
    assert bytes_of(outcomes) == bytes_of(others)
    daemon = new_pipeline(config)
    told = run_in_cuts(daemon, config, some, ends)
    assert [[m.value for m in one.dead_letters] for one in told] == letters
    assert daemon.watermark_ms == first.head.core.watermark_ms


_EVENT = {"id": "id", "time": {"field": "time"}}


def test_pieces_of_a_batch_may_come_in_any_order() -> None:
    config = configuration(**KEYED)
    whole, shuffled = InProcess(config, 4, 3), InProcess(config, 4, 3)
    for start in range(0, 3000, 500):
        some = STREAM[start : start + 500]
        expected = whole.process([decode(config, some)])
        pieces = [decode(config, some[at : at + 90]) for at in (450, 0, 180, 90, 360, 270)]
        assert bytes_of([shuffled.process(pieces)]) == bytes_of([expected])


def test_a_head_restored_from_its_state_goes_on_with_the_same_bytes() -> None:
    config = configuration(**LABELLED)
    straight, other = InProcess(config, 4, 3), InProcess(config, 4, 3)
    for start in range(0, 4000, 500):
        batch = decode(config, STREAM[start : start + 500])
        expected = straight.process([batch])
        other.head, before = Head(config), pack(other.head.core.state())
        other.head.restore(unpack(before))
        assert bytes_of([other.process([batch])]) == bytes_of([expected])


def test_events_come_back_from_their_bytes() -> None:
    config = configuration()
    batch = decode(config, spoilt()[:400])
    batch.mark_ms = np.arange(len(batch))
    again = unpack_events(unpack(pack(pack_events(batch))))
    for name in ("offset", "time_ms", "numeric", "label", "mark_ms"):
        np.testing.assert_array_equal(getattr(again, name), getattr(batch, name))
    for name in ("source", "rejection", "event_id"):
        assert getattr(again, name).tolist() == getattr(batch, name).tolist()
    assert [column.tolist() for column in again.text] == [column.tolist() for column in batch.text]
    assert [(r.key, r.value, r.timestamp) for r in again.record] == [
        (r.key, r.value, r.timestamp) for r in batch.record
    ]
    assert list(again.record[100].headers) == [("trace", b"7"), ("none", None)]


def test_damaged_bytes_are_refused() -> None:
    data = bytearray(pack(pack_events(decode(configuration(), STREAM[:10]))))
    data[len(data) // 2] ^= 1
    with pytest.raises(StateError):
        unpack(bytes(data))


def test_a_part_that_lacks_features_is_refused() -> None:
    config = configuration(**KEYED)
    runner = InProcess(config, 2, 2)
    scorer = PartScorer(config)
    part = {
        "events": pack_events(decode(config, STREAM[:5])),
        "raw": np.zeros((5, len(runner.head.core.features.columns_of(None)))),
        "sequence": 0,
    }
    with pytest.raises(StateError, match="lack their features by kind"):
        scorer.score(pack(part), [])


def test_a_batch_that_is_not_the_next_is_refused() -> None:
    config = configuration(**KEYED)
    runner = InProcess(config, 2, 2)
    runner.process([decode(config, STREAM[:500])])
    runner.head = Head(config)
    with pytest.raises(StateError, match="the model has seen 0"):
        runner.process([decode(config, STREAM[500:600])])


@pytest.mark.parametrize("sequence", [0, 1, 31, 32, 4097])
@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 5000, 100_000])
@pytest.mark.parametrize("parts", [1, 7])
def test_parts_cover_a_batch_and_begin_with_a_block(sequence: int, count: int, parts: int) -> None:
    edges = part_edges(sequence, count, parts)
    assert (edges[0], edges[-1]) == (0, count)
    assert len(edges) <= parts + 1
    assert (np.diff(edges) >= 0).all()
    assert all((sequence + edge) % 32 == 0 for edge in edges[1:-1].tolist())


@pytest.mark.parametrize("kind", ["classifier", "adaptive_ensemble", "ensemble", "loda"])
def test_a_version_scores_with_the_same_bits_and_is_not_larger(kind: str) -> None:
    rng = np.random.default_rng(1)
    config = configuration(detector={"kind": kind}, labels={"field": "label", "delay": "1h"})
    detector, other = (build_detector(config.detector, 6) for _ in range(2))
    for _ in range(20):
        matrix = rng.normal(size=(256, 6))
        rows = Rows(matrix, matrix)
        detector.learn(rows)
        if detector.uses_labels:
            detector.learn(rows, (matrix[:, 0] > 1).astype(float))
    other.restore(unpack(pack(detector.scoring_state())))
    asked = Rows(matrix, matrix)
    assert other.score(asked).tobytes() == detector.score(asked).tobytes()
    assert len(pack(detector.scoring_state())) <= len(pack(detector.state()))


def test_no_stage_is_pickled() -> None:
    """A detector that is pickled learns on wrongly: its layers are views of one array."""
    config = configuration(**KEYED)
    for one in (Head(config), PartScorer(config), new_pipeline(config).detector):
        with pytest.raises(TypeError, match="state"):
            pickle.dumps(one)


def test_an_empty_batch_is_none() -> None:
    config = configuration(**KEYED)
    empty: EventBatch = decode(config, [])
    assert len(InProcess(config, 2, 2).process([empty]).scores) == 0
