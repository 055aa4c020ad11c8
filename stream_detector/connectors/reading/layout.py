"""The layout of a table of text: what comes before its rows, its dialect and its columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from stream_detector.connectors.reading.dialect import (
    BLANKS,
    ONE_COLUMN,
    Dialect,
    SampleRow,
    common_width,
    find_dialect,
    sample_rows,
)
from stream_detector.connectors.reading.header import is_header, is_second_header, named, numbered
from stream_detector.connectors.reading.notes import FileNote, FileOptions, shown
from stream_detector.connectors.reading.signatures import Signature, signature_of

SAMPLE_LINES = 200
_SEP_LINE = re.compile(r'"?sep=(?P<delimiter>.|\\t)"?[,;]*', re.IGNORECASE)
_COMMENTS = ("#", "%", "//", "!")
_QUOTED_CHARACTERS = 60
_MOST_PREAMBLE = 40
_MOST_UNITS = 3
_WORDS_OF_PROSE = 4
_DELIMITER_NAMES = {
    ",": "a comma",
    ";": "a semicolon",
    "\t": "a tab",
    "|": "a pipe (|)",
    " ": "a blank",
    BLANKS: "any number of blanks",
    "\x01": "the character 0x01",
    "\x1f": "the character 0x1F",
}


@dataclass(slots=True)
class Layout:
    """Rules for reading a table's lines.

    Attributes:
        dialect: how the cells of a line are told apart.
        columns: names of the columns.
        start: index of the first line of rows, among those that were looked at.
        notes: what was found, for people.
        headerless: whether no row of the file names the columns.
        header_line: the header as it is written; empty without one, or over several lines.
        comment: what lines begin with that are comments, also further down; empty for none.
        signature: the known kind of file this is, if any.
        skip_first: whether each row begins with a cell that is no column's.
        fill: what an empty cell of a column means, where that is not "missing".
        missing: further spellings of a missing cell.
    """

    dialect: Dialect
    columns: list[str]
    start: int
    notes: list[FileNote] = field(default_factory=list)
    headerless: bool = False
    header_line: str = ""
    comment: str = ""
    signature: Signature | None = None
    skip_first: bool = False
    fill: dict[int, str] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()


def find_layout(
    lines: Sequence[str], options: FileOptions, columns: Sequence[str] | None
) -> Layout:
    """The layout of a table that begins with these lines; ``columns`` name them from outside."""
    signature = signature_of(lines)
    if signature is not None and options.delimiter is None:
        return signed(signature)
    start, notes, options, comment, last_comment = _leading(lines, options)
    comment = comment or options.comment or ""
    body = list(lines[start:])
    rest = [line for line in body if not (comment and line.startswith(comment))]
    dialect = find_dialect(rest, options.delimiter, options.quote)
    rows = sample_rows(rest, dialect)
    if len(rest) < len(body):
        width = common_width([row.cells for row in rows])
        body = [
            "" if is_comment(line, comment, dialect, width, signed=False) else line for line in body
        ]
        rows = sample_rows(body, dialect)
    notes += _dialect_notes(dialect, rows, options)
    return _with_header(rows, body, start, dialect, options, columns, notes, comment, last_comment)


def _leading(
    lines: Sequence[str], options: FileOptions
) -> tuple[int, list[FileNote], FileOptions, str, str]:
    """Past blank lines, comments and a line that names the delimiter, and what they say."""
    notes: list[FileNote] = []
    index, comment, last = 0, "", ""
    candidates = _COMMENTS if options.comment is None else (options.comment,)
    while index < len(lines):
        line = lines[index].strip()
        if index == 0 and (found := _SEP_LINE.fullmatch(lines[0].strip(" "))) is not None:
            delimiter = found["delimiter"].replace("\\t", "\t")
            options = replace(options, delimiter=options.delimiter or delimiter)
            notes.append(FileNote("dialect", f"the first line names the delimiter: {line}"))
        elif line:
            found_comment = next((one for one in candidates if one and line.startswith(one)), "")
            if not found_comment or (comment and found_comment != comment):
                break
            comment, last = found_comment, lines[index]
        index += 1
    else:
        return 0, [], options, "", ""  # nothing but comments: let them be rows
    count = sum(1 for line in lines[:index] if comment and line.strip().startswith(comment))
    if count:
        what = "1 comment line" if count == 1 else f"{count} comment lines"
        notes.append(FileNote("lines", f"the file begins with {what} ({comment})"))
    return index, notes, options, comment, last


def is_comment(line: str, comment: str, dialect: Dialect, width: int, *, signed: bool) -> bool:
    """Tell whether a line between rows is a comment: if a table is not ``signed``, no row either.

    A row may begin with what begins comments; a comment rarely has a row's width.
    """
    if not comment or not line.startswith(comment):
        return False
    return signed or width == 1 or len(next(dialect.rows([line + "\n"]), [])) != width


def _dialect_notes(
    dialect: Dialect, rows: Sequence[SampleRow], options: FileOptions
) -> list[FileNote]:
    notes = []
    if dialect.delimiter == ONE_COLUMN:
        said = "the rows have one cell: no delimiter was found"
        if sum(len(row.cells[0].split()) > _WORDS_OF_PROSE for row in rows if row.cells) > 1:
            said += (
                "; a log in free text has to be turned into columns first (by Logstash, Fluent Bit "
                "or Vector, say)"
            )
        notes.append(FileNote("dialect", said))
    elif dialect.delimiter != "," and options.delimiter is None:
        name = _DELIMITER_NAMES.get(dialect.delimiter, dialect.delimiter)
        notes.append(FileNote("dialect", f"the delimiter is {name}"))
    if dialect.quote in ("'", "`") and options.quote is None:
        notes.append(FileNote("dialect", f"cells are quoted by {dialect.quote}"))
    if dialect.escape:
        notes.append(FileNote("dialect", "a backslash takes the next character as it is"))
    return notes


def _with_header(
    rows: list[SampleRow],
    body: Sequence[str],
    start: int,
    dialect: Dialect,
    options: FileOptions,
    columns: Sequence[str] | None,
    notes: list[FileNote],
    comment: str,
    last_comment: str,
) -> Layout:
    # Rows of blanks alone have no width; what follows them may have one.
    width = max(common_width([row.cells for row in rows]), 1)
    first = 0 if options.header is not None else _first_row(rows, body, width, notes)
    rows = rows[first:]
    layout = Layout(dialect, [], start + len(body), notes, comment=comment)
    if not rows:
        return layout
    head, rest = rows[0].cells, [row.cells for row in rows[1:]]
    after = rows[1].line if len(rows) > 1 else len(body)
    layout.start = start + rows[0].line
    if columns is not None and not _names_most(head, columns):
        layout.columns, layout.headerless = list(columns[: len(_cut(head, width))]), True
        return layout
    header = options.header
    if header is None:
        header = columns is not None or is_header(_cut(head, width), [_cut(r, width) for r in rest])
    if header:
        layout.start = start + after
        if after - rows[0].line == 1:
            layout.header_line = body[rows[0].line]
        cells = _fitted(head, rest, width, notes)
        layout.columns, more = named(cells)
        notes += more
        _pass_units(layout, rows, start)
        return layout
    names = _names_in_comment(last_comment, comment, dialect, width)
    if names is not None:
        layout.columns, more = named(names)
        notes.append(FileNote("header", "the columns are named by the last comment line"))
        notes += more
        return layout
    layout.columns, layout.headerless = numbered(width), True
    shown = f"{layout.columns[0]} to {layout.columns[-1]}" if width > 1 else layout.columns[0]
    notes.append(
        FileNote(
            "header",
            f"there is no header: the columns are called {shown} (name them by --columns, or "
            "`event.columns` in the configuration)",
            guess=True,
        )
    )
    return layout


def _pass_units(layout: Layout, rows: Sequence[SampleRow], start: int) -> None:
    """Past rows below the header that are text over columns of numbers and times: units, say."""
    for index in range(1, min(_MOST_UNITS + 1, len(rows) - 1)):
        row, rest = rows[index], [later.cells for later in rows[index + 1 :]]
        if not is_second_header(row.cells, rest):
            return
        text = shown(", ".join(row.cells), _QUOTED_CHARACTERS)
        said = f"line {start + row.line + 1:,} is no row but more of the header: {text}"
        layout.notes.append(FileNote("lines", said, guess=True))
        layout.start = start + rows[index + 1].line


def _cut(cells: Sequence[str], width: int) -> Sequence[str]:
    return cells[:-1] if len(cells) == width + 1 and not cells[-1].strip() else cells


def _names_most(cells: Sequence[str], columns: Sequence[str]) -> bool:
    return 2 * len({cell.strip() for cell in cells} & {*columns}) > len(cells)


def _first_row(
    rows: Sequence[SampleRow], body: Sequence[str], width: int, notes: list[FileNote]
) -> int:
    """Index of the table's first row, past lines of words before it."""
    wide = (
        index
        for index, row in enumerate(rows[:_MOST_PREAMBLE])
        if len(_cut(row.cells, width)) == width and 2 * sum(map(bool, row.cells)) > width
    )
    index = next(wide, 0)
    if index == 0 or width == 1:
        return 0
    row = rows[index]
    rest = [later.cells for later in rows[index + 1 :]]
    apart = any(not line.strip() for line in body[: row.line])
    if not is_header(_cut(row.cells, width), rest):
        if not apart:
            return 0
        if len(rows[index - 1].cells) == width - 1:  # a header without a name for the rows' names
            index -= 1
    if index == 0:
        return 0
    said = shown(body[rows[0].line].strip(), _QUOTED_CHARACTERS)
    what = "1 line comes" if index == 1 else f"{index} lines come"
    text = f'{what} before the table and are no rows, the first "{said}"'
    notes.append(FileNote("lines", text, guess=True))
    return index


def _fitted(
    head: Sequence[str], rest: Sequence[Sequence[str]], width: int, notes: list[FileNote]
) -> list[str]:
    """The header's cells, as many as rows have."""
    body = [row for row in rest if row]
    if not body:
        return list(_cut(head, len(head)))
    width = common_width(body)
    trailing = all(len(row) == width and not row[-1].strip() for row in body)
    if len(head) == width - 1 and trailing:
        notes.append(FileNote("dialect", "rows end with a delimiter, the header does not"))
        return list(head)
    if len(head) == width - 1 and width > 2 and all(len(row) == width for row in body):  # noqa: PLR2004 - `a` over `1,5` is no row name
        notes.append(
            FileNote(
                "header",
                "the header has a name less than the rows have cells: the first, taken for the "
                "rows' names, is called column_1",
                guess=True,
            )
        )
        return ["", *head]
    if len(head) > width and all(len(row) == width for row in body):
        extra = head[width:]
        if any(map(str.strip, extra)):
            notes.append(
                FileNote(
                    "header",
                    f"the header has {len(head)} names, the rows {width} cells: left out is what "
                    f"it names last, {shown(', '.join(extra), _QUOTED_CHARACTERS)}",
                    guess=True,
                )
            )
        else:
            notes.append(FileNote("dialect", "the header ends with a delimiter, the rows do not"))
        return list(head[:width])
    return list(head)


def _names_in_comment(last: str, comment: str, dialect: Dialect, width: int) -> list[str] | None:
    """Names in a comment line just before the rows: ``# time x y``, as NumPy writes them."""
    words = last.strip().removeprefix(comment).strip() if comment else ""
    if not words:
        return None
    for one in (dialect, Dialect(), Dialect("\t"), Dialect(BLANKS)):
        cells = next(one.rows([words + "\n"]), [])
        if len(cells) == width and all(map(str.strip, cells)) and is_header(cells, []):
            return cells
    return None


def signed(signature: Signature) -> Layout:
    """The layout of a table that says itself what it is."""
    names, notes = named(signature.columns)
    return Layout(
        signature.dialect,
        names,
        signature.start,
        [FileNote("format", signature.said), *notes],
        comment=signature.comment,
        signature=signature,
        skip_first=signature.skip_first,
        fill=dict(signature.fill),
        missing=signature.missing,
    )
