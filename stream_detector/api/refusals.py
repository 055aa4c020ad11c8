"""Advice on things that are no events: one sentence for each common mistake."""

from __future__ import annotations

from os import PathLike


def no_events(given: object) -> str:
    """Why something holds no events."""
    kind = _kind(given)
    if isinstance(given, str | PathLike):
        return (
            f"events are given as {kind}, which may be a path or JSON. A file: "
            "Path(name).read_bytes() for JSON Lines, pandas.read_csv(name) for CSV, or "
            "backtest(config, name). JSON Lines: text.encode()"
        )
    if getattr(getattr(given, "dtype", None), "names", None):
        return f"{kind} with fields: give pandas.DataFrame.from_records(array)"
    if hasattr(given, "dtype"):
        return (
            f"{kind} has no names of fields: give a frame, for example pandas.DataFrame(array, "
            "columns=[...]), or dicts"
        )
    if hasattr(given, "__aiter__"):
        return f"{kind} gives events asynchronously: process each, or [e async for e in events]"
    return f"{kind} holds no events: give dicts, bytes of JSON Lines or a frame"


def no_event(given: object) -> str:  # noqa: PLR0911 - a sentence each
    """Why something is no event."""
    kind = _kind(given)
    if hasattr(given, "_asdict"):
        return f"an event is a dict, not {kind} (a named tuple): give row._asdict()"
    if hasattr(given, "model_dump"):
        return f"an event is a dict, not {kind}: give event.model_dump()"
    if hasattr(given, "to_dict"):
        return f"an event is a dict, not {kind}: give row.to_dict(), or the whole frame at once"
    if isinstance(given, tuple) and len(given) == 2 and hasattr(given[1], "to_dict"):  # noqa: PLR2004 - a pair
        return f"an event is a dict, not {kind} (of iterrows or groupby): give the frame itself"
    if isinstance(given, tuple | list):
        return (
            f"an event is a dict, not {kind}: its values need names, dict(zip(names, row)); a "
            "stream of River's (x, y) pairs: (x for x, y in stream)"
        )
    if isinstance(given, float | int):
        return f"an event is a dict, not {kind}: its value needs a name, {{'value': {given!r}}}"
    return f"an event is a dict or bytes of JSON, not {kind}"


def _kind(given: object) -> str:
    return f"{type(given).__module__.split('.')[0]}.{type(given).__name__}"
