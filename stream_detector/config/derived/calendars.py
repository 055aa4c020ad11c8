"""All calendars of a configuration in one text."""

from __future__ import annotations

from stream_detector.calendars import packed_calendars
from stream_detector.config.models.config import Config


def calendars_of(config: Config) -> str:
    """All calendars that monitors go by, with all that results hang on, as the journal keeps them.

    Raises ``CalendarError`` where a file cannot be used that has not been read yet.
    """
    named = {monitor.name: monitor.calendars for monitor in config.monitors}
    used = {name for names in named.values() for name in names}
    resolved = [each.resolved() for each in config.calendars if each.name in used]
    return packed_calendars(resolved, named)
