"""What the generated traffic promises, and the command that writes it."""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.__main__ import main
from stream_detector.alerts import dead_letter
from stream_detector.cells.times import read_time
from stream_detector.cli.simulate import add_parser, paced
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.config.models.kafka import KafkaConfig
from stream_detector.connectors.kafka.client.record_batch import header_name
from stream_detector.connectors.kafka.reading.log import KafkaLog
from stream_detector.connectors.registry.protoc import compiled
from stream_detector.decoding import REASONS, Decoder
from stream_detector.errors import ConfigurationError, ConnectorError
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.formats.avro import AvroReader
from stream_detector.formats.protobuf import ProtobufFiles
from stream_detector.messages import MAX_MESSAGE_BYTES, size_bytes
from stream_detector.simulation import network, transactions
from stream_detector.simulation.bad import BROKEN, HOSTILE, Spoiler, Spoilt, spoil
from stream_detector.simulation.connection_statistics import STATISTICS, connection_statistics
from stream_detector.simulation.formats import TIMES, FormatWriter
from stream_detector.simulation.traffic import NO_ATTACK, Generated, Traffic

GENERATORS: dict[str, Callable[..., Traffic]] = {
    "transactions": transactions.generate,
    "network": network.generate,
}
SMALL: dict[str, dict[str, Any]] = {
    "transactions": {"customers": 300, "terminals": 600, "attack_share": 0.05},
    "network": {"connections_per_second": 2.0, "attack_share": 0.2},
}


@pytest.fixture(params=GENERATORS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(kind: str, count: int | None, seed: int = 0, **more: Any) -> Traffic:
    return GENERATORS[kind](count, seed, **(SMALL[kind] | more))


def lines_of(traffic: Traffic) -> list[bytes]:
    return [line for batch in traffic for line in batch.json_lines()]


def together(traffic: Traffic, column: Callable[[Generated], Any]) -> np.ndarray[Any, Any]:
    return np.concatenate([np.asarray(column(batch)) for batch in traffic])


def test_same_seed_gives_the_same_bytes_and_another_seed_others(kind: str) -> None:
    assert lines_of(make(kind, 3000)) == lines_of(make(kind, 3000))
    assert lines_of(make(kind, 3000)) != lines_of(make(kind, 3000, seed=1))


def test_longer_stream_begins_with_the_shorter_one(kind: str) -> None:
    longer = lines_of(make(kind, 3000))
    assert len(longer) == 3000
    assert lines_of(make(kind, 1234)) == longer[:1234]


def test_events_come_in_the_order_of_time_and_say_their_time(kind: str) -> None:
    field = "TX_DATETIME" if kind == "transactions" else "timestamp"
    times = together(make(kind, 5000), lambda batch: batch.time_ms)
    assert (np.diff(times) >= 0).all()
    for line, time_ms in zip(lines_of(make(kind, 5000)), times.tolist(), strict=True):
        moment = datetime.fromisoformat(json.loads(line)[field])
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        assert round(moment.timestamp() * 1000) == time_ms


def test_label_says_what_was_planted_and_the_plan_counts_it(kind: str) -> None:
    traffic = make(kind, 30_000)
    seen: dict[int, list[int]] = {}
    for batch in traffic:
        assert ((batch.attack != NO_ATTACK) == batch.label).all()
        for line, attack, time_ms in zip(
            batch.json_lines(), batch.attack.tolist(), batch.time_ms.tolist(), strict=True
        ):
            event = json.loads(line)
            planted = event["TX_FRAUD"] == 1 if "TX_FRAUD" in event else event["label"] != "normal"
            assert planted == (attack != NO_ATTACK)
            if planted:
                seen.setdefault(attack, []).append(time_ms)
                values = (f"{name} {value}" for name, value in event.items())
                hosts = (
                    f"{way} {event.get(h)}" for way, h in (("from", "src_host"), ("on", "dst_host"))
                )
                assert traffic.attacks[attack].entity in {*values, *hosts}
    last_ms = int(batch.time_ms[-1])
    finished = [attack for attack in traffic.attacks if attack.end_ms < last_ms]
    assert len(finished) > 10
    for attack in finished:
        times = seen[attack.id]
        assert (len(times), times[0], times[-1]) == (attack.events, attack.start_ms, attack.end_ms)
    kinds = {attack.kind for attack in finished}
    assert kinds == set(transactions.KINDS) if kind == "transactions" else len(kinds) >= 6


def test_planted_share_is_about_what_was_asked_for(kind: str) -> None:
    share = together(make(kind, 60_000), lambda batch: batch.label).mean()
    asked = SMALL[kind]["attack_share"]
    assert 0.5 * asked < share < 1.8 * asked
    assert not together(make(kind, 5000, attack_share=0.0), lambda batch: batch.label).any()


def test_csv_and_json_say_the_same(kind: str) -> None:
    batch = next(make(kind, 500))
    rows = csv.DictReader([batch.csv_header().decode(), *map(bytes.decode, batch.csv_lines())])
    for row, line in zip(rows, batch.json_lines(), strict=True):
        event = json.loads(line, parse_float=str, parse_int=str)
        assert row == event


def auc(score: np.ndarray[Any, Any], positive: np.ndarray[Any, Any]) -> float:
    rank = np.argsort(np.argsort(score))
    ones = positive.sum()
    return float((rank[positive].sum() - ones * (ones - 1) / 2) / ones / (~positive).sum())


def test_fraud_can_be_found_but_not_by_the_amount_alone() -> None:
    batches = list(transactions.generate(60_000, seed=3, customers=1000, terminals=2000))
    customer, terminal, amount = (
        np.concatenate([np.asarray(b.columns[name]) for b in batches])
        for name in ("CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT")
    )
    fraud = np.concatenate([b.label for b in batches]) == 1
    day = np.concatenate([b.time_ms for b in batches]) // 86_400_000
    assert 0.6 < auc(amount, fraud) < 0.93
    # With what windows know (the customer's own median, the terminal's day) most is found.
    median = np.array([np.median(amount[customer == c]) for c in range(1000)])
    visits = np.zeros((2000, int(day.max() - day.min()) + 1))
    np.add.at(visits, (terminal, day - day.min()), 1)
    ratio = amount / median[customer]
    crowd = visits[terminal, day - day.min()]
    assert 0.85 < auc(np.maximum(ratio / 3, crowd / 6), fraud) < 0.995


def test_transactions_have_their_fields_and_sound_values() -> None:
    events = [json.loads(line) for line in lines_of(make("transactions", 5000))]
    assert all(tuple(event) == transactions.FIELDS for event in events)
    assert [event["TRANSACTION_ID"] for event in events] == list(range(5000))
    assert min(event["TX_AMOUNT"] for event in events) > 0
    batch = next(make("transactions", 10))
    assert batch.key == [str(c).encode() for c in batch.columns["CUSTOMER_ID"]]


KDD_FIELDS = (
    "duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot "
    "num_failed_logins logged_in num_compromised root_shell su_attempted num_root "
    "num_file_creations num_shells num_access_files num_outbound_cmds is_host_login "
    "is_guest_login count srv_count serror_rate srv_serror_rate rerror_rate srv_rerror_rate "
    "same_srv_rate diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count "
    "dst_host_same_srv_rate dst_host_diff_srv_rate dst_host_same_src_port_rate "
    "dst_host_srv_diff_host_rate dst_host_serror_rate dst_host_srv_serror_rate "
    "dst_host_rerror_rate dst_host_srv_rerror_rate"
)


def test_connections_have_the_41_fields_of_kdd_in_their_order() -> None:
    assert list(network.FIELDS[3:]) == [*KDD_FIELDS.split(), "label"]
    for line in lines_of(make("network", 3000)):
        event = json.loads(line)
        assert tuple(event) == network.FIELDS
        for name, value in event.items():
            if name.endswith("_rate"):
                assert 0 <= value <= 1
            elif name in ("count", "srv_count", "dst_host_count", "dst_host_srv_count"):
                assert value >= 1


def brute_force(  # the definitions, one connection at a time
    connections: list[tuple[int, int, int, int, bool, bool]], row: int
) -> dict[str, float]:
    time_ms, source, host, service, _, _ = connections[row]
    recent = [c for c in connections[: row + 1] if c[0] >= time_ms - 2000]
    last = connections[max(0, row - 254) : row + 1]
    of_host = [c for c in recent if c[2] == host]
    of_service = [c for c in recent if c[3] == service]
    both = [c for c in of_host if c[3] == service]
    last_host = [c for c in last if c[2] == host]
    last_both = [c for c in last_host if c[3] == service]

    def rate(part: list[Any], whole: list[Any]) -> float:
        return 100 * len(part) / len(whole)

    return {
        "count": len(of_host),
        "srv_count": len(of_service),
        "serror_rate": rate([c for c in of_host if c[4]], of_host),
        "srv_rerror_rate": rate([c for c in of_service if c[5]], of_service),
        "same_srv_rate": rate(both, of_host),
        "srv_diff_host_rate": 100 - rate(both, of_service),
        "dst_host_count": len(last_host),
        "dst_host_srv_count": len(last_both),
        "dst_host_same_src_port_rate": rate([c for c in last_host if c[1] == source], last_host),
        "dst_host_srv_diff_host_rate": 100
        - rate([c for c in last_both if c[1] == source], last_both),
        "dst_host_srv_serror_rate": rate([c for c in last_both if c[4]], last_both),
    }


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 400))
def test_connection_statistics_are_those_of_their_definition(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    times = np.sort(random.integers(0, 40 * count, count)) + 10**12
    source, host, service = (random.integers(0, high, count) for high in (3, 4, 3))
    serror, rerror = random.random((2, count)) < 0.3
    statistics = connection_statistics(times, source, host, service, serror, rerror)
    assert set(statistics) == set(STATISTICS)
    columns = (times, source, host, service, serror, rerror)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    for row in {0, count // 2, count - 1}:
        for name, expected in brute_force(rows, row).items():
            assert abs(int(statistics[name][row]) - expected) <= 0.5, name


def test_connection_statistics_look_back_over_the_seam_of_two_batches() -> None:
    first, second = islice(make("network", None, connections_per_second=3.0), 2)
    seam = len(first)
    names = ("src_host", "dst_host", "service", "flag")
    columns = [[*first.columns[n], *second.columns[n]] for n in names]
    codes = [np.unique(column, return_inverse=True)[1].tolist() for column in columns[:3]]
    times = np.concatenate([first.time_ms, second.time_ms]).tolist()
    serror = [flag in ("S0", "S1") for flag in columns[3]]
    rerror = [flag in ("REJ", "RSTO", "RSTR") for flag in columns[3]]
    rows = list(zip(times, *codes, serror, rerror, strict=True))
    for row in range(seam, seam + 300, 7):
        for name, expected in brute_force(rows, row).items():
            given_value = float(second.columns[name][row - seam])
            given_value *= 100 if name.endswith("_rate") else 1
            assert abs(given_value - expected) <= 0.51, (name, row - seam)


# --- bad records ------------------------------------------------------------------------------


def config_of(kind: str) -> Config:
    if kind == "transactions":
        raw = {
            "event": {"id": "TRANSACTION_ID", "time": {"field": "TX_DATETIME"}},
            "features": [{"numeric": "TX_AMOUNT"}],
            "windows": [{"key": "CUSTOMER_ID", "half_lives": ["1d"], "compute": ["count"]}],
        }
    else:
        raw = {
            "event": {"time": {"field": "timestamp"}},
            "features": [{"numeric": "src_bytes"}, {"categorical": "service"}],
        }
    return Config.model_validate({"name": kind, **raw})


@pytest.mark.parametrize("name", BROKEN)
def test_every_bad_record_is_rejected_and_no_good_one(kind: str, name: str) -> None:
    batch = next(make(kind, 50))
    config = config_of(kind)
    decoder = Decoder(config, FieldPlan.of(config))
    source = TopicPartition("t", 0)
    good = batch.json_lines()

    def decode(values: list[Any]) -> list[Any]:
        times = batch.time_ms.tolist()
        records = [
            PlainRecord(i, t, None, v) for i, (t, v) in enumerate(zip(times, values, strict=True))
        ]
        return list(decoder.decode(source, records).rejection)

    assert decode(good) == [None] * 50
    reasons = [rejection.reason for rejection in decode([BROKEN[name](line) for line in good])]
    assert set(reasons) <= set(REASONS)
    assert len(reasons) == 50


def test_bad_records_bring_every_reason_a_record_alone_can_have() -> None:
    batch = next(make("transactions", 1))
    config = config_of("transactions")
    records = [
        PlainRecord(0, int(batch.time_ms[0]), None, make_bad(batch.json_lines()[0]))
        for make_bad in BROKEN.values()
    ]
    decoded = Decoder(config, FieldPlan.of(config)).decode(TopicPartition("t", 0), records)
    found = {rejection.reason for rejection in decoded.rejection}
    assert {"tombstone", "empty", "malformed", "wrong_type", "missing_field"} <= found
    assert {"too_large", "time_invalid", "time_ahead"} <= found


@pytest.mark.parametrize("name", HOSTILE)
def test_every_hostile_record_is_a_dead_letter_that_can_be_written(name: str) -> None:
    """Whatever its key and headers are: names of any bytes, thousands of them, none at all."""
    batch = next(make("transactions", 1))
    config = config_of("transactions")
    made = HOSTILE[name](batch.json_lines()[0])
    headers = [(header_name(n), content) for n, content in made.headers]
    record = PlainRecord(0, int(batch.time_ms[0]), None, made.value, headers)
    source = TopicPartition("t", 0)
    (rejection,) = Decoder(config, FieldPlan.of(config)).decode(source, [record]).rejection
    assert rejection is not None
    letter = dead_letter(source, record, rejection, "test")
    assert letter.key is not None or letter.value is not None
    assert size_bytes(letter) <= MAX_MESSAGE_BYTES
    for header, _ in letter.headers:
        header.encode()


@settings(max_examples=50, deadline=None)
@given(count=st.integers(0, 300), share=st.floats(0, 0.5), seed=st.integers(0, 99))
def test_bad_records_are_put_between_the_good_ones(count: int, share: float, seed: int) -> None:
    values = [b'{"a":%d,"b":"2024-01-01"}' % row for row in range(count)]
    mixed = [(row, made.value) for row, made in Spoiler(seed, share).spoil(values)]
    assert [value for _, value in mixed if value in set(values)] == values
    assert [row for row, _ in mixed] == sorted(row for row, _ in mixed)
    if not share:
        assert len(mixed) == count


def test_every_nth_record_is_spoilt_however_the_stream_is_cut() -> None:
    values = [b'{"a":%d,"b":"2024-01-01"}' % row for row in range(1000)]
    whole = spoil(values, every=30)
    parts = [spoil(values[start : start + 77], 30, start) for start in range(0, 1000, 77)]
    assert [made for part in parts for made in part] == whole
    changed = [row for row in range(1000) if whole[row] != Spoilt(values[row])]
    assert changed == list(range(29, 1000, 30))


# --- the command ------------------------------------------------------------------------------


def simulate(*options: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["simulate", *options])
    return int(arguments.run(arguments))


def test_command_writes_a_file_and_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, plan = tmp_path / "a.jsonl.gz", tmp_path / "plan.jsonl"
    options = [
        "--count",
        "9000",
        "--customers",
        "500",
        "--output",
        str(output),
        "--plan",
        str(plan),
    ]
    assert simulate("transactions", *options) == 0
    lines = gzip.decompress(output.read_bytes()).splitlines()
    assert lines == lines_of(transactions.generate(9000, customers=500, terminals=1000))
    attacks = [json.loads(line) for line in plan.read_text().splitlines()]
    assert f"{len(attacks)} planted attacks" in capsys.readouterr().err
    before = output.read_bytes()
    assert simulate("transactions", *options) == 0
    assert output.read_bytes() == before


def test_command_writes_csv_with_one_header_to_standard_output(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    assert simulate("network", "--count", "20000", "--format", "csv", "--seed", "5") == 0
    lines = capfdbinary.readouterr().out.splitlines()
    assert lines[0] == ",".join(network.FIELDS).encode()
    assert len(lines) == 20_001
    assert lines.count(lines[0]) == 1


def test_command_mixes_bad_records_in(tmp_path: Path) -> None:
    output = tmp_path / "a.jsonl"
    options = ["--count", "5000", "--customers", "500", "--output", str(output)]
    simulate("transactions", *options, "--bad-share", "0.02")
    lines = output.read_bytes().splitlines()
    good = set(lines_of(transactions.generate(5000, customers=500, terminals=1000)))
    bad = [line for line in lines if line not in good]
    assert 50 < len(bad) < 170
    assert len(lines) - len(bad) == 5000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kafka", "h:1"], "both --kafka and --topic"),
        (["--kafka", "h:1", "--topic", "t", "--output", "-"], "one of --kafka and --output"),
        (["--bad-share", "1"], "--bad-share"),
        (["--bad-share", "0.1", "--format", "csv"], "JSON Lines"),
        (["--duration", "3s"], "needs --rate"),
        (["--rate", "nan"], "--rate"),
        (["--partitions-key", "nobody"], "nobody"),
        (["--attack-share", "2"], "--attack-share"),
    ],
)
def test_command_refuses_what_contradicts_itself(options: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        simulate("transactions", *options)


def test_command_names_the_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="missing"):
        simulate("network", "--output", str(tmp_path / "missing" / "a.jsonl"))


def test_pace_gives_each_event_no_earlier_than_its_turn() -> None:
    now = 100.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    def stamped() -> Iterator[tuple[float, int]]:
        for batch in paced(make("network", 1000), 200.0, lambda: now, sleep):
            yield now, len(batch)

    given = 0
    for moment, size in stamped():
        assert moment >= 100.0 + given / 200.0 - 1e-9
        given += size
    assert given == 1000
    assert sum(slept) == pytest.approx((1000 - size) / 200.0)


def test_command_writes_to_kafka_keyed_and_stamped(topic_factory: Any, kafka: Any) -> None:
    topic = topic_factory("simulated", partitions=3)
    options = ["--count", "3000", "--kafka", kafka.bootstrap, "--topic", topic]
    key = ["--partitions-key", "TERMINAL_ID", "--record-time", "event", "--bad-share", "0.01"]
    assert simulate("transactions", *options, *key) == 0
    expected = lines_of(transactions.generate(3000))
    section = KafkaConfig(
        bootstrap_servers=kafka.bootstrap,
        topics=[topic],
        group="g",
        alerts="alerts",
        dead_letters="dead-letters",
    )
    records: list[Any] = []
    with closing(KafkaLog(section)) as log:  # the client's own stops at the names of some headers
        for source in (TopicPartition(topic, number) for number in range(3)):
            for some in log.read(source, *log.bounds(source)):
                records += some
    good = [record for record in records if record.value in set(expected)]
    assert sorted(record.value for record in good) == sorted(expected)
    assert len(records) > 3000
    for record in good:
        event = json.loads(record.value)
        assert record.key == str(event["TERMINAL_ID"]).encode()
        moment = datetime.fromisoformat(event["TX_DATETIME"]).replace(tzinfo=UTC)
        assert record.timestamp == round(moment.timestamp() * 1000)


# --- Avro and Protobuf ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["avro", "protobuf"])
@pytest.mark.parametrize("traffic", [transactions, network])
def test_avro_and_protobuf_hold_the_events_of_json(kind, traffic):
    batch = next(traffic.generate(50, seed=3))
    writer = FormatWriter(kind, batch)
    if kind == "avro":
        read = AvroReader([writer.schema], {}, whole=True).read
    else:
        files = ProtobufFiles(
            compiled("event.proto", {"event.proto": writer.schema}).parts, {}, "unix_ms", whole=True
        )
        read = files.reader("Event")
    for value, line in zip(writer.values(batch), batch.json_lines(), strict=True):
        expected = json.loads(line)
        for name in TIMES:
            if name in expected:
                expected[name] = read_time(expected[name], "auto")
        assert read(value, 0) == expected


def test_options_that_make_no_sense_with_formats_are_refused(capsys):
    for words in (
        ["--format", "avro"],
        ["--registry", "http://localhost:8081"],
        ["--format", "avro", "--kafka", "localhost:9", "--topic", "t", "--bad-share", "0.1"],
    ):
        assert main(["simulate", "transactions", "--count", "1", *words]) == 2
    assert "--format avro needs --kafka" in capsys.readouterr().err
