"""The one way to the terminal: what a command prints is text, whatever its data hold."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from stream_detector.visible import visible_json, visible_lines


def say(text: object = "", *, file: TextIO | None = None, end: str = "\n") -> None:
    """Print a text of one or more lines, and at once; what nobody sees is shown by its number.

    Line breaks stay, so a value of others that stands inside of a line has to go through
    ``shown`` or ``visible`` before.
    """
    stream = sys.stdout if file is None else file
    stream.write(visible_lines(str(text)) + end)
    stream.flush()


def say_json(value: Any, indent: int | None = None) -> None:
    """Print a value as JSON, in ASCII that any terminal shows as it is."""
    say("\n".join(map(visible_json, json.dumps(value, indent=indent).split("\n"))))


def warn(text: object) -> None:
    """Print to standard error."""
    say(text, file=sys.stderr)


def take_any_text() -> None:
    """Let both streams write any character: one that the terminal's encoding lacks by its number.

    A terminal in Latin-1 ended a command with a traceback at the first name in Cyrillic.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
