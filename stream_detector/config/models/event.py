"""The sections `event`, `features` and `windows`: what an event is, and what is made of it."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from stream_detector.cells import NumberFormat
from stream_detector.cells.zones import zone_of
from stream_detector.config.models.base import (
    LARGEST_NUMBER,
    FieldName,
    Model,
    Name,
    PathName,
    Text,
    human,
    positive,
)
from stream_detector.units import Duration, Size

MOST_COLUMNS = 16_384
"""Columns of a table, as many as a spreadsheet has."""

LARGEST_RECORD_BYTES = 2**30

_Number = Annotated[float, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]


class EventTimeConfig(Model):
    """Field of the event's own time, and its format."""

    field: FieldName | None = Field(None, description="Field that holds the time.")
    fields: Annotated[list[FieldName], Field(min_length=2, max_length=7)] | None = Field(
        None,
        description="Instead of `field`: fields that are read together, with a blank between them: "
        "`[Date, Time]`, `[Year, Month, Day, Time]`.",
    )
    format: Text = Field(
        "auto",
        description="`auto` (ISO 8601, the year in front, a month by its name, numbers by size: "
        "seconds, ms, µs or ns since 1970), `day_first` or `month_first` (`4/3/2024 8:05 PM`), "
        "`iso8601`, `unix_s`, `unix_ms`, `unix_us`, `unix_ns`, `unix_days`, `excel` (days since "
        "1899-12-30), `filetime` (Windows), or a strptime pattern.",
    )
    zone: Annotated[str, Field(max_length=100)] | None = Field(
        None,
        description="Zone of times that name none, such as `Europe/Berlin`; default UTC. Of an "
        "hour that comes twice the first is meant.",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that make up the time, one or several."""
        return tuple(self.fields) if self.fields is not None else (self.field or "",)

    @model_validator(mode="after")
    def _consistent(self) -> EventTimeConfig:
        if (self.field is None) == (self.fields is None):
            raise ValueError("give one of field and fields")
        if self.zone is not None:
            zone_of(self.zone)
        return self


class NumbersConfig(Model):
    """Spelling of numbers where they are text: in tables, or in quotes in JSON."""

    decimal: Literal[".", ","] = Field(".", description="Sign before the decimals.")
    thousands: Literal["", ".", ",", " ", "'", "_"] = Field(
        "", description="Sign between groups of digits; a blank stands for all kinds of blanks."
    )
    units: dict[Annotated[str, Field(min_length=1, max_length=20)], _Number] = Field(
        default_factory=dict,
        max_length=50,
        description="Texts before or after a number, and the factor of each: `{K: 1000, M: "
        "1000000}`, `{'%': 1}`. Signs and codes of currencies need not be named.",
    )
    base64_scale: int | None = Field(
        None,
        ge=0,
        le=100,
        description="The numbers are decimals whose bytes are in base64 (`AfQ=`), as Kafka Connect "
        "and Debezium write them, with so many digits after the point.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> NumbersConfig:
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands are the same sign")
        if any(not math.isfinite(factor) or factor == 0 for factor in self.units.values()):
            raise ValueError("units: a factor is a finite number other than 0")
        return self

    def spelling(self) -> NumberFormat:
        """Return what reads such numbers."""
        return NumberFormat(
            self.decimal, self.thousands, tuple(self.units.items()), self.base64_scale
        )


class FieldConfig(Model):
    """Spelling of one field, where it differs from the others."""

    numbers: NumbersConfig | None = Field(None, description="Instead of `event.numbers`.")
    missing_values: list[Text] | None = Field(
        None, max_length=100, description="Instead of `event.missing_values`."
    )


Format: TypeAlias = Literal["json", "json_schema", "avro", "protobuf"]
"""``json_schema`` is JSON behind a registry's prefix."""


def _decodable(size_bytes: int) -> int:
    if not 1 <= size_bytes <= LARGEST_RECORD_BYTES:
        raise ValueError("a record is decoded up to 1 GiB")
    return size_bytes


class EventConfig(Model):
    """Reading of an event."""

    format: Format = Field(
        "json",
        description="Format of the records: JSON, or one that a schema describes, which `registry` "
        "has or `schema_file`. Files are read as what they are.",
    )
    schema_file: PathName | None = Field(
        None,
        description="A file with the schema: of Avro its JSON, of Protobuf the text (`.proto`) or "
        "what `protoc --include_imports --descriptor_set_out` writes. With a `registry`, of Avro: "
        "the reader's schema, whose aliases and defaults count.",
    )
    message: Name | None = Field(
        None,
        description="Protobuf message in `schema_file`, by its full name. Default: the first.",
    )
    id: FieldName | None = Field(
        None, description="Field that identifies an event, for alert readers."
    )
    time: EventTimeConfig | None = Field(
        None, description="The event's own time; without it the record's timestamp counts."
    )
    numbers: NumbersConfig | None = Field(
        None,
        description="How numbers are written. Default: plainly (`-1234.5`, `1e3`), in quotes or "
        "not; `1,234.56`, `$5` and `(5)` are understood besides, since they mean one number only.",
    )
    missing_values: list[Text] = Field(
        default_factory=list,
        max_length=100,
        description="Further texts that mean a missing value, in any field. For numbers, booleans "
        "and times these always do: nothing, `-`, `?`, `NA`, `N/A`, `NULL`, `None`, `\\N`, "
        "`(empty)`, `NaN`, `Infinity` and the like.",
    )
    fields: dict[FieldName, FieldConfig] = Field(
        default_factory=dict, max_length=1000, description="Fields that are written differently."
    )
    envelope: Literal["debezium", "connect", "cloudevents"] | None = Field(
        None,
        description="What the event is wrapped in: a change of Debezium (its row `after` is the "
        "event), the schema and payload of Kafka Connect, or a CloudEvent (in structured or binary "
        "mode). What the envelope itself says is read as `@op`, `@source.table`, `@time`.",
    )
    columns: Annotated[list[Name], Field(max_length=MOST_COLUMNS)] | None = Field(
        None, description="FieldNames of a CSV file's columns where it has no header (files only)."
    )
    max_bytes: Annotated[Size, AfterValidator(_decodable)] = Field(
        human("256 KiB"), description="A longer record goes to the dead letters undecoded."
    )
    max_text_length: int = Field(
        1024, ge=1, le=65536, description="Characters of a key, id or category; longer is bad."
    )
    max_ahead: Duration = Field(
        human("1d"),
        description="An event whose time lies this far after its record's timestamp is bad.",
    )
    max_behind: Duration = Field(
        human("30d"),
        description="An event this far behind the median of the last 64 is bad (too late).",
    )
    max_gap: Duration = Field(
        human("30d"),
        description="The longest silence that is believed at once: an event further ahead of the "
        "last 64 (by `max_ahead` at least) is bad, until most events say the same.",
    )
    max_step: Annotated[Duration, AfterValidator(positive)] = Field(
        human("1h"),
        description="How far beyond that median a single event may move the stream's time. One "
        "further ahead is scored, and moves it when most events say the same. In a stream whose "
        "last 64 events are spread over hours it is more.",
    )


class _Fields(Model):
    missing: Literal["reject", "mean", "indicator"] = Field(
        "reject",
        description="What a missing or null value means: a bad record, the running mean, or the "
        "running mean and one more feature that says so.",
    )


class NumericFeatureConfig(_Fields):
    """A number of the event."""

    numeric: FieldName = Field(description="The field.")
    transform: Literal["none", "log", "sqrt"] = Field(
        "none", description="`log` is sign(x) log(1 + |x|), `sqrt` is sign(x) sqrt(|x|)."
    )
    range: tuple[_Number, _Number] | None = Field(
        None, description="Values outside [low, high] make the record bad."
    )


class BooleanFeatureConfig(_Fields):
    """A true or false of the event (0 and 1 are taken too)."""

    boolean: FieldName = Field(description="The field.")


class CategoricalFeatureConfig(Model):
    """A text (or integer code) with few values."""

    categorical: FieldName = Field(description="The field.")
    encoding: Literal["one_hot", "hash", "rarity"] = Field(
        "one_hot",
        description="`one_hot`: a column for each of `size` values, those that come first or far "
        "more often, and one for all others; `hash`: `size` columns; `rarity`: one column, how "
        "rare the value is.",
    )
    size: int = Field(16, ge=2, le=1024, description="Columns, or values remembered for `rarity`.")
    missing: Literal["reject", "category"] = Field(
        "category", description="Whether a missing value is a bad record or a category of its own."
    )


class TimeFeatureConfig(Model):
    """A part of the event time, as sine and cosine, or a flag."""

    time: Literal["hour_of_day", "day_of_week", "weekend", "night"] = Field(
        description="`night` is before 6:00 UTC; hour and day become a sine and a cosine. None of "
        "them has a part in a score before the stream has been through a whole day (or week)."
    )
    utc_offset: float = Field(0.0, ge=-14, le=14, description="Hours to add to UTC first.")


class DifferenceFeatureConfig(_Fields):
    """First field minus second."""

    difference: tuple[FieldName, FieldName] = Field(description="Two numeric fields.")


class RatioFeatureConfig(_Fields):
    """First field over second; 0 where the second is 0."""

    ratio: tuple[FieldName, FieldName] = Field(description="Two numeric fields.")


def _feature_kind(value: Any) -> str | None:
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", {})
    found = [kind for kind in FEATURE_KINDS if kind in keys]
    return found[0] if len(found) == 1 else None


FEATURE_KINDS = ("numeric", "boolean", "categorical", "time", "difference", "ratio")

Feature = Annotated[
    Annotated[NumericFeatureConfig, Tag("numeric")]
    | Annotated[BooleanFeatureConfig, Tag("boolean")]
    | Annotated[CategoricalFeatureConfig, Tag("categorical")]
    | Annotated[TimeFeatureConfig, Tag("time")]
    | Annotated[DifferenceFeatureConfig, Tag("difference")]
    | Annotated[RatioFeatureConfig, Tag("ratio")],
    Discriminator(
        _feature_kind,
        custom_error_type="feature_kind",
        custom_error_message="a feature has exactly one of the keys " + ", ".join(FEATURE_KINDS),
    ),
]

Statistic: TypeAlias = Literal[
    "count",
    "sum",
    "mean",
    "deviation",
    "ratio",
    "baseline",
    "burst",
    "time_since_last",
    "distinct",
]


class WindowConfig(Model):
    """Running statistics of the events that share a key, forgotten exponentially.

    All are as of just before the event: an event is never part of its own history.
    """

    key: FieldName = Field(description="Field whose value tells whose history it is.")
    half_lives: Annotated[
        list[Annotated[Duration, AfterValidator(positive)]], Field(min_length=1, max_length=8)
    ] = Field(
        description="Event time after which an event counts half; a set of features for each."
    )
    value: FieldName | None = Field(None, description="Numeric field for sum, mean and deviation.")
    distinct_of: FieldName | None = Field(
        None, description="Field whose different values `distinct` counts (decayed estimate)."
    )
    compute: Annotated[list[Statistic], Field(min_length=1, max_length=16)] = Field(
        description="`count`, `sum`, `mean`; `deviation`: the value minus the key's own mean, in "
        "the key's own standard deviations; `ratio`: the value over the key's own mean; "
        "`baseline`: the value over a level of the key's own that moves slowly, whatever comes; "
        "`burst`: a fading sum of how far values exceeded it; `time_since_last`; `distinct`."
    )
    max_keys: int = Field(
        100_000,
        ge=16,
        le=100_000_000,
        description="Keys remembered; those seen seldom and long ago go first.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> WindowConfig:
        needs = {"sum", "mean", "deviation", "ratio", "baseline", "burst"} & set(self.compute)
        if needs and self.value is None:
            raise ValueError(f"{', '.join(sorted(needs))} need `value`, a numeric field")
        if ("distinct" in self.compute) != (self.distinct_of is not None):
            raise ValueError("`distinct` and `distinct_of` go together")
        return self
