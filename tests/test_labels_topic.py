"""Labels on a topic of their own: what they teach, at which place in the order, and recovery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from support.process import DaemonProcess
from support.streams import SETTINGS, records
from test_daemon import messages, settings, topics
from test_state_verify import verify

from stream_detector.config import Config, FieldPlan, state_fingerprint
from stream_detector.config.loading.load import parse
from stream_detector.decoding import Decoder, LabelDecoder
from stream_detector.events import EventBatch, PlainRecord, TopicPartition
from stream_detector.pipeline import PipelineCore

EVENTS, LABELS = TopicPartition("events", 0), TopicPartition("labels", 0)
LEARNING: dict[str, Any] = {
    "detector": {"kind": "classifier", "min_positives": 5, "replay": 5, "replay_rows": 1000},
    "labels": {
        "delay": "2h",
        "absent": "normal",
        "keep_first": 1000,
        "keep_top": 0.1,
        "risk": [{"key": "user", "half_lives": ["1d"], "max_keys": 64}],
    },
}
KAFKA = {"bootstrap_servers": "x:1", "topics": ["events"], "group": "g", "alerts": "a"}
KAFKA |= {"dead_letters": "d"}


def on_topic(**labels: Any) -> Config:
    changed = {**SETTINGS, **LEARNING, "labels": {**LEARNING["labels"], **labels}}
    changed["kafka"] = {**KAFKA, "labels": "labels"}
    return parse(json.dumps(changed), "f", {}).config


def in_event() -> Config:
    labels = {**LEARNING["labels"], "field": "label"}
    changed = {**SETTINGS, **LEARNING, "labels": labels, "kafka": KAFKA}
    return parse(json.dumps(changed), "f", {}).config


def label(event: dict[str, Any], offset: int, **changes: Any) -> PlainRecord:
    value = {"event_id": event["id"], "label": event["label"], "time": event["time"], **changes}
    return PlainRecord(offset, event["time"], None, json.dumps(value).encode())


def decode(config: Config, some: list[PlainRecord]) -> EventBatch:
    return Decoder(config, FieldPlan.of(config)).decode(EVENTS, some)


def mixed(config: Config, stream: list[PlainRecord], delay: int) -> EventBatch:
    """Events with the label of each ``delay`` events later, as the merge would hand them on."""
    assert config.labels is not None
    of_labels = LabelDecoder(config.labels, FieldPlan.of(config))
    events = decode(config, stream)
    found = of_labels.decode(
        LABELS, [label(json.loads(r.value or b""), n) for n, r in enumerate(stream)]
    )
    together = EventBatch.concatenate([events, found])
    place = np.concatenate([np.arange(len(stream)), np.arange(len(stream)) + delay + 0.5])
    return together.take(np.argsort(place, kind="stable"))


def run(config: Config, batch: EventBatch, cuts: list[int]) -> tuple[PipelineCore, bytes]:
    pipeline = PipelineCore(config, state_fingerprint(config))
    scores = []
    for start, stop in zip([0, *cuts], [*cuts, len(batch)], strict=True):
        part = batch.take(slice(start, stop))
        of_events = np.array([source == EVENTS for source in part.source], dtype=bool)
        scores.append(pipeline.process(part).scores[of_events])
        follower = PipelineCore(config, state_fingerprint(config))
        follower.restore(pipeline.state())
        pipeline = follower
    return pipeline, np.concatenate(scores).tobytes()


@pytest.mark.parametrize(
    ("delay", "cuts"), [(0, []), (1, [1, 5, 700, 701, 3000]), (20, [1, 5, 700, 701, 3000])]
)
def test_labels_on_a_topic_teach_what_labels_in_the_event_do(delay: int, cuts: list[int]) -> None:
    stream = records(3000)
    beside, scores = run(on_topic(), mixed(on_topic(), stream, delay), cuts)
    inside, expected = run(in_event(), decode(in_event(), stream), [])
    assert inside.detector.score_scale == 1
    assert scores == expected
    assert beside.labels.taken == 3000


def test_a_label_that_comes_too_late_or_for_nobody_is_counted_and_teaches_nothing() -> None:
    stream, config = records(3000), on_topic(risk=[])
    batch = mixed(config, stream, 1500).take(slice(0, 4500))  # all events, half of the labels
    late, scores = run(config, batch, [])
    assert late.labels.taken == 1500
    # `absent: normal` has taught that the first thousand are; they are still remembered.
    assert 400 < late.labels.unmatched < 600
    assert late.detector.score_scale == 0
    assert config.labels is not None
    unlabelled, expected = run(config, decode(config, stream), [])
    assert scores == expected
    assert unlabelled.labels.taken == 0


def test_a_label_that_comes_too_late_for_learning_corrects_what_is_known_of_its_key() -> None:
    stream = records(3000)
    batch = mixed(on_topic(), stream, 1500).take(slice(0, 4500))
    _, scores = run(on_topic(), batch, [])
    _, expected = run(on_topic(), decode(on_topic(), stream), [])
    assert scores != expected
    for cuts in ([1, 5, 700, 701, 3000], list(range(0, 4500, 100))):
        assert run(on_topic(), batch, cuts)[1] == scores


def test_corrections_in_any_order_do_not_depend_on_where_a_poll_ends() -> None:
    config = on_topic()
    assert config.labels is not None
    stream = records(2000)
    random = np.random.default_rng(0)
    said = [  # of events counted long ago, out of order, some of them twice and against themselves
        label(json.loads(stream[n].value or b""), offset, label=int(random.random() < 0.5))
        for offset, n in enumerate(random.integers(200, 1200, 80))
    ]
    labels = LabelDecoder(config.labels, FieldPlan.of(config)).decode(LABELS, said)
    together = EventBatch.concatenate([decode(config, stream), labels])
    place = np.concatenate([np.arange(2000), np.full(80, 1500.5)])
    batch = together.take(np.argsort(place, kind="stable"))
    _, scores = run(config, batch, [])
    _, unsaid = run(config, decode(config, stream), [])
    assert scores != unsaid
    for cuts in ([1510], [1505, 1530, 1540], list(range(1501, 1582))):
        assert run(config, batch, cuts)[1] == scores


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "tombstone"),
        (b"", "empty"),
        (b"{", "malformed"),
        (b'{"event_id": "a"}', "wrong_type"),
        (b'{"event_id": "a", "label": "perhaps"}', "wrong_type"),
        (b'{"event_id": ["a"], "label": 1}', "wrong_type"),
        (b'{"event_id": "a", "label": 1, "time": "soon"}', "time_invalid"),
        (json.dumps({"event_id": "a" * 2000, "label": 1}).encode(), "text_too_long"),
        (b" " * 20_000, "too_large"),
    ],
)
def test_what_is_no_label_is_a_bad_record(value: bytes | None, reason: str) -> None:
    config = on_topic()
    assert config.labels is not None
    decoder = LabelDecoder(config.labels, FieldPlan.of(config))
    batch = decoder.decode(LABELS, [PlainRecord(0, 5, None, value)])
    assert batch.rejection[0].reason == reason
    outcome = PipelineCore(config, "x").process(batch)
    assert [letter.source for letter in outcome.dead_letters] == [LABELS]


def test_words_numbers_and_numeric_ids_are_understood() -> None:
    config = on_topic()
    assert config.labels is not None
    values = [
        {"event_id": 7, "label": "fraud", "time": "2024-05-01T00:00:00Z"},
        {"event_id": "8", "label": "normal"},
        {"event_id": "9", "label": True},
        {"event_id": "10", "label": 0},
    ]
    some = [PlainRecord(n, 5, None, json.dumps(v).encode()) for n, v in enumerate(values)]
    batch = LabelDecoder(config.labels, FieldPlan.of(config)).decode(LABELS, some)
    assert batch.event_id.tolist() == ["7", "8", "9", "10"]
    assert batch.label.tolist() == [1, 0, 1, 0]
    assert batch.time_ms.tolist() == [1_714_521_600_000, 5, 5, 5]


def test_labels_from_kafka_survive_kills_and_can_be_verified(kafka, tmp_path: Path) -> None:
    """The same input and labels, disturbed and not: the same alerts, and nothing to be found."""
    quick = {"session_timeout_ms": 1500, "heartbeat_interval_ms": 300}
    section = {**topics(kafka.bootstrap, 2), "consumer": quick}
    section["labels"] = create_topic(kafka.bootstrap, unique_name("labels"), 2)
    stream = records(3000)
    sent = messages(stream, 2)
    verdicts = []
    for record, message in zip(stream, sent, strict=True):
        event = json.loads(record.value or b"")
        if event["label"]:
            value = json.dumps({"event_id": event["id"], "label": "fraud"}).encode()
            later = event["time"] + 600_000
            verdicts.append(Message(value, message.partition, None, later))
    produce(kafka.bootstrap, section["topics"][0], sent)
    produce(kafka.bootstrap, section["labels"], verdicts)
    total = len(sent) + len(verdicts)
    with DaemonProcess(tmp_path / "one", settings(section, tmp_path / "one", **LEARNING)) as daemon:
        daemon.wait_ready().wait_processed(total)
        daemon.wait_worked_off()
        assert daemon.stop() == 0
    expected = [r.value for r in consume_all(kafka.bootstrap, section["alerts"])]
    assert len(expected) > 10
    alerts = create_topic(kafka.bootstrap, unique_name("alerts"), 1, {"retention.ms": "-1"})
    again = {**section, "alerts": alerts, "group": unique_name("group")}
    directory = tmp_path / "two"
    slow = {**LEARNING, "processing": {"max_poll_records": 100, "commit_interval": "100ms"}}
    with DaemonProcess(directory, settings(again, directory, **slow)) as daemon:
        for least in (300, 1200):
            daemon.wait_ready().wait_processed(least)
            daemon.kill()
            daemon.start()
        daemon.wait_ready().wait_worked_off()
        assert daemon.metric("labels_waiting") > 0
        assert daemon.stop() == 0
    assert [r.value for r in consume_all(kafka.bootstrap, alerts)] == expected
    code, (found,) = verify(daemon.config)
    assert code == 0, found
    assert found["alerts_expected"] == len(expected)
