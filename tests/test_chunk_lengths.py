"""Chunks that follow the age of the labels, and what must not follow them."""

from __future__ import annotations

import itertools
import json

import pytest
from support.streams import bytes_of, configuration, decode, new_pipeline, records, run_in_cuts

from stream_detector.config.models.config import Config
from stream_detector.events import PlainRecord
from stream_detector.pipeline.chunk import EARLY_CHUNK, EARLY_EVENTS
from stream_detector.pipeline.features_end import features_end
from stream_detector.snapshots import Snapshot, encode
from stream_detector.snapshots import decode as decode_snapshot

PACES_MS = {2200: 20_000, 2900: 1_500, 3200: 150, 3400: 20_000}
"""Until which event there is one so often: its label, ten minutes late, is 30 events old, 400, as
good as none, and 30 again."""


def at_changing_paces() -> list[PlainRecord]:
    stream, time_ms = [], 1_600_000_000_000
    pace = iter(sorted(PACES_MS.items()))
    until, step = next(pace)
    for number, record in enumerate(records(max(PACES_MS))):
        if number == until:
            until, step = next(pace)
        time_ms += step
        event = {**json.loads(record.value or b"{}"), "time": time_ms, "label": number % 7 == 0}
        event["label"] = int(event["label"])
        event["amount"] = 1000.0 if event["label"] else event["amount"]
        stream.append(record._replace(timestamp=time_ms, value=json.dumps(event).encode()))
    return stream


def classifier() -> Config:
    detector = {"kind": "classifier", "min_positives": 5, "trees": False, "replay": 2}
    return configuration(detector=detector, labels={"field": "label", "delay": "10m"})


def test_a_run_that_is_stopped_anywhere_goes_on_to_the_same_bits_with_chunks_of_many_lengths():
    config, stream = classifier(), at_changing_paces()
    straight = new_pipeline(config)
    expected = run_in_cuts(straight, config, stream, [])
    sizes, outcomes, pipeline = set(), [], new_pipeline(config)
    for start, stop in itertools.pairwise([0, 700, *range(2040, len(stream), 85), len(stream)]):
        sizes.add(pipeline._learner.chunk.size)
        outcomes.append(pipeline.process(decode(config, stream[start:stop])))
        stored = encode(Snapshot({}, pipeline.state()))
        pipeline = new_pipeline(config)
        pipeline.restore(decode_snapshot(stored).state)
    assert len(sizes) >= 3
    assert bytes_of(outcomes) == bytes_of(expected)
    assert encode(Snapshot({}, pipeline.state())) == encode(Snapshot({}, straight.state()))


@pytest.mark.parametrize("configured", [64, 512, 2048])
def test_the_features_end_is_a_chunk_end_of_a_model_without_labels(configured: int) -> None:
    ends, sequence = [], 0
    while sequence < 3 * EARLY_EVENTS:
        assert all(features_end(one, configured) > one for one in (sequence, sequence + 1))
        sequence = features_end(sequence, configured)
        ends.append(sequence)
    early = EARLY_EVENTS // EARLY_CHUNK
    assert ends[:early] == list(range(EARLY_CHUNK, EARLY_EVENTS + 1, EARLY_CHUNK))
    assert ends[early:] == list(range(EARLY_EVENTS + configured, sequence + 1, configured))
