"""Bounds on what a configuration may ask for: every number, product, name; `check` comes back."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import call
from support.streams import SETTINGS, configuration

from stream_detector.config.derived.memory import memory_notes
from stream_detector.config.derived.schema import json_schema
from stream_detector.config.loading.load import parse
from stream_detector.detectors.bounded import TooLargeError, bounded
from stream_detector.errors import ConfigurationError

# --- every field has a bound ---------------------------------------------------------------------

SETTLED = {
    # Judged elsewhere: by pydantic's own type, and name by name in config.loading.kafka_settings.
    ("MetricsConfig", "trusted_proxies"): "an address or a network",
}


def unbounded(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of the fields whose numbers, texts, lists or mappings have no upper bound."""
    if isinstance(schema, list):
        for each in schema:
            yield from unbounded(each, path)
    if not isinstance(schema, dict):
        return
    if not any(key in schema for key in ("const", "enum")):
        bounds = {
            "integer": ("maximum", "exclusiveMaximum"),
            "number": ("maximum", "exclusiveMaximum"),
            "string": ("maxLength", "pattern"),
            "array": ("maxItems",),
            "object": ("maxProperties", "properties", "additionalProperties")
            if schema.get("additionalProperties") is False
            else ("maxProperties", "properties"),
        }.get(str(schema.get("type")), ("type",))
        if "type" in schema and not any(key in schema for key in bounds):
            yield path
    for key, inner in schema.items():
        named = key not in ("anyOf", "items", "prefixItems", "properties", "$defs", "allOf")
        if isinstance(inner, dict | list) and key not in ("default", "examples"):
            yield from unbounded(inner, (*path, key) if named else path)


def test_every_number_text_list_and_mapping_has_an_upper_bound() -> None:
    found = {path[:2] for path in unbounded(json_schema())} - SETTLED.keys()
    assert found == set(), "give these fields a largest value (le, max_length)"


@pytest.mark.parametrize(
    "field",
    [{"type": "integer", "minimum": 1}, {"type": "number"}, {"type": "string"}, {"type": "array"},
     {"anyOf": [{"type": "null"}, {"type": "integer"}]}, {"type": "object"}],
)  # fmt: skip
def test_a_field_without_a_bound_is_found(field: dict[str, Any]) -> None:
    planted = {"$defs": {"Section": {"type": "object", "properties": {"planted": field}}}}
    assert list(unbounded(planted)) == [("Section", "planted")]


def river(model: str, /, **parameters: Any) -> dict[str, Any]:
    return {"detector": {"kind": "river", "model": f"river.{model}", "parameters": parameters}}


TREES = "anomaly.HalfSpaceTrees"
INNER = {"model": f"river.{TREES}", "parameters": {"n_trees": 10**8}}
TOO_LARGE: dict[str, dict[str, Any]] = {
    "processing.max_poll_records": {"processing": {"max_poll_records": 10**7}},
    "processing.max_buffered_records": {"processing": {"max_buffered_records": 10**9}},
    "processing.freeze_after": {"processing": {"freeze_after": 10**20}},
    "suppression.max_keys": {"suppression": {"key": "a", "period": "1h", "max_keys": 10**12}},
    "labels.max_waiting": {"labels": {"field": "l", "delay": "1h", "max_waiting": 10**12}},
    "threshold.score": {"threshold": {"score": 1e308}},
    "event.max_bytes": {"event": {"max_bytes": "999999999999 GB"}},
    "detector.half_life": {"detector": {"kind": "loda", "half_life": 1e300}},
    "detector.hidden": {"detector": {"kind": "autoencoder", "hidden": [4096] * 100}},
    "detector.parameters": river(TREES, n_trees=10**8),
    "n_models": river("forest.ARFClassifier", n_models=10**8),
    "height": river(TREES, n_trees=10, height=30),
    "a height without an end": river(TREES, height=10**9),
    "a number": river("anomaly.OneClassSVM", nu=10**18),
    "nested": river("anomaly.QuantileFilter", q=0.9, anomaly_detector=INNER),
    "drift": {"drift": [{"on": "inputs", "method": "kswin", "parameters": {"window_size": 10**9}}]},
}


@pytest.mark.parametrize("where", TOO_LARGE)
def test_what_is_too_large_is_refused_with_its_place(where: str) -> None:
    text = json.dumps({**SETTINGS, **TOO_LARGE[where]}, indent=1)
    with pytest.raises(ConfigurationError, match=r"f:\d+:\d+: ") as raised:
        parse(text, "f", {})
    if "." in where:
        assert where in str(raised.value)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_parameters_of_a_library_are_neither_deep_nor_many() -> None:
    for parameters in ({"x": nested(12)}, {"x": list(range(2000))}, {"x": "y" * 5000}):
        section = river("anomaly.GaussianScorer", **parameters)
        with pytest.raises(ConfigurationError, match=r"f:\d+:\d+: "):
            parse(json.dumps({**SETTINGS, **section}), "f", {})


def test_check_comes_back_for_a_detector_that_nobody_could_build(tmp_path: Path) -> None:
    """A size of River that our own bounds do not know, with the bound on building lowered."""
    tree = {"model": "river.tree.HoeffdingTreeClassifier"}
    section = river("ensemble.SRPClassifier", n_models=10_000, model=tree)
    path = tmp_path / "c.yaml"
    labels = {"field": "label", "delay": "1h"}
    path.write_text(json.dumps({**SETTINGS, **section, "labels": labels}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream_detector.detectors.registry.bounded", lambda what: bounded(what, 0.3))
        done = call("check", str(path))
    assert done.returncode == 2, done.stderr
    assert "building it takes more than 0.3 seconds" in done.stderr
    assert "Traceback" not in done.stderr


def within(work: Callable[[], None], *limits: float) -> None:
    with bounded("x", *limits):
        work()


def busy() -> None:
    while True:
        pass


def greedy() -> None:
    held = []
    while True:
        held.append(bytearray(2**20))


def test_building_is_bounded_in_time_and_memory_and_the_timer_ends() -> None:
    with pytest.raises(TooLargeError, match=r"building it takes more than 0\.2 seconds"):
        within(busy, 0.2)
    with pytest.raises(TooLargeError, match="GiB of memory"):
        within(greedy, 20, 2**26)
    end = time.process_time() + 0.3
    while time.process_time() < end:  # a timer that went on would raise here
        pass


def test_tables_that_fill_the_memory_are_told_by_check() -> None:
    window = {"key": "user", "half_lives": ["1h"], "compute": ["count"], "max_keys": 100_000_000}
    config = configuration(windows=[window])
    (note,) = memory_notes(config, 3, 2**30)
    assert "windows[0].max_keys" in note
    assert "more than the 1.0 GiB" in note
    (note,) = memory_notes(config, 3, None)
    assert "lower" not in note
    wide = configuration(detector={"kind": "half_space_forest", "trees": 10_000, "depth": 16})
    assert "detector.trees, depth" in memory_notes(wide, 3, None)[0]
    assert memory_notes(configuration(), 30, 2**30) == []


# --- names of fields -----------------------------------------------------------------------------

UNREADABLE = {"line feed": "a\nb", "CR": "a\rb", "tab": "a\tb", "quote": 'a"b', "NUL": "a\0b"}
UNREADABLE |= {"backslash": "a\\b", "ESC": "\x1b[2J", "DEL": "a\x7f"}
READABLE = {"colon": "a: b", "hash": "a #b", "apostrophe": "a'b", "look-alike": "\u0430mount"}
READABLE |= {
    "bidi": "\u202ea",
    "zero width": "a\u200bb",
    "C1": "a\x9bb",
    "star": "*a",
    "dash": "- a",
}
READABLE |= {"word": "null", "number": "123", "brace": "{a}", "bracket": "a[", "long": "n" * 200}
READABLE |= {"reference": "a$b", "blank": " a ", "dunder": "__class__", "keyword": "class"}
READABLE |= {
    "line separator": "a\u2028b",
    "comma": "a,b",
    "percent": "%a",
    "pipe": "|",
    "tag": "!a",
}


def places(name: str) -> dict[str, dict[str, Any]]:
    """Every place of a configuration that holds a field's name."""
    return {
        "event.id": {"event": {"id": name}},
        "event.time.field": {"event": {"time": {"field": name}}},
        "event.fields": {"event": {"fields": {name: {}}}},
        "features[0].numeric": {"features": [{"numeric": name}]},
        "features[0].categorical": {"features": [{"categorical": name}]},
        "features[0].boolean": {"features": [{"boolean": name}]},
        "features[0].difference": {"features": [{"difference": [name, "x"]}]},
        "windows[0].key": {"windows": [{"key": name, "half_lives": ["1h"], "compute": ["count"]}]},
        "labels.field": {"labels": {"field": name, "delay": "1h"}},
        "suppression.key": {"suppression": {"key": name, "period": "1h"}},
    }


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_name_that_no_event_can_be_read_by_is_refused_with_its_place(kind: str) -> None:
    for where, section in places(UNREADABLE[kind]).items():
        with pytest.raises(ConfigurationError, match=r"f:1:\d+: ") as raised:
            parse(json.dumps({**SETTINGS, **section}), "f", {})
        assert f"{where}" in str(raised.value)
        assert "no quote, backslash or control character" in str(raised.value)


def rows(name: str) -> list[dict[str, Any]]:
    made = random.Random(1)
    return [
        {
            "time": f"2024-01-01T00:{row // 60:02d}:{row % 60:02d}Z",
            name: round(made.gauss(10, 2), 2),
            f"kind{name}": made.choice("abc"),
            f"{name}key": f"k{row % 7}",
        }
        for row in range(120)
    ]


@pytest.mark.parametrize("kind", [*READABLE, *UNREADABLE])
def test_what_check_calls_sound_runs(tmp_path: Path, kind: str) -> None:
    name = {**READABLE, **UNREADABLE}[kind]
    data, config = tmp_path / "d.jsonl", tmp_path / "c.yaml"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(name[:190])))
    done = call("init", "--data", str(data), "--output", str(config))
    assert done.returncode in (0, 2), done.stderr
    if done.returncode == 0:
        assert call("check", str(config)).returncode == 0
        done = call("evaluate", str(config), "--data", str(data))
        assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (done.returncode == 0) == (kind in READABLE)


def test_a_path_with_nul_is_refused() -> None:
    for section in (
        {"state": {"directory": "a\0b"}},
        {"metrics": {"certificate_file": "a\0", "key_file": "b"}},
    ):
        with pytest.raises(ConfigurationError, match="NUL"):
            parse(json.dumps({**SETTINGS, **section}), "f", {})
