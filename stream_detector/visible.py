"""Text of others as people may see it: one line, nothing hidden, nothing that steers a terminal.

The one escaper. Log lines, terminals, pages, reports, errors and comments all write with it, so
what an event can do to one of them it can do to none.
"""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0 (line breaks, ESC), DEL, C1 (CSI and OSC in one character)
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # no width, or a blank one
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # zero width, direction
    "\ud800-\udfff\ufffe\uffff"  # lone surrogates, which no stream can encode; no characters
    "\U000e0000-\U000e0fff"  # tags and selectors, in which whole texts can be hidden
    "]"
)
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ONE_BYTE, _TWO_BYTES = 0xFF, 0xFFFF

LONGEST = 300
"""Characters of one value that are shown by default; events may hold texts of a megabyte."""


def visible(text: str) -> str:
    r"""Write every character that nobody sees by its number: ``\x1b``, ``\u202e``.

    >>> print(visible("a\x1b[2J\u202eb\n"))
    a\x1b[2J\u202eb\n
    """
    return _UNSEEN.sub(_number, text)


def visible_lines(text: str) -> str:
    r"""As ``visible``, but for line breaks: of a text that has lines of its own.

    >>> print(visible_lines("a\nb\x1b"))
    a
    b\x1b
    """
    return "\n".join(map(visible, text.split("\n")))


def shown(value: object, longest: int = LONGEST) -> str:
    """Write a value on one line, and its beginning only where it is long.

    >>> shown("a" * 400, 10), shown(1.5), shown(None)
    ('aaaaaaaaa…', '1.5', 'None')
    """
    text = str(value)
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return visible(text)


def visible_json(text: str) -> str:
    r"""As ``visible``, for a JSON text of one line: it means the same as before.

    >>> print(visible_json('{"a":"\u202e"}'))
    {"a":"\u202e"}
    """
    return _UNSEEN.sub(_json_number, text)


def _number(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code > _TWO_BYTES:
        return f"\\U{code:08x}"
    return _NAMED.get(found[0]) or (f"\\x{code:02x}" if code <= _ONE_BYTE else f"\\u{code:04x}")


def _json_number(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
