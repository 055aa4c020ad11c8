"""Reads the files of calendars, with the configuration: what is in them is as good as in it."""

from __future__ import annotations

from stream_detector.calendars import LARGEST_PACKED, CalendarError
from stream_detector.config.derived.calendars import calendars_of
from stream_detector.config.loading.document import Document
from stream_detector.config.models.config import Config


def read_calendars(document: Document, config: Config) -> None:
    """Read files and look holidays up; report what cannot be used to ``document``."""
    for index, calendar in enumerate(config.calendars):
        try:
            calendar.read()
        except CalendarError as error:
            document.report(("calendars", index, calendar.source), str(error))
    if not document.diagnostics and len(calendars_of(config)) > LARGEST_PACKED:
        document.report(
            ("calendars",),
            f"packed, all calendars together have more than {LARGEST_PACKED:,} characters: leave "
            "out what is long past",
        )
