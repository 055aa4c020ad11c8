"""Calendars: when it is another day than usual, for whom, and what is to be done about it."""
