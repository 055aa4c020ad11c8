"""What a registry said is kept: a replay needs none, and refuses what was refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.formats import SOURCE, avro_bytes, framed
from support.streams import SETTINGS, configuration, records
from test_formats import STREAM, in_avro

from stream_detector.cli.state_watermark import with_watermark
from stream_detector.commits.slices import composed
from stream_detector.connectors.base import Fetched
from stream_detector.daemon.held_records import Wait
from stream_detector.daemon.shard import Shard
from stream_detector.errors import ConnectorError, StateError
from stream_detector.events import PlainRecord
from stream_detector.formats.schemas import (
    MAX_NEW_BYTES,
    MAX_SCHEMAS,
    Answer,
    Refusal,
    Schema,
    SchemaBook,
    schema_of,
)
from stream_detector.journal import JournalRecord, decode, encode
from stream_detector.pipeline import BatchResult
from stream_detector.snapshots import decode as decode_snapshot
from stream_detector.snapshots.format import encode as encode_snapshot
from stream_detector.telemetry.metrics import Metrics

TOPICS = {"alerts": "a", "dead_letters": "d"}
FIRST = Schema("avro", (STREAM,))
SECOND = Schema(
    "avro", (STREAM.replace('"name": "weight"', '"name": "mass", "aliases": ["weight"]'),)
)
KNOWN = {"id:7": Answer(FIRST), "id:8": Answer(SECOND)}
DENIED = Answer(None, "the registry has none (Schema not found)")
DOWN = Answer(None, "nobody listens", final=False)


class Source:
    """A ``SchemaSource`` of a test; says what it was asked for."""

    def __init__(self, answers: Mapping[str, Answer | None]) -> None:
        self.answers, self.asked = dict(answers), list[str]()

    def local(self) -> Mapping[str, Schema]:
        return {}

    def answer(self, key: str, _kind: str) -> Answer | None:
        self.asked.append(key)
        return self.answers.get(key, DENIED)

    def alerts(self) -> Schema | None:
        return None

    def close(self) -> None:
        pass


def config(**registry: Any) -> Any:
    section = {"url": "http://registry.invalid", "give_up_after": "10s", **registry}
    return configuration(event={**SETTINGS["event"], "format": "avro"}, registry=section)


def stream(count: int = 700) -> list[PlainRecord]:
    """Events of two schemas, every fifth of one that nobody has, every eleventh of garbage."""
    made = []
    for record in records(count):
        value = in_avro(record)
        if record.offset % 3 == 1:
            event = json.loads(record.value or b"")
            event["mass"] = event.pop("weight", None)
            value = framed(8, avro_bytes(SECOND.parts[0], event))
        if record.offset % 5 == 4:
            value = framed(900 + record.offset % 2, value[5:])
        if record.offset % 11 == 10:
            value = b"\0\1"
        made.append(record._replace(value=value))
    return made


def work_off(shard: Shard) -> list[BatchResult]:
    outcomes = []
    while (outcome := shard.advance([SOURCE])) is not None:
        outcomes.append(outcome)
    return outcomes


def journalled(shard: Shard) -> list[JournalRecord]:
    """What the journal would say of all that was done, as it would be read again."""
    slices = shard.take_slices()
    return [decode(encode(decode(composed([one], 1, TOPICS).journal))) for one in slices]


def messages(outcomes: Sequence[BatchResult]) -> list[tuple[Any, ...]]:
    return [
        (m.offset, m.value, tuple(m.headers))
        for outcome in outcomes
        for m in (*outcome.alerts, *outcome.dead_letters)
    ]


def live(
    some: list[PlainRecord], cuts: Sequence[int], source: Source
) -> tuple[Shard, list[BatchResult], list[JournalRecord]]:
    shard = Shard(0, config(), Metrics(), source)
    shard.add(SOURCE, 0)
    outcomes, journal = [], []
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(some)}), len(some)]
    for start, end in pairwise(edges):
        shard.take_in(Fetched(SOURCE, some[start:end]))
        assert shard.input.ask_for_schemas(0.0) == []
        outcomes += work_off(shard)
        journal += journalled(shard)
    return shard, outcomes, journal


def followed(
    shard: Shard, some: list[PlainRecord], journal: list[JournalRecord]
) -> list[BatchResult]:
    outcomes: list[BatchResult] = []
    shard.begin_to_follow(journal)
    shard.take_in(Fetched(SOURCE, some))
    while shard.replaying:
        shard.follow(lambda _source: len(some), outcomes.append)
    return outcomes


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(1, 699), max_size=6))
def test_a_replay_without_a_registry_gives_the_same_bytes(cuts):
    some = stream()
    shard, outcomes, journal = live(some, cuts, Source(KNOWN))
    assert sum(len(o.dead_letters) for o in outcomes) == 140 + 63 - 12
    assert {key for record in journal for key, _ in record.schemas} == {"id:7", "id:8"}
    assert sum(len(record.schemas) for record in journal) == 2  # each once
    again = Shard(0, config(), Metrics(), None)
    again.add(SOURCE, 0)
    repeated = followed(again, some, journal)
    assert again.replay.mismatches == 0
    assert again.pipeline.fingerprint == shard.pipeline.fingerprint
    assert sorted(messages(repeated)) == sorted(messages(outcomes))


def test_a_replay_refuses_what_was_refused_though_the_registry_knows_it_by_now():
    some = stream(300)
    _, outcomes, journal = live(some, [100, 120], Source(KNOWN))
    knowing = Source({**KNOWN, "id:900": Answer(FIRST), "id:901": Answer(FIRST)})
    again = Shard(0, config(), Metrics(), knowing)
    again.add(SOURCE, 0)
    repeated = followed(again, some, journal)
    assert sorted(messages(repeated)) == sorted(messages(outcomes))
    assert knowing.asked == []
    # As it is where the journal itself has the schema, since it was found a little later.
    stored = [("id:900", FIRST.stored()), ("id:901", FIRST.stored())]
    longer = [*journal[:-1], replace(journal[-1], schemas=tuple(stored))]
    third = Shard(0, config(), Metrics(), None)
    third.add(SOURCE, 0)
    assert sorted(messages(followed(third, some, longer))) == sorted(messages(outcomes))
    # What comes after the replay is read by what is known then.
    later = [r._replace(offset=r.offset + 300, timestamp=r.timestamp + 10**7) for r in stream(20)]
    again.take_in(Fetched(SOURCE, later))
    assert again.input.ask_for_schemas(0.0) == []
    letters = [m for o in work_off(again) for m in o.dead_letters]
    assert [m.offset for m in letters] == [310]  # the garbage alone


def test_a_snapshot_holds_the_schemas_and_what_was_refused_ahead_of_it():
    some = stream(600)
    source = Source(KNOWN)
    shard, _, before = live(some[:300], [], source)
    assert before[0].refused[0].source == SOURCE
    kept = encode_snapshot(
        replace(shard.snapshot({}), meta={**shard.snapshot({}).meta, "written_at": 1.0})
    )
    shard.take_in(Fetched(SOURCE, some[300:]))
    assert shard.input.ask_for_schemas(0.0) == []
    outcomes = work_off(shard)
    after = journalled(shard)
    assert not any(record.schemas for record in after)  # those of before are in the snapshot
    again = Shard(0, config(), Metrics(), None)
    again.restore(decode_snapshot(kept))
    again.add(SOURCE, 300)
    repeated = followed(again, some[300:], after)
    assert again.replay.mismatches == 0
    assert sorted(messages(repeated)) == sorted(messages(outcomes))


def test_another_watermark_leaves_the_schemas_in_the_snapshot():
    some = stream(300)
    shard, _, _ = live(some, [], Source(KNOWN))
    snapshot = shard.snapshot({})
    _, changed = with_watermark(config(), snapshot, 1_600_000_000_000)
    again = Shard(0, config(), Metrics(), None)
    again.restore(changed)
    assert again.input.book.schemas == shard.input.book.schemas
    assert set(again.input.book.schemas) == {"id:7", "id:8"}


def test_a_journal_without_the_schema_is_bad_state():
    some = stream(50)
    _, _, journal = live(some, [], Source(KNOWN))
    without = [replace(record, schemas=()) for record in journal]
    again = Shard(0, config(), Metrics(), Source(KNOWN))
    again.add(SOURCE, 0)
    with pytest.raises(StateError, match="neither the journal nor the snapshot holds"):
        followed(again, some, without)


def test_journal_records_without_schemas_are_the_bytes_that_they_were():
    record = JournalRecord(0, 1, (), (), 5, "f", "c", "g", "@0")
    assert b"schemas" not in encode(record)
    assert b"refused" not in encode(record)
    full = replace(
        record, schemas=(("id:1", FIRST.stored()),), refused=(Refusal(SOURCE, 3, 5, "why"),)
    )
    assert decode(encode(full)) == full
    tampered = encode(full).replace(b"why", b"who")
    with pytest.raises(StateError, match="was changed"):
        decode(tampered)


# --- waiting -------------------------------------------------------------------------------------


def test_records_wait_in_their_order_and_nothing_is_skipped():
    some = stream(60)
    source = Source({"id:7": Answer(FIRST), "id:8": DOWN})
    shard = Shard(0, config(), Metrics(), source)
    shard.add(SOURCE, 0)
    shard.take_in(Fetched(SOURCE, some[:30]))
    assert shard.input.schema_wait(SOURCE, 0.0) == 0.0
    assert shard.input.ask_for_schemas(0.0) == [Wait(SOURCE, 1, "id:8", "nobody listens")]
    shard.take_in(Fetched(SOURCE, some[30:]))
    assert shard.input.ask_for_schemas(5.0)[0].offset == 1
    assert shard.input.schema_wait(SOURCE, 5.5) == 5.5
    assert shard.waiting(SOURCE) == 60
    assert shard.input.holds(SOURCE)
    assert shard.input.fetch_positions[SOURCE] == 1
    assert shard.positions() == {SOURCE: 0}
    done = [o for outcome in work_off(shard) for o in outcome.scores]
    assert len(done) == 1
    source.answers["id:8"] = Answer(SECOND)
    assert shard.input.ask_for_schemas(6.0) == []
    assert shard.input.schema_wait(SOURCE, 6.5) == 0.0
    work_off(shard)
    assert shard.positions() == {SOURCE: 60}
    direct, _, _ = live(some, [], Source(KNOWN))
    assert direct.pipeline.fingerprint == shard.pipeline.fingerprint


@pytest.mark.parametrize("answer", [DOWN, None])
def test_a_wait_ends_by_stopping(answer):
    some = stream(20)
    source = Source({"id:7": Answer(FIRST), "id:8": answer})
    shard = Shard(0, config(), Metrics(), source)
    shard.add(SOURCE, 0)
    shard.take_in(Fetched(SOURCE, some))
    assert shard.input.ask_for_schemas(100.0)[0].why == (answer.why if answer else "")
    assert shard.input.ask_for_schemas(109.9)
    with pytest.raises(ConnectorError, match=r"events-0, offset 1: its schema id:8 .* for 10 s"):
        shard.input.ask_for_schemas(110.0)


def test_a_wait_that_ends_by_dead_letters_is_repeated_by_a_replay():
    some = stream(20)
    source = Source({"id:7": Answer(FIRST), "id:8": DOWN})
    shard = Shard(0, config(unavailable="dead_letter"), Metrics(), source)
    shard.add(SOURCE, 0)
    shard.take_in(Fetched(SOURCE, some))
    assert shard.input.ask_for_schemas(100.0)
    assert shard.input.ask_for_schemas(110.0) == []
    outcomes = work_off(shard)
    refused = [m for o in outcomes for m in o.dead_letters if b"no schema registry" in
               dict(m.headers)["__connect.errors.exception.message"]]  # fmt: skip
    assert [m.offset for m in refused] == [
        n for n in range(1, 20, 3) if n % 5 != 4 and n % 11 != 10
    ]
    journal = journalled(shard)
    again = Shard(0, config(), Metrics(), Source(KNOWN))
    again.add(SOURCE, 0)
    assert sorted(messages(followed(again, some, journal))) == sorted(messages(outcomes))


def test_an_answer_begins_the_wait_anew():
    source = Source({"id:8": DOWN, "id:7": Answer(FIRST)})
    shard = Shard(0, config(), Metrics(), source)
    shard.add(SOURCE, 0)
    some = stream(20)
    shard.take_in(Fetched(SOURCE, some[1:2]))
    assert shard.input.ask_for_schemas(0.0)
    source.answers["id:8"] = Answer(SECOND)
    assert shard.input.ask_for_schemas(9.0) == []
    shard.take_in(Fetched(SOURCE, [some[2]._replace(value=framed(9, b""))]))
    source.answers["id:9"] = DOWN
    assert shard.input.ask_for_schemas(15.0)
    assert shard.input.ask_for_schemas(24.0)
    assert shard.input.schema_wait(SOURCE, 24.5) == 9.5  # of this record, not of the one before
    with pytest.raises(ConnectorError):
        shard.input.ask_for_schemas(25.0)


# --- bounds --------------------------------------------------------------------------------------


def test_the_book_has_bounds():
    book = SchemaBook()
    for number in range(MAX_SCHEMAS):
        assert book.add(f"id:{number}", Schema("avro", (f'"{number}"',))) == ""
        book.take_new({})
    assert "no more are taken" in book.add("id:x", FIRST)
    book = SchemaBook()
    large = Schema("avro", (json.dumps([blake2b(b"%d" % n).hexdigest() for n in range(2400)]),))
    assert len(large.stored()) > MAX_NEW_BYTES / 2
    assert book.add("id:1", large) == ""
    assert "no room" in book.add("id:2", large._replace(parts=(*large.parts, "2")))
    book.take_new({})
    assert book.add("id:2", FIRST) == ""


def test_refusals_of_one_reason_are_one_and_go_when_they_are_done():
    book = SchemaBook()
    for offset in range(1000):
        book.refuse(SOURCE, offset, "down")
    book.refuse(SOURCE, 1001, "down")
    book.refuse(SOURCE, 1002, "none")
    _, new = book.take_new({SOURCE: 1002})
    assert [(one.start, one.end, one.why) for one in new] == [
        (0, 1000, "down"),
        (1001, 1002, "down"),
    ]
    assert book.new_count == 1
    assert [book.refusal(SOURCE, n) for n in (0, 999, 1000, 1001, 1002, 1003)] == [
        "down", "down", None, "down", "none", None]  # fmt: skip
    assert [r[2] for r in book.state()["refused"]] == [0, 1001]
    book.forget_before({SOURCE: 1002})
    assert book.refusal(SOURCE, 999) is None
    assert book.refusal(SOURCE, 1002) == "none"


@pytest.mark.parametrize(
    "state",
    [
        {"schemas": {}},
        {"schemas": [], "refused": []},
        {"schemas": {"id:1": 5}, "refused": []},
        {"schemas": {"id:1": "no base64!"}, "refused": []},
        {"schemas": {}, "refused": [["t", 0, 5, 5, "why"]]},
        {"schemas": {}, "refused": [["t", 0, -1, 5, "why"]]},
        {"schemas": {}, "refused": [["t", "0", 1, 5, "why"]]},
        {"schemas": {f"id:{n}": "x" for n in range(MAX_SCHEMAS + 1)}, "refused": []},
        7,
    ],
)
def test_what_is_no_state_of_schemas_is_bad_state(state):
    with pytest.raises(StateError):
        SchemaBook().restore(state)


@pytest.mark.parametrize("stored", ["", "no base64!", "AAAA", "eJwDAAAAAAE="])
def test_what_is_no_stored_schema_is_bad_state(stored):
    with pytest.raises(StateError):
        schema_of(stored)
