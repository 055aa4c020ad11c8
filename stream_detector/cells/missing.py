"""The words for "there is no value" where a number, a boolean or a time is expected."""

from __future__ import annotations

from collections.abc import Collection

NOTHING_WORDS = (
    "",
    "-",
    "--",
    "---",
    "—",
    ".",
    "..",
    "...",
    "?",
    "??",
    "na",
    "n/a",
    "n.a.",
    "n.a",
    "#n/a",
    "#na",
    "#n/a n/a",
    "<na>",
    "(na)",
    "nat",
    "null",
    "(null)",
    "<null>",
    "[null]",
    "none",
    "nil",
    "(empty)",
    "<empty>",
    "(none)",
    "\\n",  # MySQL, PostgreSQL and Hive write \N
    "missing",
    "unknown",
    "undefined",
    "unset",
    "not available",
    "no data",
    "nodata",
    "#div/0!",
    "#value!",
    "#ref!",
    "#num!",
    "#name?",
    "#null!",
)
"""Words for a missing value, in lower case. In fields of text only "" counts."""

NOT_FINITE_WORDS = (
    "nan",
    "+nan",
    "-nan",
    "nan(ind)",
    "-nan(ind)",
    "1.#qnan",
    "1.#ind",
    "-1.#ind",
    "1.#inf",
    "-1.#inf",
    "inf",
    "+inf",
    "-inf",
    "infinity",
    "+infinity",
    "-infinity",
    "∞",
    "+∞",
    "-∞",
)
"""Results of a division by nothing, in lower case: no value either."""

MISSING_WORDS = frozenset((*NOTHING_WORDS, *NOT_FINITE_WORDS))
"""All of them."""

_LONGEST = max(map(len, MISSING_WORDS))


def is_missing(text: str, more: Collection[str] = ()) -> bool:
    """Tell whether a cell says that there is no value, in any case, with blanks around it or not.

    Args:
        text: the cell.
        more: further words, exactly as they are written (``missing_values``).

    >>> [is_missing(cell) for cell in ("", " N/A ", "NULL", "-inf", "0", "-1")]
    [True, True, True, True, False, False]
    >>> is_missing("-999", more=("-999",))
    True
    """
    if text in more:
        return True
    word = text.strip()
    return word in more or (len(word) <= _LONGEST and word.lower() in MISSING_WORDS)
