"""The section `labels`: what is known later of an event, and what is made of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from stream_detector.config.models.base import (
    MANY_ROWS,
    FieldName,
    Model,
    Name,
    PathName,
    Text,
    human,
    positive,
)
from stream_detector.config.models.event import Format
from stream_detector.units import Duration

_Words = Annotated[list[Text], Field(max_length=10_000)]


class RiskConfig(Model):
    """Shares of a key's events that turned out to be anomalous: features of its next events."""

    key: FieldName = Field(description="Field whose value tells whose record it is.")
    half_lives: Annotated[
        list[Annotated[Duration, AfterValidator(positive)]], Field(min_length=1, max_length=8)
    ] = Field(
        default_factory=lambda: [human(each) for each in ("17h", "5d", "21d")],
        description="Event time after which an event counts half; default `[17h, 5d, 21d]`.",
    )
    max_keys: int = Field(
        100_000,
        ge=16,
        le=100_000_000,
        description="Keys remembered; those seen seldom and long ago go first.",
    )
    max_events: int = Field(
        1_000_000,
        ge=1,
        le=MANY_ROWS,
        description="Events that wait for their label, and with `kafka.labels` as many that were "
        "counted and may be corrected; the oldest go first.",
    )


class LabelsConfig(Model):
    """Labels that are known only later, as chargebacks are: in the event, or on `kafka.labels`."""

    field: FieldName | None = Field(
        None,
        description="Field of the event: 1/true is anomalous, 0/false normal, absent unknown. "
        "Not looked at before `delay` has passed.",
    )
    format: Format = Field("json", description="Of `kafka.labels`, as `event.format`.")
    schema_file: PathName | None = Field(None, description="As `event.schema_file`.")
    message: Name | None = Field(None, description="As `event.message`.")
    positive: _Words | None = Field(
        None, description="Values that mean anomalous, for labels that are names."
    )
    negative: _Words | None = Field(
        None, description="Values that mean normal, all others being anomalous."
    )
    delay: Duration = Field(description="Event time after which a label is known.")
    absent: Literal["unknown", "normal"] = Field(
        "unknown", description="What it means that there is no label when the delay is over."
    )
    keep_first: int = Field(
        100_000,
        ge=0,
        le=MANY_ROWS,
        description="First events of a stream that all wait for their labels.",
    )
    keep_top: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Share of each later chunk, its highest scores, that waits for labels.",
    )
    keep_random: float = Field(
        0.02, ge=0, le=1, description="Share of the later events that waits besides, at random."
    )
    max_waiting: int = Field(
        200_000,
        ge=1,
        le=MANY_ROWS,
        description="Feature rows that wait for labels; the oldest go first.",
    )
    risk: Annotated[list[RiskConfig], Field(max_length=8)] = Field(
        default_factory=list, description="Keys whose known labels become features."
    )
