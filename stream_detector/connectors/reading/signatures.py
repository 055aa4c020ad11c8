"""Tables that say themselves what they are: Zeek, annotated CSV of InfluxDB, W3C logs, ARFF."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from stream_detector.connectors.reading.dialect import BLANKS, Dialect

Kind: TypeAlias = Literal["zeek", "influx", "w3c", "arff"]

_ANNOTATIONS = ("#group", "#datatype", "#default", "#constant", "#timezone", "#concat")
_ESCAPED = re.compile(r"\\x([0-9a-fA-F]{2})")
_ATTRIBUTE = re.compile(
    r"@attribute\s+(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|(\S+))\s+\S", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Signature:
    """Statements in the first lines of a file; attributes as in ``Layout``."""

    kind: Kind
    said: str
    dialect: Dialect
    columns: Sequence[str]
    start: int
    comment: str
    missing: frozenset[str] = frozenset()
    skip_first: bool = False
    fill: Mapping[int, str] = field(default_factory=dict)


def signature_of(lines: Sequence[str]) -> Signature | None:
    """The signature of a file that begins with these lines, if it has one."""
    first = next((line for line in lines if line.strip()), "")
    lower = first.lower()
    if lower.startswith(("#separator", "#fields\t")):
        return zeek(lines)
    if lower.replace(" ", ",").split(",")[0] in _ANNOTATIONS:
        return influx(lines)
    if lower.startswith("#") and any(line.startswith("#Fields:") for line in lines[:20]):
        return w3c(lines)
    if lower.startswith(("@relation", "%")):
        return arff(lines)
    return None


def zeek(lines: Sequence[str], before: Signature | None = None) -> Signature | None:
    """A log of Zeek (or Bro): ``#separator``, ``#fields`` and more, then rows without quotes.

    ``before`` is the header of the same file further up, whose separator may still hold.
    """
    separator = before.dialect.delimiter if before is not None else "\t"
    unset, empty, names = "-", "(empty)", []
    start = 0
    for index, line in enumerate(lines):
        if not line.startswith("#"):
            break
        start = index + 1
        if line.startswith("#separator"):
            separator = _unescaped(line.removeprefix("#separator").strip(" ")) or separator
            continue
        key, _, value = line.partition(separator)
        if key == "#fields":
            names = value.split(separator)
        elif key == "#unset_field":
            unset = value
        elif key == "#empty_field":
            empty = value
    if not names:
        return None
    return Signature(
        "zeek",
        f"this is a log of Zeek: {len(names)} fields by its own header, {unset} means none",
        Dialect(separator, quote=""),
        names,
        start,
        "#",
        frozenset((unset, empty)),
    )


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def influx(lines: Sequence[str]) -> Signature | None:
    """Annotated CSV of InfluxDB: lines with # about the columns, then the header."""
    defaults: list[str] = []
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        cells = next(csv.reader([line]), [])
        if line.startswith("#"):
            if cells[0].strip() == "#default":
                defaults = cells
            continue
        skip = cells[0] == ""
        names = cells[1:] if skip else cells
        if not names:
            return None
        fill = {place: cell for place, cell in enumerate(defaults[1:] if skip else []) if cell}
        said = "this is annotated CSV of InfluxDB; lines with # describe the columns"
        return Signature(
            "influx", said, Dialect(), names, index + 1, "#", skip_first=skip, fill=fill
        )
    return None


def w3c(lines: Sequence[str]) -> Signature | None:
    """A log in the extended format of the W3C (IIS, CloudFront): ``#Fields:`` and blanks."""
    start, names = 0, []
    for index, line in enumerate(lines):
        if not line.startswith("#"):
            break
        start = index + 1
        if line.startswith("#Fields:"):
            names = line.removeprefix("#Fields:").split()
    if not names or start >= len(lines):
        return None
    dialect = Dialect("\t", quote="") if "\t" in lines[start] else Dialect(BLANKS)
    said = f"this is a log in the W3C's format: {len(names)} fields by its own header, - means none"
    return Signature("w3c", said, dialect, names, start, "#", frozenset(("-",)))


def arff(lines: Sequence[str]) -> Signature | None:
    """A data set of Weka: ``@attribute`` for each column, then ``@data``."""
    names: list[str] = []
    for index, line in enumerate(lines):
        text = line.strip()
        lower = text.lower()
        if found := _ATTRIBUTE.match(text):
            names.append(next(name for name in found.groups() if name is not None))
        elif lower == "@data" and names:
            row = next((one for one in lines[index + 1 :] if one.strip()[:1] not in ("", "%")), "")
            if row.startswith("{"):
                return None  # sparse: index and value of what is not zero
            said = f"this is an ARFF file: {len(names)} attributes by its own header"
            quote = "'" if "'" in row else '"'
            dialect = Dialect(",", quote, "\\" if "\\" in row else "", skip_blanks=True)
            return Signature("arff", said, dialect, names, index + 1, "%", frozenset(("?",)))
        elif lower and not lower.startswith(("@relation", "%", "@attribute")):
            return None
    return None
