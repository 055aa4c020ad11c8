"""Settings of a monitor of silence, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from stream_detector.cells.zones import zone_of
from stream_detector.monitors.base import Finding, MonitorConfig
from stream_detector.parameters import human
from stream_detector.units import Budget, Duration

_SHORTEST_BUCKET, _HOUR, _DAY = 10.0, 3600.0, 86_400.0


def _known_zone(name: str) -> str:
    zone_of(name)
    return name


class SilenceMonitorConfig(MonitorConfig):
    """Watch on silence: no event for longer than the usual rate, and all others, can explain."""

    told: ClassVar[frozenset[str]] = frozenset({"budget"})

    kind: Literal["silence"] = Field("silence", description="What is watched: that events come.")
    of: Literal["everything", "partition", "topic"] = Field(
        "everything",
        description="What may fall silent where there is no `key`: the stream as a whole, or each "
        "partition or topic of it.",
    )
    bucket: Duration = Field(
        human("1h"), description="Length of a bucket, in which the usual rate is learnt."
    )
    season: Literal["none", "hour_of_day", "hour_of_week"] = Field(
        "hour_of_week", description="The cycle that the usual rate follows."
    )
    zone: Annotated[str, Field(max_length=64), AfterValidator(_known_zone)] = Field(
        "UTC", description="Time zone of the season, for example `Europe/Berlin`."
    )
    half_life: Duration = Field(
        human("28d"), description="Event time after which what was usual counts half."
    )
    budget: Budget = Field(
        default_factory=lambda: Budget.parse("1 per week"),
        description="Alerts that chance alone may bring, of all keys together.",
    )
    population: bool = Field(
        True, description="Whether a key is held against the pace of all others."
    )
    max_keys: int = Field(
        1000,
        ge=1,
        le=1_000_000,
        description="Keys remembered; those with the least history go first. A key takes 16 bytes "
        "for each bucket of the season, and 88.",
    )

    @model_validator(mode="after")
    def _fits(self) -> SilenceMonitorConfig:
        within = _HOUR if self.bucket <= _HOUR else _DAY
        if not _SHORTEST_BUCKET <= self.bucket <= _DAY or within % self.bucket:
            raise ValueError("a bucket is 10 s to a day; an hour (or a day) has a whole number")
        if self.budget.per_second is None:
            raise ValueError("budget: give a rate, such as `1 per week`: silence is no event")
        if self.key is not None and self.of != "everything":
            raise ValueError("of: a key is given, and so it is keys that may fall silent")
        if self.half_life < self.bucket:
            raise ValueError("half_life is shorter than a bucket")
        return self


@dataclass(frozen=True, slots=True)
class Silence(Finding):
    """No event since ``start_ms``, as seen at ``end_ms``.

    Attributes:
        expected: events that were to be expected meanwhile, at the others' pace.
        pace: what the others did, as a multiple of what was usual for them.
        usual_ms: how long one gap of a hundred would last at this rate.
    """

    expected: float
    pace: float
    usual_ms: float

    def reasons(self) -> list[dict[str, Any]]:
        """One: how many seconds it has been, and may usually be.

        Deviations are those of a normal distribution that are as rare; too few, hence negative.
        """
        return [
            {
                "feature": "silence",
                "value": (self.end_ms - self.start_ms) / 1000,
                "share": 1.0,
                "deviations": NormalDist().inv_cdf(10**-self.score),
                "usual": [0.0, self.usual_ms / 1000],
            }
        ]

    def details(self) -> dict[str, Any]:
        """No event, where so many were expected."""
        return {"actual": 0, "expected": self.expected, "pace_of_others": self.pace}
