"""Settings of a monitor of silence, and what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from stream_detector.calendars import CalendarConfig
from stream_detector.monitors.base import Finding, MonitorEvents
from stream_detector.monitors.seasonal import SeasonalMonitorConfig
from stream_detector.parameters import human
from stream_detector.units import Budget, Duration


class SilenceMonitorConfig(SeasonalMonitorConfig):
    """Watch on silence: no event for longer than the usual rate, and all others, can explain."""

    told: ClassVar[frozenset[str]] = frozenset({"budget"})

    kind: Literal["silence"] = Field("silence", description="What is watched: that events come.")
    of: Literal["everything", "partition", "topic"] = Field(
        "everything",
        description="What may fall silent where there is no `key`: the stream as a whole, or each "
        "partition or topic of it.",
    )
    bucket: Duration = Field(
        human("20m"), description="Length of a bucket, in which the usual rate is learnt."
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
        "for each bucket of the season, and 112.",
    )

    def check_calendar(self, calendar: CalendarConfig) -> None:
        """Such a monitor does all that calendars ask for, if keys can be told apart."""
        if calendar.keys is not None and self.key is None and self.of == "everything":
            raise ValueError(f"monitors: {calendar.name} names keys, {self.name} has no `key`")

    @model_validator(mode="after")
    def _fits(self) -> SilenceMonitorConfig:
        if self.budget.per_second is None:
            raise ValueError("budget: give a rate, such as `1 per week`: silence is no event")
        if self.key is not None and self.of != "everything":
            raise ValueError("of: a key is given, and so it is keys that may fall silent")
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


def keys_of(events: MonitorEvents, config: SilenceMonitorConfig) -> Sequence[str | None]:
    """What may fall silent, of each event; None where it is not counted."""
    keys = events.keys(config.key)
    if config.key is not None or config.of == "everything":
        return keys if keys is not None else [""] * len(events)
    of_topic = config.of == "topic"
    names = [one.topic if of_topic else str(one) for one in events.partitions.tolist()]
    if events.counted is None:
        return names
    pairs = zip(names, events.counted.tolist(), strict=True)
    return [name if counts else None for name, counts in pairs]
