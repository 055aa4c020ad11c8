"""The header of a table: whether its first row is one, and the names of the columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from stream_detector.connectors.reading.cells import common_kind, kind_of, shape_of
from stream_detector.connectors.reading.notes import FileNote

_TYPED = frozenset(("number", "time", "address"))
_LEAST_ROWS = 5
_MOSTLY = 0.8
_NAMED = 5
_PLAIN = str.maketrans('"\\', "'/")
"""What stands for characters that no field may have in its name."""


def is_header(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Tell whether a first row holds names and no values, by the rows that follow.

    A name over numbers or times speaks for a header, a number over numbers against it; where all
    is text, values that return or have the shape of those below speak against it.
    """
    cells = [cell.strip() for cell in first]
    if _counts(cells, rest):
        return True
    columns = [[row[index] for row in rest if index < len(row)] for index in range(len(first))]
    names = values = texts = returning = alike = 0
    for cell, column in zip(cells, columns, strict=True):
        kind, own = common_kind(column), kind_of(cell)
        if kind in _TYPED:
            names += own == "text"
            values += own == kind
        elif kind == "text":
            texts += 1
            returning += cell in map(str.strip, column)
            alike += _shares_shape(cell, column)
    if names != values:
        return names > values
    if len(rest) >= _LEAST_ROWS and 2 * (returning + alike) > texts > 0:
        return False
    if names or any(kind_of(cell) == "text" for cell in cells):
        return 2 * sum(kind_of(cell) in _TYPED for cell in cells) <= len(cells)
    return not any(kind_of(cell) in _TYPED for cell in cells)


def is_second_header(row: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Tell whether a row below the header holds no values: text over numbers and times."""
    above = 0
    for index, cell in enumerate(row):
        own = kind_of(cell)
        if own in _TYPED:
            return False
        below = [later[index] for later in rest if index < len(later) and later[index].strip()]
        if own == "text" and len(below) >= _LEAST_ROWS:
            above += common_kind(below) in _TYPED
    return above > 1


def _counts(cells: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Tell whether a first row's numbers count up one by one, and the second's do not."""
    numbers = [int(cell) for cell in cells if re.fullmatch(r"\d{1,6}", cell)]
    words = [cell for cell in cells if cell and kind_of(cell) in _TYPED]
    if len(numbers) < 3 or len(numbers) != len(words) or not rest:  # noqa: PLR2004 - a row of them
        return False
    below = [cell for cell in rest[0] if kind_of(cell) == "number"]
    return _by_one(cells) and not _by_one(below)


def _by_one(cells: Sequence[str]) -> bool:
    numbers = [int(cell) for cell in cells if re.fullmatch(r"\s*\d{1,6}\s*", cell)]
    return len(numbers) > 1 and all(after == before + 1 for before, after in pairwise(numbers))


def _shares_shape(cell: str, column: Sequence[str]) -> bool:
    """Tell whether a text with digits has the shape of nearly all below it: pump-0 over pump-1."""
    shapes = Counter(shape_of(other) for other in column if other.strip())
    if not shapes:
        return False
    shape, count = shapes.most_common(1)[0]
    return "9" in shape and shape_of(cell) == shape and count >= _MOSTLY * len(column)


def named(cells: Sequence[str]) -> tuple[list[str], list[FileNote]]:
    """Names of columns, each only once, and what was done to make them so."""
    names: list[str] = []
    notes: list[FileNote] = []
    taken = {" ".join(cell.split()) for cell in cells}
    unnamed, again, changed = [], [], []
    given: set[str] = set()
    for number, cell in enumerate(cells, start=1):
        name = " ".join(cell.split()) if not cell.isprintable() else cell.strip()
        if (plain := name.translate(_PLAIN)) != name:
            changed.append((name, plain))
            name = plain
        if not name:
            name = f"column_{number}"
            unnamed.append(name)
        if name in given:
            base, count = name, 2
            while name in given or name in taken:
                name = f"{base}_{count}"
                count += 1
            again.append((base, name))
        names.append(name)
        given.add(name)
    if changed:
        told = _some([f"{name} is called {plain}" for name, plain in changed])
        notes.append(FileNote("header", f"no configuration can hold a quote in a name: {told}"))
    if unnamed:
        text = f"columns without a name are called by their number: {_some(unnamed)}"
        notes.append(FileNote("header", text))
    if again:
        twice = _some([f'"{base}" is called "{name}"' for base, name in again])
        notes.append(FileNote("header", f"column names that occur again have a number: {twice}"))
    return names, notes


def numbered(width: int) -> list[str]:
    """Names of the columns of a table without a header."""
    return [f"column_{number}" for number in range(1, width + 1)]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
