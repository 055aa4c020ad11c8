"""What can be wrong with a calendar."""

from __future__ import annotations


class CalendarError(ValueError):
    """A calendar that cannot be used; the message says why, and in a file at which line."""
