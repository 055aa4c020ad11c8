"""The dialect of a table of text: delimiter, quotes and escapes, found from its first lines.

Every plausible combination is tried on the same lines; taken is the one under which the rows have
one width and the cells look whole. That is also how clevercsv and Python 3.16 go about it.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from stream_detector.connectors.reading.cells import kind_of

BLANKS = "blanks"
ONE_COLUMN = "\x1f"
"""A delimiter that no text holds: the table has one column."""

_CANDIDATES = (",", ";", "\t", "|", "\x01", "::", "||", "~", "^")
_FOREIGN = re.compile(r"[,;\t|]")
_QUOTES = ('"', "'", "`")
_STAND_IN = "\x1e"
"""Stands for a delimiter of several characters while a line is split."""

_MOST_CHARACTERS = 2**18
_WORDS = re.compile(r'"(?:[^"]|"")*"|\S+')
_LEAST_SCORE, _LEAST_SHARE = 0.35, 0.4
_COMPARED_CHARACTERS = 40
_TYPED_BLANKS = 0.4


@dataclass(frozen=True, slots=True)
class Dialect:
    """Rules that tell the cells of a line apart.

    Attributes:
        delimiter: one or several characters; ``BLANKS`` for any number of blanks and tabs.
        quote: the character around cells; empty for none.
        escape: the character before a quote or delimiter that is none; empty for none.
        skip_blanks: whether blanks after a delimiter are no part of the cell.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    skip_blanks: bool = False

    @property
    def joint(self) -> str:
        """Return what stands between cells where a row is shown as text."""
        return " " if self.delimiter == BLANKS else self.delimiter

    def rows(self, lines: Iterable[str], *, strict: bool = False) -> Iterator[list[str]]:
        """Rows of lines that end with a line feed. Raises ``csv.Error`` for a line that is none."""
        if self.delimiter == BLANKS:
            return map(_split_at_blanks, lines)
        delimiter = self.delimiter
        if len(delimiter) > 1:
            lines = (line.replace(self.delimiter, _STAND_IN) for line in lines)
            delimiter = _STAND_IN
        return csv.reader(
            lines,
            delimiter=delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            escapechar=self.escape or None,
            skipinitialspace=self.skip_blanks and delimiter != " ",
            strict=strict,
        )

    @property
    def plain(self) -> bool:
        """Tell whether lines without quotes can be split one by one."""
        return len(self.delimiter) == 1 and not self.escape


def _split_at_blanks(line: str) -> list[str]:
    if '"' not in line:
        return line.split()
    words = _WORDS.findall(line)
    return [
        word[1:-1].replace('""', '"') if word[0] == word[-1] == '"' and len(word) > 1 else word
        for word in words
    ]


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A row of the sample and the index of its first line."""

    line: int
    cells: list[str]


def sample_rows(lines: Sequence[str], dialect: Dialect, *, strict: bool = False) -> list[SampleRow]:
    """Rows of the first lines under a dialect, without blank ones; a bad line is a row of none."""
    rows: list[SampleRow] = []
    taken = 0

    def feed() -> Iterator[str]:
        nonlocal taken
        for line in lines:
            taken += 1
            yield line + "\n"

    reader = dialect.rows(feed(), strict=strict)
    while True:
        start = taken
        try:
            cells = next(reader)
        except StopIteration:
            return rows
        except csv.Error:
            rows.append(SampleRow(start, []))
            continue
        if len(cells) > 1 or "".join(cells).strip():
            rows.append(SampleRow(start, cells))


def find_dialect(lines: Sequence[str], delimiter: str | None, quote: str | None) -> Dialect:
    """The dialect of a table whose first lines these are, as far as it was not said."""
    text = "\n".join(lines)[:_MOST_CHARACTERS]
    lines = text.split("\n")
    if delimiter == BLANKS:
        return Dialect(BLANKS)
    candidates = [one for one in _CANDIDATES if one in text] if delimiter is None else [delimiter]
    tried = [
        (_score(lines, dialect), -place, dialect)
        for one in candidates
        for place, dialect in enumerate(_dialects(text, one, quote))
    ]
    best = max(tried, key=lambda one: one[:2], default=None)
    if delimiter is not None:
        assert best is not None
        return best[2]
    if best is not None and best[0][0] >= _LEAST_SCORE:
        return best[2]
    return _blanks(lines, quote) or _one_column(lines, text, quote)


def _dialects(text: str, delimiter: str, quote: str | None) -> Iterator[Dialect]:
    """Return what may go with a delimiter, the likeliest first."""
    around = re.escape(delimiter)
    spaced = delimiter not in (" ", "\t") and re.search(f"{around} +[\"'`]", text) is not None
    if not spaced and delimiter not in (" ", "\t", "|") and f"{delimiter} " in text:
        spaced = re.search(f"{around}(?! |$)", text, re.MULTILINE) is None
    quotes = [quote] if quote is not None else [*_quotes_in(text, around), ""]
    for one in quotes:
        # Where every backslash stands before what it would escape, it does.
        if "\\" in text and _escapes_only(text, delimiter, one):
            yield Dialect(delimiter, one, "\\", spaced)
        yield Dialect(delimiter, one, "", spaced)


def _quotes_in(text: str, around: str) -> list[str]:
    """Quotes that stand around cells; the double one where none do."""
    found = [
        one
        for one in _QUOTES
        if re.search(
            f"(?:^|{around}) ?{one}(?:[^{one}]|{one}{one})*{one}(?:$|{around})", text, re.MULTILINE
        )
    ]
    return found if _QUOTES[0] in found else [*found, _QUOTES[0]]


def _escapes_only(text: str, delimiter: str, quote: str) -> bool:
    """Tell whether every backslash stands before what it would escape, and one where it must."""
    followers = re.findall(r"\\(\\|.|\n|\Z)", text, re.DOTALL)
    special = {*_QUOTES, quote, delimiter[0], "\\", "\n"} - {""}
    must = special - {"\\"}
    if quote and _doubles(text, delimiter, quote):
        must = {quote}  # nothing else has to be escaped there: before a line break it is itself
    return set(followers) - {""} <= special and bool(must & set(followers))


def _doubles(text: str, delimiter: str, quote: str) -> bool:
    """Tell whether a quote inside of a cell is written twice."""
    around, one = re.escape(delimiter), re.escape(quote)
    inside = rf"[^{around}\s{one}\\]{one}{one}|(?:^|{around}) ?{one}{{3}}"
    return re.search(inside, text, re.MULTILINE) is not None


def _score(lines: Sequence[str], dialect: Dialect) -> tuple[float, int]:
    """Score a dialect: share of rows of the common width times share of whole cells."""
    sample = sample_rows(lines, dialect, strict=True)
    rows = [row.cells for row in sample]
    width = common_width(rows)
    if width < 2:  # noqa: PLR2004 - one column is what is left where nothing fits
        return 0.0, 0
    first = next((row for row in rows if row), [])
    # By lines, not rows: a quote that opens and never closes makes a single bad row of many.
    ends = [row.line for row in sample[1:]] + [len(lines)]
    spans = [end - row.line for row, end in zip(sample, ends, strict=True)]
    fitting = (span for row, span in zip(rows, spans, strict=True) if _fits(row, width))
    share = sum(fitting) / sum(spans)
    if share < _LEAST_SHARE or (len(first) == 1 and not _preamble(rows, width)):
        return 0.0, 0
    cells = [cell for row in rows[:100] for cell in row]
    whole = sum(_whole(cell, dialect, lines) for cell in cells) / len(cells)
    apart = 0 if len(first) == 1 else abs(len(_trimmed(first, width)) - width)
    agrees = (1.0, 0.95)[apart] if apart <= 1 else 0.9
    if not dialect.quote:  # rare: one row with a quote too much does not make it
        agrees *= 0.9
    return share * whole * agrees, width


def common_width(rows: Sequence[Sequence[str]]) -> int:
    """The width of most rows; where the last cell of all is empty, one less."""
    widths = Counter(map(len, rows))
    if not widths:
        return 0
    width = max(widths, key=lambda one: (widths[one], one))
    body = [row for row in rows[1:] if len(row) == width]
    if width > 1 and body and len(rows[0]) == width - 1 and not any(row[-1] for row in body):
        return width - 1
    return width


def _trimmed(row: Sequence[str], width: int) -> Sequence[str]:
    return row[:-1] if len(row) == width + 1 and not row[-1].strip() else row


def _fits(row: Sequence[str], width: int) -> bool:
    return len(_trimmed(row, width)) == width


def _preamble(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Tell whether narrow first lines may be words before a table whose first row is text."""
    first = next((row for row in rows if len(row) == width), [])
    return bool(first) and not any(kind_of(cell) in ("number", "time") for cell in first)


def _whole(cell: str, dialect: Dialect, lines: Sequence[str]) -> bool:
    """Tell whether a cell holds no other delimiter, unless in quotes or in a number."""
    if _FOREIGN.search(cell) is None or dialect.delimiter in cell or kind_of(cell) != "text":
        return True
    if not dialect.quote:
        return False
    first = cell.split("\n", maxsplit=1)[0][:_COMPARED_CHARACTERS]
    quoted = dialect.quote + first.replace(dialect.quote, 2 * dialect.quote)
    return any(quoted in line for line in lines)


def _blanks(lines: Sequence[str], quote: str | None) -> Dialect | None:
    """Blanks between cells, where the cells are numbers and times for a good part."""
    exact = Dialect(" ", '"' if quote is None else quote)
    for dialect in (exact, Dialect(BLANKS)):
        rows = [row.cells for row in sample_rows(lines, dialect)]
        width = common_width(rows)
        if width < 2 or len(rows) < 2:  # noqa: PLR2004 - a table
            continue
        cells = [cell for row in rows[1:] for cell in row]
        typed = sum(kind_of(cell) in ("number", "time", "address") for cell in cells)
        share = sum(len(row) == width for row in rows) / len(rows)
        if typed < _TYPED_BLANKS * len(cells) or share < 2 * _LEAST_SHARE:
            continue
        columns = list(zip(*(row for row in rows[1:] if len(row) == width), strict=True))
        if dialect is exact and any(not any(column) for column in columns):
            continue
        if dialect is exact and len(rows[0]) != width:
            continue
        return dialect
    return None


def _one_column(lines: Sequence[str], text: str, quote: str | None) -> Dialect:
    quotes = [one for one in _QUOTES if all(line[:1] in ("", one) for line in lines[1:] or lines)]
    if quote is None and quotes and text.strip():
        quote = quotes[0]
    return Dialect(ONE_COLUMN, '"' if quote is None else quote)
