"""The section `calendars`: when it is another day than usual, and what is done about it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from stream_detector.calendars.files import read_file
from stream_detector.calendars.public import holidays_of
from stream_detector.calendars.spans import read_moment, read_weekly
from stream_detector.cells.zones import zone_of
from stream_detector.parameters import Model, PathName, Text

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _known_zone(name: str) -> str:
    zone_of(name)
    return name


class CalendarConfig(Model):
    """A calendar: of a file, of public holidays, of weekly hours, or one stretch of time."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,64}$")] = Field(
        description="Name, by which monitors refer to it; appears in alerts."
    )
    file: PathName | None = Field(
        None, description="An iCalendar file (`.ics`), read at the start; nothing is downloaded."
    )
    country: Annotated[str, Field(pattern=r"^[A-Z]{2,3}$")] | None = Field(
        None, description="Instead: its public holidays, by ISO 3166 code, such as `DE`."
    )
    subdivision: Text | None = Field(
        None, min_length=1, description="State or region of it, such as `BY`."
    )
    weekly: Annotated[list[Text], Field(min_length=1, max_length=100)] | None = Field(
        None,
        description="Instead: hours of the week, such as `Sun 02:00-04:00`, `Mon-Fri 22:00-06:00`.",
    )
    start: Text | None = Field(
        None, description="Instead: begin of one stretch of time, such as `2024-05-01T02:00`."
    )
    end: Text | None = Field(None, description="Its end.")
    zone: Annotated[str, Field(max_length=64), AfterValidator(_known_zone)] = Field(
        "UTC", description="Time zone of all that names none, for example `Europe/Berlin`."
    )
    keys: Annotated[list[Text], Field(min_length=1, max_length=10_000)] | None = Field(
        None, description="Keys that it is about. Default: all."
    )
    skip: Annotated[list[Literal["alert", "learning"]], Field(max_length=2)] = Field(
        default_factory=list, description="What is left out in these times: either, or both."
    )
    expect: float | None = Field(
        None, ge=0, le=1000, description="Factor of what is expected in these times, such as `0.3`."
    )
    like: (
        Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] | None
    ) = Field(
        None,
        description="Weekday that these times are taken for, with `season: hour_of_week`; public "
        "holidays are often `like: sunday`.",
    )

    _content: Any = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _consistent(self) -> CalendarConfig:
        given = [self.file, self.country, self.weekly, self.start]
        if sum(each is not None for each in given) != 1:
            raise ValueError("give one of file, country, weekly, and start with end")
        if (self.start is None) != (self.end is None):
            raise ValueError("start needs end, and end needs start")
        if self.subdivision is not None and self.country is None:
            raise ValueError("subdivision needs country")
        if not self.skip and self.expect is None and self.like is None:
            raise ValueError("give skip, expect or like: what is to be done in these times")
        if self.expect is not None and self.like is not None:
            raise ValueError("give one of expect and like")
        if self.weekly is not None:
            for rule in self.weekly:
                read_weekly(rule)
        if self.start is not None and self.end is not None:
            begin, end = (read_moment(each, self.zone) for each in (self.start, self.end))
            if begin >= end:
                raise ValueError("start lies before end")
        return self

    def read(self) -> None:
        """Read the file, or look the holidays up.

        Raises ``CalendarError``: file or country cannot be used; the message says why.
        """
        if self.file is not None:
            self._content = read_file(self.file, self.zone)
        elif self.country is not None:
            self._content = holidays_of(self.country, self.subdivision)

    @property
    def source(self) -> str:
        """The key that says where its times come from."""
        return next(key for key in ("file", "country", "weekly", "start") if getattr(self, key))

    def resolved(self) -> dict[str, Any]:
        """Everything that results hang on, as plain JSON, the content of the file included."""
        plain = {
            "name": self.name,
            "zone": self.zone,
            "keys": None if self.keys is None else sorted(set(self.keys)),
            "skip": sorted(set(self.skip)),
            "expect": self.expect,
            "like": None if self.like is None else WEEKDAYS.index(self.like),
        }
        if self.weekly is not None:
            return {**plain, "weekly": list(self.weekly)}
        if self.start is not None:
            return {**plain, "start": self.start, "end": self.end}
        if self._content is None:
            self.read()
        return {**plain, "file" if self.file is not None else "days": self._content}
