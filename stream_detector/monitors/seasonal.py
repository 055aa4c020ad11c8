"""Settings of monitors that learn what is usual in each bucket of a season."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from stream_detector.cells.zones import zone_of
from stream_detector.monitors.base import MonitorConfig
from stream_detector.parameters import human
from stream_detector.units import Duration

_SHORTEST_BUCKET, _HOUR, _DAY = 10.0, 3600.0, 86_400.0


def known_zone(name: str) -> str:
    """``name``, if it is a time zone's; raises ``ValueError``."""
    zone_of(name)
    return name


class SeasonalMonitorConfig(MonitorConfig):
    """Settings of a monitor with a season."""

    bucket: Duration = Field(
        human("1h"), description="Length of a bucket; an hour has a whole number of them, or a day."
    )
    season: Literal["none", "hour_of_day", "hour_of_week"] = Field(
        "hour_of_week", description="The cycle that the usual rate follows."
    )
    zone: Annotated[str, Field(max_length=64), AfterValidator(known_zone)] = Field(
        "UTC", description="Time zone of the season, for example `Europe/Berlin`."
    )
    half_life: Duration = Field(
        human("28d"), description="Event time after which what was usual counts half."
    )

    @model_validator(mode="after")
    def _season_fits(self) -> SeasonalMonitorConfig:
        if not _SHORTEST_BUCKET <= self.bucket <= _DAY:
            raise ValueError("a bucket is 10 seconds to a day long")
        within = _HOUR if self.bucket <= _HOUR else _DAY
        if within % self.bucket:
            raise ValueError("an hour (or a day) must have a whole number of buckets")
        if self.half_life < self.bucket:
            raise ValueError("half_life is shorter than a bucket")
        return self
