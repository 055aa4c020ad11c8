"""The configuration room: what is read, every mistake with its place, and nothing secret shown."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import kafka
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_detector.config import (
    Config,
    Diagnostic,
    FieldPlan,
    InvalidConfigurationError,
    KafkaSettings,
    describe_difference,
    json_schema,
    json_schema_text,
    load,
    load_config,
    parse,
    state_differences,
    state_fingerprint,
    state_shape,
)
from stream_detector.config.derived.reference import reference_markdown
from stream_detector.config.loading.diagnostics import format_path
from stream_detector.config.loading.error_paths import locate, tagged_members
from stream_detector.config.loading.kafka_settings import refusal
from stream_detector.config.loading.scalars import resolve_plain
from stream_detector.config.models.config import FEATURE_KINDS
from stream_detector.connectors.files import FileSource
from stream_detector.decoding import Decoder
from stream_detector.detectors.registry import BUILT_IN
from stream_detector.errors import ConfigurationError
from stream_detector.units import (
    LONGEST_DURATION,
    Budget,
    format_duration,
    parse_duration,
    parse_size,
)

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((REPOSITORY / "config").glob("*.yaml"))
SETTINGS = KafkaSettings(
    frozenset(kafka.KafkaConsumer.DEFAULT_CONFIG), frozenset(kafka.KafkaProducer.DEFAULT_CONFIG)
)
SMALL = "name: x\nfeatures:\n  - numeric: amount\n"
FULL = """\
name: cards
kafka:
  bootstrap_servers: ${BROKERS:-localhost:9092}
  topics: &topics [cards, "more-cards"]
  group: detectors
  alerts: alerts
  dead_letters: dead
  security: {protocol: SASL_SSL, mechanism: PLAIN, username: me, password: secret, ca_file: ca.pem}
  consumer: {fetch_max_bytes: 1000000}
  producer: {linger_ms: 5}
event:
  id: number
  time: {field: when, format: "%Y-%m-%d"}
  max_bytes: 64 KiB
features:
  - {numeric: amount, transform: log, range: [0, 1e6], missing: mean}
  - boolean: online
  - {categorical: country, encoding: hash, size: 8}
  - {time: night, utc_offset: -3.5}
  - difference: [amount, limit]
  - ratio: [amount, limit]
windows:
  - {key: card, value: amount, half_lives: [1d, 7d], compute: [count, mean], max_keys: 1e5}
  - {key: shop, distinct_of: card, half_lives: [2h], compute: [distinct, time_since_last]}
detector: {kind: loda, bins: 64, half_life: 2e4, seed: 7}
labels: {field: fraud, positive: ["yes", "1"], delay: 7d}
threshold: {budget: 0.1 %, burn_in: 100}
suppression: {key: card, period: 15m}
processing: {shards: 2, chunk_size: 128}
state: {directory: /var/state, interval: 30s}
metrics: {port: 0, enabled: false}
logging: {format: json, level: debug}
"""


def mistakes(text: str, environment: dict[str, str] | None = None, **more: Any) -> list[str]:
    """The lines of the message that ``text`` earns, file name ``f``."""
    with pytest.raises(InvalidConfigurationError) as caught:
        parse(text, "f", environment or {}, **more)
    return str(caught.value).splitlines()


def config_of(text: str, environment: dict[str, str] | None = None, **more: Any) -> Config:
    return parse(text, "f", environment or {}, **more).config


# --- reading -------------------------------------------------------------------------------------


def test_a_full_file_is_read_with_types_and_units() -> None:
    config = config_of(FULL, kafka_settings=SETTINGS)
    assert config.kafka is not None
    assert config.kafka.bootstrap_servers == "localhost:9092"
    assert config.kafka.topics == ["cards", "more-cards"]
    assert config.event.max_bytes == 65536
    assert config.features[0].range == (0.0, 1e6)  # type: ignore[union-attr]
    assert config.windows[0].half_lives == [86400.0, 604800.0]
    assert config.windows[0].max_keys == 100_000, "1e5 is a whole number"
    assert config.threshold.budget == Budget(0.001, None, "0.1 %")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2018-04-01", "2018-04-01"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, value: Any) -> None:
    resolved = resolve_plain(text)
    assert resolved == value
    assert type(resolved) is type(value)


def test_no_and_quoted_true_are_not_booleans() -> None:
    for word in ("no", "off", '"true"', "0"):
        (line,) = mistakes(SMALL + f"metrics: {{enabled: {word}}}\n")
        assert "metrics.enabled: expected true or false" in line


@pytest.mark.parametrize("number", [".inf", "-.INF", ".nan", "1e999", "9" * 200])
def test_numbers_that_are_not_finite_are_refused(number: str) -> None:
    (line,) = mistakes(SMALL + f"threshold: {{score: {number}}}\n")
    assert line.startswith("f:4:20: threshold.score: ")


def test_an_alias_stands_for_what_its_anchor_names() -> None:
    windows = "[{key: a, half_lives: &d [1d], compute: [count]}, {key: b, half_lives: *d, "
    config = config_of(f"name: x\nwindows: {windows} compute: [count]}}]\n")
    assert config.windows[1].half_lives == [86400.0]


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    assert load_config(file, {}).name == "x"


# --- mistakes ------------------------------------------------------------------------------------


EVERY_MISTAKE = """\
f:1:7: name: must match ^[a-zA-Z0-9._-]{1,64}$ (got 'bad name')
f:2:1: kafka: missing key 'dead_letters'
f:3:22: kafka.bootstrap_servers: environment variable BROKERS is not set
f:4:27: kafka.topics[2]: the same topic as kafka.topics[0] (line 4)
f:5:11: kafka.alerts: 'alerts' is also read (kafka.topics): the detector would feed on its own \
output
f:6:3: kafka: unknown key 'dead_leters'; did you mean 'dead_letters'?
f:7:10: kafka.group: expected text; put it in quotes (got '5')
f:9:5: kafka.consumer: 'enable.auto.commit' is fixed: exactly-once delivery depends on it
f:10:5: kafka.consumer: the consumer has no setting 'max_pol_records'; did you mean \
'max_poll_records'?
f:13:5: features[0]: unknown key 'transfrom'; did you mean 'transform'?
f:15:16: features[1].transform: expected one of none, log, sqrt; did you mean 'log'? (got 'logg')
f:16:5: features[2]: unknown key 'numric'; did you mean 'numeric'?
f:17:14: features[3].numeric: 'fraud' is the label; the model would be told the answer
f:18:5: features[4]: a feature has exactly one of the keys numeric, boolean, categorical, time, \
difference, ratio; this one has time and ratio
f:19:13: features[5].ratio: needs more entries (got 1)
f:20:14: features[6].numeric: 'card' is used as a number and as a key; what groups events is no \
quantity (line 22)
f:23:22: windows[0].half_lives[1]: must be longer than nothing (got '0s')
f:24:21: windows[0].compute[1]: expected one of count, sum, mean, deviation, ratio, \
baseline, burst, time_since_last, distinct; did you mean 'count'? (got 'cont')
f:25:5: windows[1]: mean need `value`, a numeric field
f:28:18: detector.kind: expected one of adaptive_ensemble, ensemble, autoencoder, classifier, \
half_space_forest, loda, nearest_neighbours, random_fourier, river; did you mean 'loda'? (got \
'lodaa')
f:29:31: labels.delay: a duration is a number and a unit: 500ms, 30s, 15m, 2h, 7d or 4w (got '7 \
days')
f:30:1: unknown key 'treshold'; did you mean 'threshold'?
f:31:17: metrics.port: must be at most 65535 (got '70000')
f:31:33: metrics.enabled: expected true or false (got 'no')
f:32:1: metrics: duplicate key; first on line 31
f:33:22: processing.shards: expected a whole number (got '1.5')
"""


def test_every_mistake_is_reported_at_once_with_line_and_column() -> None:
    text = """\
name: "bad name"
kafka:
  bootstrap_servers: ${BROKERS}
  topics: [cards, alerts, cards]
  alerts: alerts
  dead_leters: dead
  group: 5
  consumer:
    enable.auto.commit: true
    max_pol_records: 5
features:
  - numeric: amount
    transfrom: log
  - numeric: amount
    transform: logg
  - numric: x
  - numeric: fraud
  - {ratio: [a, b], time: night}
  - {ratio: [a]}
  - numeric: card
windows:
  - key: card
    half_lives: [1d, 0s]
    compute: [mean, cont]
  - key: shop
    half_lives: [1d]
    compute: [mean]
detector: {kind: lodaa}
labels: {field: fraud, delay: 7 days}
treshold: {budget: 1 %}
metrics: {port: 70000, enabled: no}
metrics: 3
processing: {shards: 1.5}
"""
    found = mistakes(text, kafka_settings=SETTINGS)
    assert found == EVERY_MISTAKE.splitlines()


def test_mistakes_are_kept_as_data_in_the_order_of_the_file() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(SMALL + "metrics: {port: x}\n", "f", {}, {"state.keep": 0})
    assert isinstance(caught.value, InvalidConfigurationError)
    assert caught.value.exit_code == 2
    assert caught.value.diagnostics == (
        Diagnostic("f", 4, 17, ("metrics", "port"), "expected a whole number (got 'x')"),
        Diagnostic(
            "--set state.keep", None, None, ("state", "keep"), "must be at least 1 (got '0')"
        ),
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: [x\n", "f:2:1: YAML: "),
        ("name: a: b\n", "f:1:8: YAML: "),
        ("\tname: x\n", "f:1:1: YAML: "),
        ("name: *nobody\n", "f:1:7: YAML: "),
        ("a: 1\n---\nb: 2\n", "f:2:1: YAML: "),
        ("name: \x07\n", "f:1:7: the character U+0007"),
        ("a: [${X}]\n", "f:1:6: YAML: while parsing a flow sequence expected"),
        ("", "f:1:1: the file is empty"),
        ("# nothing\n", "f:1:1: the file is empty"),
        ("[1, 2]\n", "f:1:1: expected a mapping (got a list)"),
        ('a: "\\UFFFFFFFF"\n', "f:1:1: this is no YAML"),
        ("name: !!python/name:os.system x\n", "f:1:7: name: tags"),
        ('name: "\\ud800"\n', "f:1:7: name: half a surrogate pair"),
        ("? [a]\n: b\n", "f:1:3: a key must be text"),
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_refused_where_it_goes_wrong(text: str, line: str) -> None:
    found = mistakes(text)
    assert any(each.startswith(line) for each in found), found


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: x\n# caf\xe9\n")
    (tmp_path / "big.yaml").write_bytes(b"#" * 2_000_000)
    for name, message in (
        ("missing.yaml", ": cannot be read: No such file"),
        ("", ": cannot be read: Is a directory"),
        ("latin.yaml", ":2:6: this is not UTF-8 text"),
        ("big.yaml", ": has more than 524288 bytes"),
        ("nul\0.yaml", ": cannot be the name of a file"),
    ):
        with pytest.raises(InvalidConfigurationError, match=re.escape(message)):
            load_config(tmp_path / name, {})


def test_aliases_cannot_blow_a_file_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert mistakes("\n".join(lines)) == [
        "f:1:1: too large or nested in itself once its aliases are followed"
    ]
    for cycle in ("name: &a [*a]", "&a {name: *a, kafka: *a}"):
        assert "nested in itself" in mistakes(cycle)[0]
    assert "levels of nesting" in mistakes("name: " + "[" * 5000)[0]


@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_a_mistake_within_any_kind_of_feature_points_at_its_value(kind: str) -> None:
    value = "[a, {}]" if kind in ("difference", "ratio") else "{}"
    (line,) = mistakes(f"name: x\nfeatures:\n  - {kind}: {value}\n")
    column = 3 + 2 + len(kind) + 2 + (value.index("{") if value != "{}" else 0)
    assert line.startswith(f"f:3:{column}: features[0].{kind}")


def test_every_tagged_union_of_the_models_is_known_to_the_walk() -> None:
    for field in ("detector", "features"):
        loc: tuple[str | int, ...] = (field, 0) if field == "features" else (field,)
        members = tagged_members(locate(loc).annotation)
        if field == "detector":  # whose models the detectors declare
            members = {kind: each.config for kind, each in BUILT_IN.items()}
        assert members
        for tag, model in members.items():
            for name in model.model_fields:
                target = locate((*loc, tag, name))
                assert target.path == (*loc, name)
                assert target.owner is model


@pytest.mark.parametrize(
    ("yaml_text", "expected"),
    [
        ("event: {id: amount}", "features[0].numeric: 'amount' is event.id"),
        ("labels: {field: amount, delay: 1d}", "'amount' is the label"),
        (
            "suppression: {key: fraud, period: 1h}\nlabels: {field: fraud, delay: 1d}",
            "is the label",
        ),
        (
            "labels: {field: y, delay: 1d, positive: [a], negative: [b]}",
            "one of positive and negat",
        ),
        ("event: {time: {field: t, format: unix}}", "did you mean 'unix_s'?"),
        ("event: {time: {field: t, format: '%Q'}}", "no strptime pattern"),
        ("event: {time: {field: t, format: '%Y%Y'}}", "no strptime pattern"),
        ("event: {columns: [a, b, amuont]}", "not among event.columns; did you mean 'amuont'?"),
        ("event: {columns: [amount, b, b]}", "the same column as event.columns[1]"),
        (
            "detector: {kind: classifier}",
            "f:4:18: detector.kind: detector classifier needs `labels`",
        ),
        ("detector: {bins: 5}", "detector: missing key 'kind'"),
        ("detector: loda", "f:4:11: detector: expected a mapping (got 'loda')"),
        ("threshold: {budget: 1 %, score: 2}", "f:4:1: threshold: give one of budget and score"),
        ("state:", "state: expected a mapping; without the key its defaults hold (got nothing)"),
        ("budget: 1 %", "unknown key 'budget'; did you mean 'threshold.budget'?"),
        ("<<: {}", "unknown key '<<'"),
    ],
)
def test_mistakes_between_sections_are_found(yaml_text: str, expected: str) -> None:
    found = mistakes(SMALL + yaml_text + "\n")
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("[{numeric: a}, {numeric: a, missing: mean}]", "features[1]: the same feature"),
        ("[{numeric: a}, {numeric: a, transform: log}]", None),
        ("[{numeric: a}, {boolean: a}]", "as a number and as true/false"),
        ("[{numeric: a, range: [1, 1]}]", "low end"),
        ("[{numeric: a, range: [0, 1]}, {numeric: a, transform: log, range: [0, 2]}]", "another r"),
        ("[{numeric: a}, {categorical: a}]", None),
    ],
)  # fmt: skip
def test_features_that_repeat_or_contradict_are_found(features: str, expected: str | None) -> None:
    text = f"name: x\nfeatures: {features}\n"
    if expected is None:
        assert config_of(text)
    else:
        (line,) = mistakes(text)
        assert expected in line


def test_windows_that_repeat_are_found() -> None:
    def windows(*more: str) -> str:
        first = "{key: a, value: v, half_lives: [1d, 2d], compute: [count, mean]}"
        return "name: x\nwindows:\n" + "".join(f"  - {line}\n" for line in (first, *more))

    assert config_of(windows("{key: a, value: w, half_lives: [1d], compute: [mean]}"))
    (line,) = mistakes(windows("{key: a, value: w, half_lives: [1d], compute: [count, mean]}"))
    assert "windows[1]: the same 'count' as windows[0] (line 3)" in line
    (line,) = mistakes(windows("{key: b, half_lives: [1d, 1d], compute: [count]}"))
    assert "the same half-life" in line


# --- the environment and flags -------------------------------------------------------------------


def test_a_reference_is_typed_as_what_it_stands_for() -> None:
    text = (
        SMALL + 'metrics: \n  port: ${PORT}\n  host: "${HOST}"\nstate:\n  directory: ${DIR:-1/2}\n'
    )
    config = config_of(text, {"PORT": "8080", "HOST": "0.0.0.0"})
    assert (config.metrics.port, config.metrics.host) == (8080, "0.0.0.0")
    assert config.state.directory == "1/2"


@pytest.mark.parametrize(
    "password", ["0123456", "true", "1e3", "null x", "~x", "${NOT_AGAIN}", "a: #"]
)
def test_a_password_that_looks_like_something_else_is_text(password: str) -> None:
    text = FULL.replace("{protocol: SASL_SSL", "\n    protocol: SASL_SSL").replace(
        ", mechanism: PLAIN, username: me, password: secret, ca_file: ca.pem}",
        "\n    mechanism: PLAIN\n    username: ${USER_NAME}\n    password: ${PASSWORD}",
    )
    config = config_of(text, {"PASSWORD": password, "USER_NAME": "42"})
    assert config.kafka is not None
    assert config.kafka.security.password is not None
    assert config.kafka.security.password.get_secret_value() == password
    assert config.kafka.security.username == "42"


@pytest.mark.parametrize(
    ("written", "environment", "expected"),
    [
        ("${A}", {"A": "v"}, "v"),
        ("x-${A}-${B:-d}", {"A": "v"}, "x-v-d"),
        ("${A:-d}", {"A": ""}, "d"),
        ("${A:-}x", {}, "x"),
        ("$${A}", {"A": "v"}, "${A}"),
        ("$$${A}", {"A": "v"}, "$${A}"),
        ("$A ${A}", {"A": "${B}"}, "$A ${B}"),
    ],
)
def test_references_are_replaced_once(
    written: str, environment: dict[str, str], expected: str
) -> None:
    assert config_of(SMALL + f"state: \n  directory: {written}\n", environment).state.directory == (
        expected
    )


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("${A}", "environment variable A is not set"),
        ("${A:?where to keep state}", "environment variable A is not set: where to keep state"),
        ("${EMPTY:?needed}", "environment variable EMPTY is empty: needed"),
        ("${1A}", "begins no reference"),
        ("x${A", "begins no reference"),
    ],
)
def test_a_bad_reference_is_one_mistake_with_its_place(written: str, message: str) -> None:
    (line,) = mistakes(SMALL + f"state:\n  directory: {written}\n", {"EMPTY": ""})
    assert line.startswith("f:5:14: state.directory: ")
    assert message in line


def test_flags_win_over_the_file_and_make_sections() -> None:
    overrides = {
        "metrics.port": "9200",
        "features[0].transform": "log",
        "features.1": {"boolean": "flag"},
        "threshold.budget": "100 per day",
        "windows": "[{key: card, half_lives: [1d], compute: [count]}]",
        "suppression": None,
        "state.directory": "${DIR}",
    }
    text = SMALL + "  - numeric: other\nmetrics: {port: x}\nsuppression: {key: c, period: 1h}\n"
    config = config_of(text, {"DIR": "/d"}, overrides=overrides)
    assert config.metrics.port == 9200
    assert config.features[0].transform == "log"  # type: ignore[union-attr]
    assert config.features[1].boolean == "flag"  # type: ignore[union-attr]
    assert config.threshold.budget is not None
    assert config.windows[0].key == "card"
    assert config.suppression is None
    assert config.state.directory == "/d"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("metrics.port", "70000", "--set metrics.port: must be at most 65535 (got '70000')"),
        ("metrics.prt", 1, "--set metrics.prt: metrics: unknown key 'prt'; did you mean 'port'?"),
        ("logging", "{level: trace}", "--set logging: logging.level: expected one of debug, info"),
        (
            "features.7.numeric",
            "x",
            "--set features.7.numeric: features[7].numeric: features has no",
        ),
        ("name.x", "x", "--set name.x: name has no 'x'"),
        ("metrics..port", "1", "--set metrics..port: a path is keys"),
        ("metrics.port", "[1", "--set metrics.port: YAML: "),
        ("metrics.port", {1, 2}, "--set metrics.port: only text, numbers"),
        ("kafka.group", "g", "--set kafka.group: kafka: missing key 'bootstrap_servers'"),
    ],
)
def test_a_mistake_in_a_flag_is_reported_as_the_flag(name: str, value: Any, message: str) -> None:
    found = mistakes(SMALL + "  - numeric: b\n", overrides={name: value})
    assert any(message in line for line in found), found


# --- secrets -------------------------------------------------------------------------------------

CANARY = "canary 4711!"


def _leaves(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)


def _shown(error: BaseException) -> str:
    chain = "".join(traceback.format_exception(error))
    return f"{chain} {error!r} {error.__cause__!r} {error.__context__!r} {error.args!r}"


LEAVES = list(_leaves(yaml.safe_load(FULL)))


@pytest.mark.parametrize("path", LEAVES, ids=map(format_path, LEAVES))
def test_no_value_from_the_environment_is_shown_wherever_it_stands(
    path: tuple[str | int, ...],
) -> None:
    data = yaml.safe_load(FULL)
    section = data
    for step in path[:-1]:
        section = section[step]
    section[path[-1]] = "REFERENCE"
    data["kafka"].setdefault("grup", 1)  # so that there is a message in any case
    block = yaml.safe_dump(data, default_flow_style=False)
    for written in ("${CANARY}", '"${CANARY}"', "x${CANARY}"):
        text = block.replace("REFERENCE", written)
        for canary in (CANARY, "47114711"):
            with pytest.raises(InvalidConfigurationError) as caught:
                parse(text, "f", {"CANARY": canary}, kafka_settings=SETTINGS)
            assert canary not in _shown(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "password: [hunter2]",
        "password: {hunter2: 1}",
        "password: 12hunter2\n    password: hunter2",
        "pasword: hunter2",
        "password: *hunter2",
        "password: !hunter2 x",
        "password: ${hunter2",
        "password: ${X:?no}hunter2",
        "key_password: hunter2\n    protocol: hunter3",
    ],
)
def test_a_secret_written_into_the_file_is_not_shown(line: str) -> None:
    text = SMALL + f"kafka:\n  security:\n    {line}\n"
    with pytest.raises(InvalidConfigurationError) as caught:
        parse(text, "f", {})
    assert "hunter2" not in _shown(caught.value).replace("security[hunter2]", "")


def test_a_loaded_configuration_hides_its_secrets() -> None:
    loaded = parse(FULL.replace("secret", CANARY), "f", {})
    assert loaded.config.kafka is not None
    assert loaded.config.kafka.security.password is not None
    assert loaded.config.kafka.security.password.get_secret_value() == CANARY
    shown = f"{loaded!r} {loaded.config!r} {loaded.config.model_dump_json()}"
    shown += f"{state_shape(loaded.config)} {_shown(loaded.invalid(('kafka',), 'wrong'))}"
    assert CANARY not in shown


def test_a_later_step_can_point_into_the_file() -> None:
    error = parse(FULL, "f", {}).invalid(("detector", "bins"), "too many for this machine")
    assert str(error) == "f:25:30: detector.bins: too many for this machine"


# --- Kafka ---------------------------------------------------------------------------------------


def test_settings_that_the_delivery_promises_depend_on_are_refused() -> None:
    for name in SETTINGS.consumer | SETTINGS.producer:
        client = "consumer" if name in SETTINGS.consumer else "producer"
        text = FULL.replace("{fetch_max_bytes: 1000000}", "{}").replace("{linger_ms: 5}", "{}")
        text = text.replace(f"{client}: {{}}", f"{client}: {{{name}: 1}}")
        if refusal(name) is None:
            assert config_of(text, kafka_settings=SETTINGS)
        else:
            (line,) = mistakes(text, kafka_settings=SETTINGS)
            assert f"kafka.{client}: '{name}' " in line


@pytest.mark.parametrize(
    "name",
    ["enable_auto_commit", "isolation_level", "auto_offset_reset", "group_id", "transactional_id",
     "partition_assignment_strategy", "enable_idempotence", "acks", "bootstrap_servers",
     "value_deserializer", "key_serializer", "security_protocol", "sasl_plain_password",
     "ssl_cafile"],
)  # fmt: skip
def test_refused_settings_are_refused_without_knowing_the_client(name: str) -> None:
    assert refusal(name) is not None
    found = mistakes(FULL.replace("linger_ms: 5", f"{name}: hunter2"))
    assert len(found) == 1
    assert "hunter2" not in found[0]


def test_outputs_and_inputs_must_be_different_topics() -> None:
    assert (
        "is also kafka.alerts"
        in mistakes(FULL.replace("dead_letters: dead", "dead_letters: alerts"))[0]
    )
    assert "is also read" in mistakes(FULL.replace("dead_letters: dead", "dead_letters: cards"))[0]


def test_security_that_the_protocol_ignores_is_a_mistake() -> None:
    found = mistakes(FULL.replace("protocol: SASL_SSL, ", ""))
    assert [line.split(": ")[2].split(" has")[0] for line in found] == [
        "mechanism", "username", "password", "ca_file",
    ]  # fmt: skip
    assert all("no effect with protocol 'PLAINTEXT'" in line for line in found)


# --- units ---------------------------------------------------------------------------------------


@example(1_000_000_000.5)  # 13 digits of milliseconds
@given(st.floats(min_value=0, max_value=LONGEST_DURATION, allow_subnormal=False))
def test_a_duration_is_written_so_that_it_reads_back_the_same(seconds: float) -> None:
    seconds = round(seconds, 9)
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.text(alphabet="0123456789. %perday/msKiB", max_size=400))
def test_units_raise_nothing_but_value_errors(text: str) -> None:
    for read in (parse_duration, parse_size, Budget.parse):
        try:
            read(text)
        except ValueError:
            continue


# --- fingerprint ---------------------------------------------------------------------------------


def test_the_fingerprint_follows_what_shapes_state_and_nothing_else() -> None:
    before = config_of(FULL)
    fingerprint = state_fingerprint(before)
    assert re.fullmatch("[0-9a-f]{16}", fingerprint)
    for path, value in (
        ("features[0].transform", "sqrt"),
        ("windows[1].half_lives", "[3h]"),
        ("detector.seed", 8),
        ("event.time.format", "iso8601"),
        ("processing.chunk_size", 256),
        ("processing.freeze_after", 5000),
        ("processing.shards", 3),
        ("threshold", "{score: 3}"),
        ("threshold.budget", "5 per day"),
    ):
        after = config_of(FULL, overrides={path: value})
        assert state_fingerprint(after) != fingerprint, path
        (line, *_) = describe_difference(state_shape(before), state_shape(after))
        assert line.startswith(path.removesuffix(".budget")), line
    for path, value in (
        ("metrics.port", 1),
        ("kafka.bootstrap_servers", "other:1"),
        ("threshold.budget", "0.2 %"),
        ("labels.delay", "1d"),
        ("suppression.period", "1h"),
        ("name", "other"),
        ("logging.level", "error"),
        ("event.max_bytes", "1 MiB"),
    ):
        after = config_of(FULL, overrides={path: value})
        assert state_fingerprint(after) == fingerprint, path
        assert describe_difference(state_shape(before), state_shape(after)) == []


def test_the_format_of_labels_is_no_part_of_what_shapes_state() -> None:
    plain = config_of(FULL, overrides={"detector": {"kind": "classifier"}})
    other = config_of(
        FULL, overrides={"detector": {"kind": "classifier"}, "labels.format": "json_schema"}
    )
    # States that were written before labels had a format know nothing of it.
    assert not {"format", "schema_file", "message"} & state_shape(plain)["labels"].keys()
    assert state_fingerprint(plain) == state_fingerprint(other)


def test_a_setting_under_its_old_name_is_read_and_said() -> None:
    old = config_of(FULL, overrides={"processing.learn_first": 5000})
    new = config_of(FULL, overrides={"processing.freeze_after": 5000})
    assert old == new
    assert state_fingerprint(old) == state_fingerprint(new)
    shape = state_shape(new)
    assert shape["processing"]["learn_first"] == 5000  # as states of before have it


def test_the_old_name_is_found_by_its_line_and_takes_the_same_values() -> None:
    text = "name: x\nfeatures: [{numeric: a}]\nprocessing:\n  learn_first: 0\n"
    with pytest.raises(InvalidConfigurationError, match=r"f.yaml:4:\d+: processing.freeze_after"):
        parse(text, "f.yaml", {})
    (note,) = parse(text.replace("0", "9"), "f.yaml", {}).notes
    assert note.startswith("processing.learn_first (line 4) is called processing.freeze_after now")
    both = text.replace("0", "9") + "  freeze_after: 9\n"
    with pytest.raises(InvalidConfigurationError, match="is the old name of freeze_after"):
        parse(both, "f.yaml", {})


def test_labels_shape_the_state_of_detectors_that_learn_from_them() -> None:
    base = {"detector": "{kind: classifier}"}
    one = config_of(FULL, overrides=base)
    other = config_of(FULL, overrides={**base, "labels.delay": "1d"})
    assert describe_difference(state_shape(one), state_shape(other)) == [
        'labels.delay: was "1w", is "1d"'
    ]


def test_a_default_written_out_changes_no_fingerprint() -> None:
    one = config_of(SMALL)
    two = config_of(SMALL + "    transform: none\nprocessing: {chunk_size: 512}\n")
    assert state_fingerprint(one) == state_fingerprint(two)


def test_a_state_from_before_a_setting_existed_fits_its_default_and_nothing_else() -> None:
    base = {"detector": "{kind: classifier}"}
    config = config_of(FULL, overrides=base)
    old = json.loads(json.dumps(state_shape(config)))
    del old["detector"]["rarity"]
    meta = {"configuration": "0" * 16, "shape": old}
    assert state_differences(meta, config) == []
    changed = config_of(FULL, overrides={"detector": "{kind: classifier, rarity: true}"})
    assert state_differences(meta, changed) == ["detector.rarity: was false, is true"]
    whole = {"configuration": "0" * 16, "shape": state_shape(config)}
    assert state_differences(whole, config) == ["its fingerprint is another one"]


def test_where_no_detector_is_named_a_state_of_the_former_default_says_how_to_keep_it() -> None:
    """After an upgrade whoever never chose a detector reads what to write."""
    before = config_of(SMALL, overrides={"detector": "{kind: ensemble}"})
    meta = {"configuration": state_fingerprint(before), "shape": state_shape(before)}
    now = config_of(SMALL)
    assert now.detector.kind == "adaptive_ensemble"
    *_, advice = state_differences(meta, now)
    assert "`detector: {kind: ensemble}` goes on with what was learnt" in advice
    assert state_differences(meta, before) == []
    chosen = config_of(SMALL, overrides={"detector": "{kind: loda}"})
    assert not any("goes on" in line for line in state_differences(meta, chosen))


def test_a_difference_names_what_was_added_removed_and_changed() -> None:
    one = config_of(SMALL + "  - boolean: b\n")
    two = config_of("name: x\nfeatures: [{numeric: amount, transform: log}]\n"
                    "windows: [{key: k, half_lives: [1d], compute: [count]}]\n")  # fmt: skip
    lines = describe_difference(state_shape(one), state_shape(two))
    assert lines[0] == 'features[0].transform: was "none", is "log"'
    assert lines[1].startswith("features[1]: is gone, was {")
    assert lines[2].startswith('windows[0]: is new, {"key": "k"')
    stored = json.loads(json.dumps(state_shape(one)))
    assert describe_difference(stored, state_shape(one)) == [], "survives a snapshot's JSON"


# --- schema, reference, examples -----------------------------------------------------------------


def test_the_stored_schema_is_up_to_date() -> None:
    stored = (REPOSITORY / "config" / "stream-detector.schema.json").read_text(encoding="utf-8")
    assert stored == json_schema_text(), (
        "run: python -m stream_detector schema > config/stream-detector.schema.json"
    )


def test_the_stored_reference_is_up_to_date() -> None:
    stored = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert stored == reference_markdown(), (
        "run: python -m stream_detector.config.derived.reference > docs/configuration.md"
    )


def test_the_reference_names_every_key_and_every_key_is_described() -> None:
    text = reference_markdown()
    schema = json_schema()
    for definition in (schema, *schema["$defs"].values()):
        for name, value in definition.get("properties", {}).items():
            assert f"| `{name}` |" in text
            assert name == "kind" or value.get("description") or "$ref" in value, name
    assert "None |" not in text
    for _name, model in (*(tagged_members(locate(("detector",)).annotation) or {}).items(),):
        assert f"### `{model.model_fields['kind'].default}`" in text


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def test_the_schema_admits_what_loads_and_references_in_place_of_numbers(
    validator: jsonschema.Draft202012Validator,
) -> None:
    data = yaml.safe_load(FULL)
    data["features"][0]["range"] = [0, 1000]  # PyYAML reads 1e6 as text
    data["windows"][0]["max_keys"] = data["detector"]["half_life"] = 1000
    validator.validate(data)
    data["metrics"]["port"] = "${PORT}"
    data["logging"]["level"] = "${LEVEL:-info}"
    data["threshold"]["budget"] = "${BUDGET}"
    validator.validate(data)
    for path, wrong in (
        (("metrics", "port"), "many"),
        (("detector", "kind"), "lodaa"),
        (("threshold", "budget"), "much"),
        (("state", "interval"), 60),
        (("features", 0, "numric"), "x"),
    ):
        spoilt = json.loads(json.dumps(data))
        section = spoilt
        for step in path[:-1]:
            section = section[step]
        section[path[-1]] = wrong
        assert not validator.is_valid(spoilt), path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_loads_and_fits_the_schema(
    path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=stream-detector.schema.json\n")
    config = load(path, {}, kafka_settings=SETTINGS).config
    assert config.name == path.stem
    assert config.kafka is not None
    validator.validate(yaml.safe_load(text))
    elsewhere = load_config(
        path,
        {"KAFKA_BOOTSTRAP_SERVERS": "b:1", "METRICS_HOST": "0.0.0.0", "STATE_DIRECTORY": "/s"},
    )
    assert elsewhere.kafka is not None
    assert elsewhere.kafka.bootstrap_servers == "b:1"
    assert (elsewhere.metrics.host, elsewhere.state.directory) == ("0.0.0.0", "/s")
    assert state_fingerprint(elsewhere) == state_fingerprint(config)


def test_the_examples_do_not_collide_when_all_run_against_one_broker() -> None:
    sections = [load_config(path, {}).kafka for path in EXAMPLES]
    for names in zip(*((k.group, k.alerts, k.dead_letters) for k in sections if k), strict=True):
        assert len(set(names)) == len(EXAMPLES) == 4


@pytest.mark.parametrize(
    ("name", "file", "positive_share"),
    [
        ("transactions", "card_transactions.csv.gz", (0.0, 0.02)),
        ("network", "kddcup99_10_percent.csv.gz", (0.05, 0.9)),
        ("sensors", "ai4i2020.csv.gz", (0.02, 0.05)),
        ("patients", "cardio.npz", (0.09, 0.1)),
    ],
)
def test_an_example_reads_its_data_set_without_a_rejection(
    name: str, file: str, positive_share: tuple[float, float], data_directory: Path
) -> None:
    config = load_config(REPOSITORY / "config" / f"{name}.yaml", {})
    plan = FieldPlan.of(config)
    source = FileSource(
        str(data_directory / file),
        numeric=plan.numeric,
        boolean=plan.boolean,
        columns=config.event.columns,
        limit=10_000,
    )
    decoder = Decoder(config, plan)
    labels: list[float] = []
    while not source.exhausted():
        for fetched in source.poll(0):
            batch = decoder.decode(source.source, fetched.records)
            assert [r for r in batch.rejection if r is not None] == []
            labels.extend(batch.label)
    low, high = positive_share
    assert low < sum(labels) / len(labels) < high


# --- whatever comes ------------------------------------------------------------------------------

_TOKENS = (
    "a: - [ ] { } , & * ! | > ' \" % @ # ${ ${A} ${B:-1} $${ ? << ~ null true 1e9 .nan -1 0x "
    "&a *a !!str !!int 1d 5% features windows detector kind numeric"
)
_BREAKS = ("\n", "\n  ", "\n- ", ": ", "\t", "\r", "\ufeff", "\u2028", "\x85", "\x00", "\\u", "ü")
WORDS = st.sampled_from([*_TOKENS.split(), *_BREAKS])


def _loads_or_says_why(text: str) -> None:
    try:
        config = parse(text, "f", {"A": "7", "C": "x"}, kafka_settings=SETTINGS).config
    except InvalidConfigurationError as caught:
        error = caught
    else:
        state_fingerprint(config)
        return
    assert error.diagnostics
    for line, diagnostic in zip(str(error).splitlines(), error.diagnostics, strict=False):
        assert line.startswith(("f:", "... and")), line
        assert diagnostic.line is not None
        assert diagnostic.line >= 1


@given(st.text(max_size=200) | st.lists(WORDS, max_size=30).map("".join))
@settings(max_examples=150, deadline=None)
def test_any_text_loads_or_is_a_configuration_error(text: str) -> None:
    _loads_or_says_why(text)


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(FULL)), st.integers(0, 25), st.lists(WORDS, max_size=4).map("".join)
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=100, deadline=None)
def test_any_mutation_of_a_file_loads_or_is_a_configuration_error(
    edits: list[tuple[int, int, str]],
) -> None:
    text = FULL
    for start, length, new in edits:
        text = text[:start] + new + text[start + length :]
    _loads_or_says_why(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(LEAVES), st.integers(0, 4), JSON)
@settings(max_examples=200, deadline=None)
def test_any_value_at_any_path_loads_or_is_a_configuration_error(
    path: tuple[str | int, ...], up: int, value: Any
) -> None:
    shortened = path[: max(1, len(path) - up)]
    with suppress(InvalidConfigurationError):
        parse(FULL, "f", {}, {format_path(shortened): value}, SETTINGS)
