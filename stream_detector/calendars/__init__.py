"""Calendars: when it is another day than usual, for whom, and what is to be done about it."""

from stream_detector.calendars.book import LARGEST_PACKED, CalendarBook, packed_calendars
from stream_detector.calendars.effects import NO_CALENDARS, Calendars
from stream_detector.calendars.errors import CalendarError
from stream_detector.calendars.settings import CalendarConfig

__all__ = [
    "LARGEST_PACKED",
    "NO_CALENDARS",
    "CalendarBook",
    "CalendarConfig",
    "CalendarError",
    "Calendars",
    "packed_calendars",
]
