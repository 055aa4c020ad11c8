"""What people give to such libraries: each is taken for what it means, or plainly refused."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import enum
import io
import json
import math
import uuid
import warnings
from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pydantic
import pytest

from stream_detector import FrameError, Pipeline, backtest
from stream_detector.api.frames import FrameWarning
from stream_detector.api.result import RejectedEventsWarning
from stream_detector.cells.times import NAMED_FORMATS

CONFIG: dict[str, Any] = {
    "name": "input",
    "event": {"id": "id", "time": {"field": "time"}},
    "features": [
        {"numeric": "amount", "missing": "mean"},
        {"categorical": "kind", "size": 4, "missing": "category"},
        {"boolean": "flag", "missing": "mean"},
    ],
    "threshold": {"score": -1e9, "burn_in": 0},
}
EVENT = {"id": "a", "time": "2024-05-06T07:08:09", "amount": 1.5, "kind": "x", "flag": True}
PATTERNS = (*NAMED_FORMATS, "%d.%m.%Y %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f%z")
TIMES = [f"2024-05-06T07:08:{second:02d}" for second in range(3)]


def changed(config: dict[str, Any] = CONFIG, **event: Any) -> dict[str, Any]:
    """The event inside the alert of an event with these changes: as the decoder read it."""
    result = Pipeline(config).process([{**EVENT, **event}])
    assert result.rejected == []
    return result.alerts[0]


def refused(events: Any, config: dict[str, Any] = CONFIG) -> str:
    """Why the only event is rejected."""
    with pytest.warns(RejectedEventsWarning):
        result = Pipeline(config).process(events)
    assert np.isnan(result.scores).all()
    return str(result.rejected[0])


@dataclasses.dataclass
class Login:
    id: str
    time: str
    amount: float
    kind: str
    flag: bool


@dataclasses.dataclass
class Place:
    country: str


class Row(NamedTuple):
    a: int
    b: int


class Model(pydantic.BaseModel):
    amount: float


async def asynchronous():
    yield EVENT


class Kind(enum.Enum):
    X = "x"


class Level(enum.IntEnum):
    HIGH = 3


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.float64(1.5), 1.5), (np.float32(0.5), 0.5), (np.int64(3), 3), (np.uint8(3), 3),
        (np.float16(0.5), 0.5), (np.longdouble(1.5), 1.5), (Decimal("1.50"), 1.5),
        (Level.HIGH, 3), (2**70, 2**70), (np.array(2.5), 2.5),
        (None, None), (math.nan, None), (np.nan, None), (np.float64("nan"), None),
        (pd.NA, None), (pd.NaT, None), (Decimal("NaN"), None), (math.inf, None),
        (np.float32(-np.inf), None), (np.datetime64("NaT"), None),
        (np.ma.masked, None),
    ],
)  # fmt: skip
def test_a_number_of_any_library_is_a_number_and_missing_is_missing(given, expected):
    assert changed(amount=given)["event"]["amount"] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.str_("x"), "x"), (Kind.X, "x"), (True, True), (np.bool_(False), False), (17, 17),
        (np.int32(17), 17), (uuid.UUID(int=5), str(uuid.UUID(int=5))), (dt.time(7, 8), "07:08:00"),
        (dt.date(2024, 5, 6), "2024-05-06"), (pd.NA, None), (math.nan, None),
        ("é\u202e", "é\u202e"),
    ],
)  # fmt: skip
def test_a_category_of_any_library_is_its_text(given, expected):
    assert changed(kind=given)["event"]["kind"] == expected


@pytest.mark.parametrize(
    "given",
    [
        "2024-05-06T07:08:09.123",
        dt.datetime(2024, 5, 6, 7, 8, 9, 123_000),  # noqa: DTZ001 - in UTC then
        dt.datetime(2024, 5, 6, 7, 8, 9, 123_000, tzinfo=dt.UTC),
        dt.datetime(2024, 5, 6, 9, 8, 9, 123_000, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        pd.Timestamp("2024-05-06T07:08:09.123456789"),
        pd.Timestamp("2024-05-06T09:08:09.123", tz="Europe/Berlin"),
        np.datetime64("2024-05-06T07:08:09.123"),
        np.datetime64("2024-05-06T07:08:09.123456789"),
    ],
)
@pytest.mark.parametrize("zone", [None, "America/Lima"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_moment_of_any_library_is_the_events_time(given, pattern, zone):
    if isinstance(given, str) and pattern not in ("auto", "iso8601"):
        pytest.skip("text is for the format itself")
    config = {**CONFIG, "event": {"id": "id", "time": {"field": "time", "format": pattern}}}
    config["event"]["time"]["zone"] = zone
    has_zone = getattr(given, "tzinfo", None) is not None
    hour = 12 if zone is not None and not has_zone else 7
    assert changed(config, time=given)["event_time"] == f"2024-05-06T{hour:02d}:08:09.123Z"


def test_a_time_of_two_columns_is_read():
    config = {**CONFIG, "event": {"id": "id", "time": {"fields": ["day", "clock"]}}}
    found = changed(config, day=dt.date(2024, 5, 6), clock=dt.time(7, 8, 9))
    assert found["event_time"] == "2024-05-06T07:08:09.000Z"


@pytest.mark.parametrize(
    ("field", "given", "says"),
    [
        ("amount", [1.5], "amount"),
        ("amount", "much", "amount"),
        ("amount", 1e200, "outside"),
        ("amount", 1 + 2j, "amount: complex is no number that can be ordered"),
        ("amount", np.complex64(1), "amount: complex"),
        ("amount", dt.timedelta(1), "total_seconds"),
        ("amount", pd.Timedelta("1s"), "total_seconds"),
        ("amount", np.timedelta64(1, "s"), "total_seconds"),
        ("amount", Fraction(1, 2), "amount: Fraction is no value of an event"),
        ("amount", object(), "amount: object is no value"),
        ("kind", b"x", "kind: bytes is no text; decode it"),
        ("kind", {"x"}, "kind: set has no order"),
        ("kind", "\ud800", "half a character"),
        ("flag", "perhaps", "flag"),
        ("flag", 2, "flag is neither true nor false"),
        ("time", None, "time is missing"),
        ("time", pd.NaT, "time is missing"),
        ("time", "yesterday", "time is no time of format auto"),
        ("time", dt.datetime(1969, 1, 1), "1970"),  # noqa: DTZ001
        ("id", None, "id is missing"),
        ("id", math.nan, "id is missing"),
        ("extra", object, "extra: type is no value"),
        ("extra", pd.Period("2024-01"), "extra: Period is no value"),
        ("extra", {"inside": {1: 2}}, "extra.inside: the key 1 is int"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_meant_names_its_field_and_what_to_give(field, given, says):
    message = refused([{**EVENT, field: given}])
    assert says in message
    assert message.startswith("event 0: ")
    assert "; give or set: " in message


def test_an_event_that_holds_itself_is_rejected():
    event: dict[str, Any] = dict(EVENT)
    event["self"] = event
    assert "nested deeper" in refused([event])


@pytest.mark.parametrize(
    "event",
    [
        OrderedDict(EVENT), MappingProxyType(EVENT), {np.str_(k): v for k, v in EVENT.items()},
        json.dumps(EVENT), json.dumps(EVENT).encode(), bytearray(json.dumps(EVENT).encode()),
        memoryview(json.dumps(EVENT).encode()), Login(**EVENT), json.dumps(EVENT) + "\n",
    ],
)  # fmt: skip
def test_an_event_may_be_any_mapping_or_json(event):
    expected = Pipeline(CONFIG).process([EVENT]).scores
    assert Pipeline(CONFIG).process([event]).scores.tobytes() == expected.tobytes()


def test_nested_values_are_read_by_their_path_and_so_are_keys_with_dots():
    config = {
        "name": "n",
        "features": [{"categorical": "card.country", "missing": "reject"}, {"numeric": "amount"}],
        "threshold": {"score": -1e9, "burn_in": 0},
    }
    for event in (
        {"card": {"country": "FR"}, "amount": 1},
        {"card": Place("FR"), "amount": 1},
        {"card.country": "FR", "amount": 1},
    ):
        assert Pipeline(config).process([event]).rejected == []
    assert "card.country" in refused([{"card": {}, "amount": 1}], config)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ("events.csv", "a path or JSON"),
        (3.5, "holds no events"),
        (None, "holds no events"),
        ([3.5], r"its value needs a name, \{'value': 3.5\}"),
        ([[1.0, 2.0]], "values need names"),
        ([({"amount": 1.0}, 0)], r"River's \(x, y\) pairs"),
        (np.zeros((3, 2)), "no names of fields: give a frame"),
        (pd.Series([1.0]), "its value needs a name"),
        (pl.Series([1.0]), "its value needs a name"),
        (np.array([(1.0, "x")], dtype=[("amount", "f8"), ("kind", "U1")]), "from_records"),
        (pd.DataFrame([EVENT]).iterrows(), "give the frame itself"),
        (pd.DataFrame([EVENT]).itertuples(), r"_asdict\(\)"),
        ({"amount": [1.0, 2.0], "kind": ["x", "y"]}, r"pandas.DataFrame\(columns\)"),
        (Path("events.csv"), "a path or JSON"),
        ([Model(amount=1.0)], r"event.model_dump\(\)"),
        (asynchronous(), "asynchronously"),
        (Row(1, 2), "its value needs a name"),
        ([Row(1, 2)], r"_asdict\(\)"),
        ([pd.Series({"amount": 1.0})], r"row.to_dict\(\)"),
        (pd.DataFrame, "holds no events"),
    ],
)
def test_what_are_no_events_is_refused_with_what_to_give(events, says):
    with pytest.raises(TypeError, match=says):
        Pipeline(CONFIG).process(events)


@pytest.mark.parametrize("events", [[], b"", b"\n\n", iter(()), pd.DataFrame(), pl.DataFrame()])
def test_nothing_gives_nothing(events):
    result = Pipeline(CONFIG).process(events)
    assert len(result) == 0
    assert result.records() == []
    assert repr(result).startswith("0 events")


def test_a_dict_is_one_event_an_empty_one_too():
    assert len(Pipeline(CONFIG).process(EVENT)) == 1
    assert "is missing" in refused({})


def test_one_object_over_several_lines_is_one_event():
    expected = Pipeline(CONFIG).process([EVENT]).scores.tobytes()
    assert (
        Pipeline(CONFIG).process(json.dumps(EVENT, indent=1).encode()).scores.tobytes() == expected
    )


@pytest.mark.parametrize("make", [pd.Series, pl.Series, lambda v: np.array(v, dtype=object), iter])
def test_a_column_of_json_is_events(make):
    lines = [json.dumps({**EVENT, "id": str(number)}) for number in range(3)]
    assert len(Pipeline(CONFIG).process(make(lines)).alerts) == 3


def test_an_array_of_objects_is_as_many_events():
    for text in (json.dumps([EVENT, EVENT]), json.dumps([EVENT, EVENT], indent=1)):
        result = Pipeline(CONFIG).process(text.encode())
        assert [alert["event"] for alert in result.alerts] == [EVENT, EVENT]


def test_rows_of_text_are_read_as_a_file_is():
    rows = csv.DictReader(["id,time,amount,kind,flag", f"a,{EVENT['time']},1.5,x,true"])
    expected = Pipeline(CONFIG).process([EVENT]).scores.tobytes()
    assert Pipeline(CONFIG).process(rows).scores.tobytes() == expected


def test_truth_where_a_number_is_expected_is_told_how_to_become_one():
    assert "int(value), or read the field as `boolean`" in refused([{**EVENT, "amount": True}])


def test_lines_of_an_open_file_are_events():
    text = "".join(json.dumps({**EVENT, "id": str(n)}) + "\n" for n in range(5))
    expected = Pipeline(CONFIG).process(text.encode()).scores.tobytes()
    assert Pipeline(CONFIG).process(io.StringIO(text)).scores.tobytes() == expected
    assert Pipeline(CONFIG).process(io.BytesIO(text.encode())).scores.tobytes() == expected


def test_events_are_not_changed_and_not_kept():
    event = dict(EVENT)
    pipeline = Pipeline(CONFIG)
    pipeline.process([event])
    assert event == EVENT


# --- frames --------------------------------------------------------------------------------------


def columns(**changes: Any) -> dict[str, Any]:
    return {
        "id": ["a", "b", "c"],
        "time": TIMES,
        "amount": [1.5, 2.5, None],
        "kind": ["x", "y", None],
        "flag": [True, False, None],
        **changes,
    }


def rows(**changes: Any) -> list[dict[str, Any]]:
    table = columns(**changes)
    return [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]


def scores_of(events: Any, config: dict[str, Any] = CONFIG) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = Pipeline(config).process(events)
    assert result.rejected == []
    return result.scores.tobytes()


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(columns()),
        pd.DataFrame(columns()).convert_dtypes(),
        pd.DataFrame(columns()).astype({"kind": "category"}),
        pd.DataFrame(columns()).astype({"kind": object, "amount": "Float64"}),
        pd.DataFrame(columns(time=pd.to_datetime(TIMES))),
        pd.DataFrame(columns(time=pd.to_datetime(TIMES, utc=True).tz_convert("Asia/Tokyo"))),
        pd.DataFrame(columns(time=pd.to_datetime(TIMES).astype("datetime64[s]"))),
        pd.DataFrame(columns(), index=[7, 7, 9]),
        pd.DataFrame(columns(extra=[[1], {"a": 2}, None])),
        pd.DataFrame(columns(amount=["1.5", "2.5", None])),
        pl.DataFrame(columns(amount=["1.5", "2.5", None])),
        pl.DataFrame(columns()),
        pl.DataFrame(columns()).with_columns(pl.col("kind").cast(pl.Categorical)),
        pl.DataFrame(columns()).with_columns(pl.col("kind").cast(pl.Enum(["x", "y"]))),
        pl.DataFrame(columns()).with_columns(pl.col("time").str.to_datetime()),
        pl.DataFrame(columns()).with_columns(
            pl.col("time").str.to_datetime().dt.replace_time_zone("UTC")
            .dt.convert_time_zone("America/Lima")),
        pl.DataFrame(columns()).with_columns(pl.col("amount").cast(pl.Float32)),
        pl.DataFrame(columns()).with_columns(pl.col("amount").cast(pl.Decimal(10, 2))),
    ],
    ids=lambda frame: f"{type(frame).__module__.split('.')[0]}-{list(map(str, frame.dtypes))}",
)  # fmt: skip
def test_a_frame_gives_what_its_rows_give(frame):
    assert scores_of(frame) == scores_of(rows())


def test_missing_numbers_of_polars_and_nan_are_the_same():
    frame = pl.DataFrame(columns(amount=[1.5, 2.5, math.nan]))
    assert scores_of(frame) == scores_of(rows())


def test_columns_of_structures_and_with_dots_are_paths():
    config = {"name": "n", "features": [{"categorical": "card.country"}, {"numeric": "amount"}]}
    expected = scores_of([{"card": {"country": c}, "amount": 1.0} for c in "ab"], config)
    struct = pl.DataFrame({"card": [{"country": "a"}, {"country": "b"}], "amount": [1.0, 1.0]})
    dotted = pd.DataFrame({"card.country": ["a", "b"], "amount": [1.0, 1.0]})
    objects = pd.DataFrame({"card": [{"country": "a"}, {"country": "b"}], "amount": [1.0, 1.0]})
    for frame in (struct, dotted, objects):
        assert scores_of(frame, config) == expected


def test_ids_that_pandas_has_made_floats_are_whole_numbers_and_it_is_said():
    frame = pd.DataFrame(columns(kind=[17, 18, None]))
    assert frame["kind"].dtype == float
    with pytest.warns(FrameWarning, match=r'kind.*17.0 is taken as "17"'):
        result = Pipeline(CONFIG).process(frame)
    assert [alert["event"]["kind"] for alert in result.alerts] == [17, 18, None]
    assert result.scores.tobytes() == scores_of(rows(kind=["17", "18", None]))
    assert scores_of(frame.astype({"kind": "Int64"})) == result.scores.tobytes()
    categories = frame.astype({"kind": "category"})
    with pytest.warns(FrameWarning, match="kind"):
        assert Pipeline(CONFIG).process(categories).scores.tobytes() == result.scores.tobytes()
    really = pd.DataFrame(columns(kind=[17.5, 18, None]))
    assert Pipeline(CONFIG).process(really).alerts[0]["event"]["kind"] == 17.5


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame(columns()).drop(columns="amount"),
         r"no column amount, which the configuration reads; it has id, time, kind, flag"),
        (pd.DataFrame(columns()).rename(columns={"amount": "Amount "}),
         r"rename\(columns=\{'Amount ': 'amount'\}\)"),
        (pd.DataFrame(columns()).set_index("time"), r"time is its index: give frame.reset_index"),
        (pd.DataFrame(columns(), index=pd.to_datetime(TIMES)).drop(columns="time"),
         r'reset_index\(names="time"\)'),
        (pd.DataFrame(columns())[["id", "time", "amount", "kind", "flag", "kind"]],
         "columns that occur twice: kind"),
        (pd.DataFrame(columns()).set_axis(range(5), axis=1), "the column 0 is named by int"),
        (pd.DataFrame(columns()).set_axis(pd.MultiIndex.from_product([["a"], columns()]), axis=1),
         "named by tuple"),
        (pd.DataFrame(columns(amount=pd.to_datetime(TIMES))), "amount holds times"),
        (pd.DataFrame(columns(amount=[True, False, True])), "amount holds true and false"),
        (pd.DataFrame(columns(amount=pd.to_timedelta([1, 2, 3], "s"))), "total_seconds"),
        (pl.DataFrame(columns()).lazy(), r"frame.collect\(\)"),
    ],
)  # fmt: skip
def test_a_frame_that_does_not_fit_says_what_was_given_and_expected(frame, says):
    pipeline = Pipeline(CONFIG)
    with pytest.raises(FrameError, match=says):
        pipeline.process(frame)
    assert pipeline.events_scored == 0
    with pytest.raises(FrameError, match=says):
        backtest(CONFIG, frame)


def test_single_values_of_a_frame_are_rejected_by_row():
    frame = pd.DataFrame(columns(amount=[dt.timedelta(1), 2.5, 1.0], flag=[True, "maybe", None]))
    with pytest.warns(RejectedEventsWarning):
        result = Pipeline(CONFIG).process(frame)
    assert [each.row for each in result.rejected] == [0, 1]
    assert result.rejected[0].field == "amount"
    assert "total_seconds" in result.rejected[0].message


def test_a_frame_of_many_rows_is_read_in_parts_with_the_same_bytes():
    count = 12_000
    rng = np.random.default_rng(0)
    amounts = rng.normal(size=count)
    start = np.datetime64("2024-01-01")
    frame = pd.DataFrame({
        "id": np.arange(count), "time": start + np.arange(count).astype("timedelta64[s]"),
        "amount": amounts, "kind": rng.choice(["x", "y"], count), "flag": amounts > 0,
    })  # fmt: skip
    expected = Pipeline(CONFIG | {"threshold": {"budget": "1 %"}})
    of_frame = Pipeline(CONFIG | {"threshold": {"budget": "1 %"}})
    result = of_frame.process(frame)
    by_row = expected.process(frame.to_dict("records"))
    assert result.scores.tobytes() == by_row.scores.tobytes()
    assert of_frame.fingerprint == expected.fingerprint
    assert {alert["row"] for alert in result.alerts} == {*np.flatnonzero(result.raised).tolist()}


def test_scores_go_back_into_the_frame_by_position():
    frame = pd.DataFrame(columns(), index=[30, 20, 10])
    result = Pipeline(CONFIG).process(frame)
    made = frame.assign(**pd.DataFrame(result.to_dict(), index=frame.index))
    assert made["score"].tolist() == result.scores.tolist()
    assert pl.DataFrame(result.to_dict()).height == 3


def test_a_frame_gives_the_alerts_that_evaluate_gives_on_its_csv(tmp_path):
    path = tmp_path / "events.csv"
    frame = pd.DataFrame(columns(amount=[1.5, 2.5, 3.5]))
    frame.to_csv(path, index=False)
    tested = backtest(CONFIG, path)
    result = Pipeline(CONFIG, source="events.csv").process(frame)
    assert result.scores.tobytes() == tested.scores.tobytes()
    assert [m.value for m in result.messages] == [m.value for m in tested.scored.alerts]
