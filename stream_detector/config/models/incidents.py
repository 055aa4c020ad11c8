"""The section `incidents`: which alerts belong together, and when what they tell is over."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from stream_detector.config.models.base import FieldName, Model, human
from stream_detector.units import SECONDS_PER_UNIT, Duration

MOST_FIELDS = 16
"""Fields whose values are compared, at most."""

_LONGEST = 400 * SECONDS_PER_UNIT["d"]


def _duration(default: str, description: str) -> Duration:
    """A setting of more than nothing and at most 400 days."""
    field: Duration = Field(human(default), gt=0, le=_LONGEST, description=description)
    return field


class IncidentsConfig(Model):
    """Incidents: which alerts belong together, and when what they tell is over."""

    fields: Annotated[list[FieldName], Field(min_length=1, max_length=MOST_FIELDS)] | None = Field(
        None,
        description="Fields whose values alerts may share, the key that a single alert is about "
        "first. Default: the keys of suppression, windows and monitors and the categorical fields, "
        f"{MOST_FIELDS} at most.",
    )
    group_wait: Duration = _duration(
        "30s",
        "Event time for which an incident waits for others that begin with it before it is opened.",
    )
    quiet: Duration = _duration("30m", "Event time without an alert after which it may be over.")
    longest_quiet: Duration = _duration(
        "3d",
        "Event time without an alert after which what had come back is over, though events that "
        "would show it are yet to come.",
    )
    longest_ongoing: Duration = _duration(
        "14d",
        "Event time after which an incident that monitors have not seen end is over all the same.",
    )
    reopen_within: Duration = _duration(
        "2h", "Event time since its end within which an incident is opened again, not a new one."
    )
    half_life: Duration = _duration(
        "7d", "Event time after which what is usual, of alerts and of events, counts half."
    )
    max_open: int = Field(
        1000, ge=1, le=100_000, description="Open incidents; the one quiet for longest ends first."
    )
    max_closed: int = Field(
        1000, ge=0, le=100_000, description="Ended ones that may be opened again; the oldest go."
    )
    max_values: int = Field(
        20_000,
        ge=100,
        le=1_000_000,
        description="Values a field whose usual share is known; the rarest go first.",
    )

    @model_validator(mode="after")
    def _fits(self) -> IncidentsConfig:
        if self.longest_quiet < self.quiet:
            raise ValueError("longest_quiet is shorter than quiet")
        if self.fields is not None and len(set(self.fields)) < len(self.fields):
            raise ValueError("fields: a field comes twice")
        return self
