"""Kinds of a table's cells, as far as its dialect and header are judged by them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["empty", "number", "time", "address", "text"]

_NUMBER = re.compile(
    r"""\s* (?:[-+(]\s*)? (?:[$€£¥₹]\s*)? [-+]?
    (?: \d{1,3}(?:[,.' \u00a0\u202f]\d{3})+ (?:[.,]\d+)? | \d+(?:[.,]\d*)? | [.,]\d+ )
    (?:[eE][-+]?\d+)? \s* \)? (?:\s*(?:[%$€£¥₹]|[A-Z]{3}))? \s*""",
    re.VERBOSE,
)
_TIME = re.compile(
    r"""\s* (?:
      \d{1,4}[-/.]\d{1,2}[-/.]\d{1,4} (?:[T ,]+\d{1,2}:\d{2}.*)?
    | \d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)? (?:\s*[AaPp]\.?[Mm]\.?)?
    | \d{1,2}[-/ ][A-Za-z]{3,9}[-/ ,]+\d{2,4}.*
    | (?:[A-Z][a-z]{2},\s*)?\d{1,2}\s[A-Z][a-z]{2,8}\s\d{2,4}.*
    | (?:[A-Z][a-z]{2}\s+)?[A-Z][a-z]{2,8}\s+\d{1,2},?\s+(?:\d{4}|\d{1,2}:\d{2}).*
    | \d{8}T\d{6}.*
    ) \s*""",
    re.VERBOSE,
)
_ADDRESS = re.compile(
    r"\s*(?:\d{1,3}(?:\.\d{1,3}){3}(?:[:/]\d+)?|(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}"
    r"|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){3,7}"
    r"|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})\s*"
)
_MISSING = frozenset(
    ("", "-", "?", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "inf", "-inf", "infinity")
)
_MOSTLY = 0.8
_DIGIT, _LETTERS = re.compile(r"\d+"), re.compile(r"[^\W\d_]+")


def kind_of(cell: str) -> Kind:
    """Return what a cell looks like; words for missing values count as empty."""
    if cell.strip().lower() in _MISSING:
        return "empty"
    if _NUMBER.fullmatch(cell):
        return "number"
    if _TIME.fullmatch(cell):
        return "time"
    return "address" if _ADDRESS.fullmatch(cell) else "text"


def common_kind(cells: Sequence[str]) -> Kind:
    """Return what nearly all cells of a column look like; ``text`` where they differ."""
    kinds = Counter(kind_of(cell) for cell in cells)
    empty = kinds.pop("empty", 0)
    if not kinds:
        return "empty"
    kind, count = kinds.most_common(1)[0]
    return kind if count >= _MOSTLY * (len(cells) - empty) else "text"


def shape_of(cell: str) -> str:
    """A cell with every run of digits as 9 and every run of letters as a: ``pump-12`` is a-9."""
    return _LETTERS.sub("a", _DIGIT.sub("9", cell.strip()))
