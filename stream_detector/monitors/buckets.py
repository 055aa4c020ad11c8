"""Settings of monitors that look at what happens in buckets of time."""

from __future__ import annotations

from statistics import NormalDist
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from stream_detector.calendars import CalendarConfig
from stream_detector.monitors.seasonal import SeasonalMonitorConfig
from stream_detector.parameters import FieldName
from stream_detector.units import Budget


class BucketMonitorConfig(SeasonalMonitorConfig):
    """Settings of a monitor that looks at buckets of time."""

    told: ClassVar[frozenset[str]] = frozenset({"side", "budget", "deviations", "p"})

    side: Literal["both", "high", "low"] = Field(
        "both", description="Whether too many, too few or both are alerted."
    )
    widths: Annotated[
        list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=1, max_length=16)
    ] = Field(
        default_factory=lambda: [2, 3, 6, 8, 24, 120],
        description="Numbers of buckets that are looked at together: short ones find silence, long "
        "ones a slow leak.",
    )
    budget: Budget | None = Field(
        None,
        description="Buckets of a key that may be alerted, such as `1 per day`. Default: "
        "`deviations`.",
    )
    deviations: float = Field(
        4.5,
        ge=2,
        le=100,
        description="Deviations from the expected number that are alerted, where there is no "
        "`budget`, or it is not known yet what keeps it.",
    )
    p: float | None = Field(
        None,
        ge=1e-15,
        le=0.05,
        description="Instead of `deviations`: the probability that a bucket deviates so far by "
        "chance, at one width.",
    )
    population: bool = Field(
        True,
        description="Whether a key is held against the pace and the unrest of all others: what "
        "happens to all of them is no incident of one.",
    )
    over: FieldName | None = Field(
        None,
        description="Field by whose newest value keys are told apart for this: a key is held "
        "against those of the same value (shops of the same region). Default: against all.",
    )
    max_keys: int = Field(
        1000,
        ge=1,
        le=1_000_000,
        description="Keys remembered; those with the least history go first. A key takes 16 bytes "
        "for each bucket of the season and 16 for each of the longest width.",
    )

    @model_validator(mode="after")
    def _fits(self) -> BucketMonitorConfig:
        if self.budget is not None and self.budget.per_second is None:
            raise ValueError("budget: give a rate, such as `1 per day`: buckets are no events")
        if self.p is not None and "deviations" in self.model_fields_set:
            raise ValueError("give one of deviations and p")
        if self.over is not None and (self.key is None or not self.population):
            raise ValueError("over: needs `key`, and a `population` that keys are held against")
        return self

    def check_calendar(self, calendar: CalendarConfig) -> None:
        """Such a monitor does all that calendars ask for, if keys can be told apart."""
        if calendar.keys is not None and self.key is None:
            raise ValueError(f"monitors: {calendar.name} names keys, {self.name} has no `key`")

    @property
    def text_fields(self) -> tuple[str, ...]:
        """The key, that of ``over``, and those of ``where``."""
        return super().text_fields + (() if self.over is None else (self.over,))

    @property
    def limit(self) -> float:
        """Deviations that are alerted where no budget says otherwise."""
        if self.p is None:
            return self.deviations
        tail = self.p / 2 if self.side == "both" else self.p
        return -NormalDist().inv_cdf(tail)
