"""What ``stream-detector init`` promises: a configuration that loads and rejects almost nothing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka_broker.clients import Message, produce

from stream_detector.cli.init import add_parser, sample_file
from stream_detector.cli.init_render import Sample, render
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.loading.load import load_config, parse
from stream_detector.config.models.config import Config
from stream_detector.connectors.files import FileSource, typed_columns
from stream_detector.decoding import Decoder
from stream_detector.errors import ConfigurationError, ConnectorError
from stream_detector.inference import Proposal, infer
from stream_detector.simulation import network, transactions


def init(*options: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["init", *options])
    return int(arguments.run(arguments))


def rejected(config: Config, data: Path, limit: int | None = None) -> list[Any]:
    """Rejections of a whole file, read and decoded under a configuration."""
    numeric, boolean = typed_columns(config)
    source = FileSource(
        str(data), numeric=numeric, boolean=boolean, columns=config.event.columns, limit=limit
    )
    decoder = Decoder(config, FieldPlan.of(config))
    found: list[Any] = []
    while not source.exhausted():
        for fetched in source.poll(0):
            found += list(decoder.decode(fetched.source, fetched.records).rejection)
    source.close()
    assert found
    return [rejection for rejection in found if rejection is not None]


def initialised(data: Path, tmp_path: Path, *options: str) -> Config:
    output = tmp_path / "config.yaml"
    assert init("--data", str(data), "--output", str(output), *options) == 0
    return load_config(output, {})


def used(config: Config) -> set[str]:
    """Every field that the model gets to see."""
    plan = FieldPlan.of(config)
    seen = {*plan.numeric, *plan.text}
    return seen - ({config.event.id} if config.event.id else set())


def keys(config: Config) -> list[str]:
    return [window.key for window in config.windows]


# --- the public data sets ---------------------------------------------------------------------


def test_card_transactions(data_directory: Path, tmp_path: Path) -> None:
    data = data_directory / "card_transactions.csv.gz"
    config = initialised(data, tmp_path)
    assert config.event.id == "TRANSACTION_ID"
    assert config.event.time is not None
    assert config.event.time.field == "TX_DATETIME"
    assert config.labels is not None
    assert config.labels.field == "TX_FRAUD"
    assert keys(config) == ["CUSTOMER_ID", "TERMINAL_ID"]
    assert {window.value for window in config.windows} == {"TX_AMOUNT"}
    assert used(config) == {"TX_AMOUNT", "CUSTOMER_ID", "TERMINAL_ID"}
    assert rejected(config, data, limit=60_000) == []


def test_milling_machine(data_directory: Path, tmp_path: Path) -> None:
    data = data_directory / "ai4i2020.csv.gz"
    config = initialised(data, tmp_path)
    assert config.event.id == "Product ID"
    assert config.labels is not None
    assert config.labels.field == "Machine_failure"
    assert used(config).isdisjoint({"TWF", "HDF", "PWF", "OSF", "UDI", "Machine_failure"})
    assert {"Type", "Torque [Nm]", "Tool wear [min]"} <= used(config)
    assert rejected(config, data) == []


def test_connections_without_a_header(data_directory: Path, tmp_path: Path) -> None:
    data = data_directory / "nsl_kdd_train.csv.gz"
    config = initialised(data, tmp_path)
    assert config.labels is not None
    assert config.labels.field == "column_42"
    assert config.labels.negative == ["normal"]
    assert {f"column_{number}" for number in range(1, 6)} <= used(config)
    assert rejected(config, data, limit=15_000) == []


def test_connections_with_columns_named_by_the_user(data_directory: Path, tmp_path: Path) -> None:
    data = data_directory / "nsl_kdd_train.csv.gz"
    names = [*network.FIELDS[3:], "difficulty"]
    config = initialised(data, tmp_path, "--columns", ",".join(names))
    assert config.event.columns == names
    assert config.labels is not None
    assert config.labels.field == "label"
    assert "difficulty" not in used(config)
    assert {"src_bytes", "service"} <= used(config)
    assert rejected(config, data, limit=8_000) == []


def test_internet_of_things(data_directory: Path, tmp_path: Path) -> None:
    data = data_directory / "iotid20_sample.csv.gz"
    config = initialised(data, tmp_path)
    assert config.labels is not None
    assert config.labels.field == "Label"
    assert keys(config) == ["Src_IP", "Dst_IP"]
    features = {getattr(f, "numeric", None) for f in config.features}
    assert features.isdisjoint({"Flow_ID", "Src_IP", "Dst_IP", "Src_Port", "Dst_Port", "Timestamp"})
    assert rejected(config, data) == []


def test_mobile_money(data_directory: Path, tmp_path: Path) -> None:
    data = data_directory / "paysim_sample.csv.gz"
    config = initialised(data, tmp_path)
    assert config.labels is not None
    assert config.labels.field == "isFraud"
    assert used(config).isdisjoint({"isFlaggedFraud", "nameOrig", "nameDest", "step"})
    assert {"amount", "type"} <= used(config)
    assert rejected(config, data) == []


def test_npz(data_directory: Path, tmp_path: Path) -> None:
    data = data_directory / "shuttle.npz"
    config = initialised(data, tmp_path)
    assert config.labels is not None
    assert config.labels.field == "label"
    assert len(used(config)) > 5
    assert rejected(config, data) == []


# --- generated data ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_generated_transactions(tmp_path: Path, kind: str) -> None:
    data = tmp_path / f"data.{kind}"
    traffic = transactions.generate(20_000, seed=2, customers=500, terminals=1000)
    with data.open("wb") as file:
        for batch in traffic:
            lines = batch.csv_lines() if kind == "csv" else batch.json_lines()
            if kind == "csv" and not file.tell():
                lines.insert(0, batch.csv_header())
            file.write(b"\n".join(lines) + b"\n")
    config = initialised(data, tmp_path)
    assert config.event.id == "TRANSACTION_ID"
    assert keys(config) == ["CUSTOMER_ID", "TERMINAL_ID"]
    assert used(config) == {"TX_AMOUNT", "CUSTOMER_ID", "TERMINAL_ID"}
    assert rejected(config, data) == []


def test_generated_connections(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    traffic = network.generate(20_000, seed=2)
    data.write_bytes(b"".join(line + b"\n" for batch in traffic for line in batch.json_lines()))
    config = initialised(data, tmp_path)
    assert config.event.time is not None
    assert config.event.time.field == "timestamp"
    assert config.labels is not None
    assert (config.labels.field, config.labels.negative) == ("label", ["normal"])
    assert keys(config) == ["src_host", "dst_host"]
    assert {"src_bytes", "service", "count"} <= used(config)
    assert rejected(config, data) == []


# --- single judgements ------------------------------------------------------------------------


def features_of(proposal: Proposal) -> dict[str, dict[str, Any]]:
    named = ("numeric", "boolean", "categorical")
    return {f[kind]: f for f, _ in proposal.features for kind in named if kind in f}


def reasons(proposal: Proposal) -> dict[str, str]:
    return dict(proposal.left_out)


def sensor(count: int = 400, **columns: Sequence[Any]) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    return [
        {"pressure": float(random.normal(5, 1)), **{name: c[i] for name, c in columns.items()}}
        for i in range(count)
    ]


def test_field_without_use_is_left_out_with_the_reason() -> None:
    columns: dict[str, Sequence[Any]] = {
        "note": [f"free text number {i}" for i in range(400)],
        "total_seen": [7 + 3 * i + i % 2 for i in range(400)],
        "row": list(range(7, 407)),
        "tags": [["a"]] * 400,
        "nothing": [None] * 400,
        "port": [80, 443] * 200,
        "essay": ["lorem " * 100, "ipsum " * 100] * 200,
    }
    columns["same"] = [event["pressure"] for event in sensor()]
    left = reasons(infer(sensor(**columns)))
    assert set(left) == set(columns)
    assert "every event" in left["note"]
    assert "equals pressure" in left["same"]
    assert "grows" in left["total_seen"]
    assert "row" in left["row"]


def test_field_that_never_varies_is_kept_since_the_first_change_is_evidence() -> None:
    columns: dict[str, Sequence[Any]] = {
        "version": ["v1"] * 400,
        "errors": [0] * 400,
        "open": [True] * 400,
        "copy": [3.5] * 400,
    }
    proposal = infer(sensor(**columns))
    features = features_of(proposal)
    assert features["version"] == {"categorical": "version", "encoding": "rarity", "size": 16}
    assert features["errors"] == {"numeric": "errors"}
    assert features["open"] == {"boolean": "open"}
    assert features["copy"] == {"numeric": "copy"}
    assert proposal.varying == 1
    assert not proposal.left_out


def test_texts_and_numbers_in_turn_are_a_category() -> None:
    assert "categorical" in features_of(infer(sensor(mixed=["a", 1.5] * 200)))["mixed"]


def test_missing_values_do_not_become_rejections() -> None:
    some = [None if i % 10 == 0 else float(i % 7) for i in range(400)]
    one = [None if i == 5 else float(i % 7) for i in range(400)]
    features = features_of(infer(sensor(load=some, heat=one)))
    assert features["load"]["missing"] == "indicator"
    assert features["heat"]["missing"] == "mean"
    assert "missing" not in features["pressure"]


def test_number_in_quotes_is_a_number() -> None:
    events = sensor(load=[str(i % 7) for i in range(400)])
    assert "numeric" in features_of(infer(events))["load"]
    as_text = [{name: str(value) for name, value in event.items()} for event in events]
    assert "numeric" in features_of(infer(as_text))["load"]


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ([f"2024-03-{d:02d}T10:00:00Z" for d in range(1, 29)], "auto"),
        ([f"{d:02d}/03/2024 10:00:00" for d in range(1, 29)], "day_first"),
        ([f"03/{d:02d}/2024 10:00:00" for d in range(1, 29)], "month_first"),
        ([f"{d:02d}/03/2024 10:00:00" for d in range(1, 12)], "day_first"),
        ([1_700_000_000 + i for i in range(30)], "unix_s"),
        ([1_700_000_000_000 + i for i in range(30)], "unix_ms"),
        ([1_700_000_000_000_000 + i for i in range(30)], "auto"),
    ],
)
def test_time_is_found_with_its_format(values: Sequence[Any], pattern: str) -> None:
    for shown in (values, [str(value) for value in values]):
        proposal = infer(sensor(len(values), event_time=shown))
        assert proposal.event["time"] == {"field": "event_time", "format": pattern}


def test_time_in_a_csv_file_is_read_as_it_was_found(tmp_path: Path) -> None:
    data = tmp_path / "a.csv"
    random = np.random.default_rng(1)
    rows = [f"{1_700_000_000 + 60 * i},{random.normal():.3f}" for i in range(300)]
    data.write_text("\n".join(["ts,load", *rows]))
    config = initialised(data, tmp_path)
    assert config.event.time is not None
    assert rejected(config, data) == []


def test_shuffled_time_is_not_used_and_said() -> None:
    days = np.random.default_rng(0).permutation(400) * 86_400 + 1_600_000_000
    proposal = infer(sensor(ts=days.tolist()))
    assert "time" not in proposal.event
    assert "ts" not in features_of(proposal)
    assert any("sort" in warning for warning in proposal.warnings)


def test_rare_one_is_read_as_a_number_since_a_two_may_come() -> None:
    features = features_of(
        infer(sensor(num_shells=[0] * 399 + [1], door=[0, 1] * 200, up=[True, False] * 200))
    )
    assert "numeric" in features["num_shells"]
    assert "boolean" in features["door"]
    assert "boolean" in features["up"]


@pytest.mark.parametrize("leak", [[True, False], ["DoS", "none"], [7.5, 0.1]])
def test_field_that_tells_the_label_is_left_out(leak: list[Any]) -> None:
    label = [int(i % 20 == 0) for i in range(400)]
    other = [leak[0] if one else leak[1] for one in label]
    proposal = infer(sensor(is_fraud=label, other=other))
    assert proposal.labels == {"field": "is_fraud"}
    assert set(features_of(proposal)) == {"pressure"}
    assert "label" in reasons(proposal)["other"]


def test_classes_without_a_normal_one_are_no_label() -> None:
    proposal = infer(sensor(label=[1 + i % 3 for i in range(400)]))
    assert proposal.labels is None
    assert "normal" in reasons(proposal)["label"]


def test_half_lives_suit_how_often_a_key_comes() -> None:
    def windows(step_seconds: int) -> list[str]:
        events = sensor(
            device=[f"d{i % 20}" for i in range(400)],
            ts=[1_700_000_000 + step_seconds * i for i in range(400)],
        )
        ((window, _),) = infer(events).windows
        return list(window["half_lives"])

    assert windows(1) == ["1m", "10m"]
    assert windows(600) == ["1d", "1w"]


def test_nested_fields_are_named_by_their_path() -> None:
    events = [
        {"host": {"name": f"h{i % 9}", "load": float(i % 13)}, "a": 1, "a.b": i} for i in range(90)
    ]
    proposal = infer(events)
    assert set(features_of(proposal)) == {"host.load", "a"}
    assert [window["key"] for window, _ in proposal.windows] == ["host.name"]
    assert "plain value" in reasons(proposal)["a.b"]


def test_log_is_for_what_is_far_out() -> None:
    random = np.random.default_rng(0)
    features = features_of(infer(sensor(load=np.exp(random.normal(3, 2, 400)).tolist())))
    assert features["load"]["transform"] == "log"
    assert "transform" not in features["pressure"]


json_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(
        st.dictionaries(
            st.sampled_from(["a", "id", "Label", "ts", "x y", "${Z}", "a.b", "off", "%", 'q"', ""]),
            json_values,
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_whatever_the_events_hold_the_proposal_loads(events: list[dict[str, Any]]) -> None:
    proposal = infer(events)
    if not proposal.features and not proposal.windows:
        return
    sample = Sample(events, [], 1, None, 'odd\n"name"')
    text = render(proposal, sample, "test")
    config = parse(text, "config.yaml", {}).config
    assert config.model_dump() == Config.model_validate(yaml.safe_load(text)).model_dump()


# --- the command ------------------------------------------------------------------------------


def test_command_prints_and_never_replaces_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, output = tmp_path / "a.jsonl", tmp_path / "c.yaml"
    data.write_text("\n".join(json.dumps(event) for event in sensor()) + "\nbroken")
    assert init("--data", str(data)) == 0
    shown = capsys.readouterr().out
    assert "1 records of the sample could not be read" in shown
    output.write_text("mine")
    with pytest.raises(ConfigurationError, match="--force"):
        init("--data", str(data), "--output", str(output))
    assert output.read_text() == "mine"
    assert init("--data", str(data), "--output", str(output), "--force") == 0
    assert output.read_text() == shown


def test_command_says_what_it_cannot_use(tmp_path: Path) -> None:
    data = tmp_path / "a.jsonl"
    data.write_text("{broken\n[1]\n")
    with pytest.raises(ConnectorError, match="no events"):
        init("--data", str(data))
    data.write_text('{"a":1}\n{"a":1}\n')
    with pytest.raises(ConfigurationError, match="a is always"):
        init("--data", str(data))
    with pytest.raises(ConfigurationError, match="--topic"):
        init("--kafka", "localhost:1")


def test_sample_is_bounded(tmp_path: Path) -> None:
    data = tmp_path / "a.jsonl"
    data.write_bytes(b'{"a":1}\n' * 20_000)
    assert len(sample_file(str(data)).events) == 5000


def test_command_samples_a_topic(topic_factory: Any, kafka: Any, tmp_path: Path) -> None:
    topic = topic_factory("sampled", partitions=2)
    produce(kafka.bootstrap, topic, [Message(json.dumps(event).encode()) for event in sensor()])
    output = tmp_path / "config.yaml"
    assert init("--kafka", kafka.bootstrap, "--topic", topic, "--output", str(output)) == 0
    config = load_config(output, {})
    assert config.kafka is not None
    assert config.kafka.topics == [topic]
    assert used(config) == {"pressure"}
