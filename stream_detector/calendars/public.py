"""Public holidays of a country."""

from __future__ import annotations

from stream_detector.calendars.errors import CalendarError

FIRST_YEAR, LAST_YEAR = 1990, 2060
"""Years looked up: all of them stand in the journal, so they cannot be looked up one by one."""


def holidays_of(country: str, subdivision: str | None) -> dict[str, str]:
    """Name of each holiday by its day, ``2024-12-25``.

    Raises ``CalendarError`` where country or subdivision is not known, or the library is missing.
    """
    try:
        import holidays  # noqa: PLC0415 - of an extra, and slow: only whoever asks for it waits
    except ImportError as error:
        raise CalendarError(
            "public holidays need the extra `calendars`: pip install stream-detector[calendars]"
        ) from error
    try:
        # In the country's own language: without one it is that of the process's environment.
        language = holidays.country_holidays(country).default_language
        years = range(FIRST_YEAR, LAST_YEAR + 1)
        found = holidays.country_holidays(
            country, subdiv=subdivision, years=years, language=language
        )
    except NotImplementedError as error:
        what = country if subdivision is None else f"{country} with subdivision {subdivision}"
        raise CalendarError(f"no holidays are known of {what}") from error
    return {day.isoformat(): str(name) for day, name in sorted(found.items())}
