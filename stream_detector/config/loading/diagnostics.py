"""Mistakes of a configuration and their places: one line a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

from stream_detector.errors import ConfigurationError
from stream_detector.visible import visible

Path: TypeAlias = tuple[str | int, ...]
"""Where a value stands in the configuration: keys of mappings and indices of lists."""

_SHOWN_MISTAKES = 100
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A mistake in a configuration.

    Attributes:
        source: the file's name as given, or the flag (``--set metrics.port``).
        line: counted from 1; None where the source has no lines.
        column: counted from 1, in characters.
        path: the value that it is about; empty for the whole file.
        message: what is wrong. Holds nothing that came from the environment, and no secret.
    """

    source: str
    line: int | None
    column: int | None
    path: Path
    message: str

    def __str__(self) -> str:
        place = self.source
        if self.line is not None:
            place += f":{self.line}:{self.column}"
        path = format_path(self.path)
        if not path or place.endswith(f"--set {path}"):
            return f"{place}: {self.message}"
        return f"{place}: {path}: {self.message}"


class InvalidConfigurationError(ConfigurationError):
    """A configuration with mistakes; the message has one line for each.

    Attributes:
        diagnostics: the mistakes, in the order of the file.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        # An alias shows its mistake to each section that uses it; a reader wants it once.
        unique = dict.fromkeys(diagnostics)
        self.diagnostics: tuple[Diagnostic, ...] = tuple(
            sorted(unique, key=lambda d: (d.line is None, d.line or 0, d.column or 0))
        )
        lines = [str(diagnostic) for diagnostic in self.diagnostics[:_SHOWN_MISTAKES]]
        if len(self.diagnostics) > _SHOWN_MISTAKES:
            lines.append(f"... and {len(self.diagnostics) - _SHOWN_MISTAKES} more mistakes")
        super().__init__("\n".join(lines))


def format_path(path: Path) -> str:
    """``('features', 2, 'range')`` -> ``features[2].range``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{printable(step)}"
    return text.removeprefix(".")


def quoted(text: str) -> str:
    """``text`` in quotes on one line, shortened where it is long."""
    return f"'{printable(text)}'"


def printable(text: str) -> str:
    """``text`` without line breaks and control characters, shortened where it is long."""
    if len(text) > _SHOWN_CHARACTERS:
        text = text[: _SHOWN_CHARACTERS - 3] + "..."
    return visible(text)


def nearest(word: str, choices: Sequence[str]) -> str | None:
    """The choice that ``word`` is most likely a typo of, or None.

    >>> nearest("treshold", ["threshold", "windows"])
    'threshold'
    """
    if len(word) > _SHOWN_CHARACTERS:
        return None
    folded = {choice.casefold(): choice for choice in choices}
    wanted = word.strip().casefold().replace("-", "_").replace(".", "_")
    found = get_close_matches(wanted, folded, n=1)
    return folded[found[0]] if found else None


def suggestion(word: str, choices: Sequence[str]) -> str:
    """``"; did you mean 'x'?"`` or nothing, to go behind a message."""
    found = nearest(word, choices)
    return f"; did you mean {found!r}?" if found is not None else ""
