"""Licences of what is installed: a table, and which of them need a word."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution

ACCEPTED = frozenset(
    {"MIT", "MIT-0", "MIT-CMU", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "Apache-2.0", "ISC"}
    | {
        "PSF-2.0",
        "Python-2.0",
        "Zlib",
        "Unlicense",
        "CC0-1.0",
        "CNRI-Python",
        "BSD-3-Clause-Open-MPI",
    }
)
"""SPDX names of licences that ask for no more than their text to go along."""

EXPLAINED = {
    "certifi": "MPL-2.0: of its own files alone; it is a list of authorities, used as it is",
    "fqdn": "MPL-2.0: of its own files alone; used as it is, to develop",
    "pathspec": "MPL-2.0: of its own files alone; used as it is, to develop",
    "hypothesis": "MPL-2.0: of its own files alone; used as it is, to test",
    "docutils": "public domain, BSD and PSF; its GPL part is an Emacs mode that is not installed",
    "crc32c": "LGPL-2.1-or-later: a module of its own, imported and exchangeable, unchanged",
    "recurring-ical-events": "LGPL-3.0-or-later: of an extra, imported, exchangeable, unchanged",
    "x-wr-timezone": "LGPL-3.0-or-later: of the same extra, likewise",
}
"""Packages whose licence is not accepted as it is, and why they may stay."""

_NAMES = {
    "MIT License": "MIT",
    "The MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "BSD 3-Clause": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "new BSD": "BSD-3-Clause",
    "Modified BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache-2.0 license": "Apache-2.0",
    "Apache 2": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "ISC license": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "PSF": "PSF-2.0",
    "PSFL": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
    "LGPLv2+": "LGPL-2.1-or-later",
}
_LONGEST_NAME = 60
_OPERATORS = {"AND", "OR", "WITH", "(", ")"}


def licence_of(found: Distribution) -> str:
    """Name a licence: an SPDX expression where there is one, "" where nothing is said."""
    metadata = found.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in metadata.get_all("Classifier") or []
        if text.startswith("License ::") and text != "License :: OSI Approved"
    ]
    text = (metadata.get("License") or "").strip()
    short = text if len(text) <= _LONGEST_NAME and "\n" not in text else ""
    if short and (short in _NAMES or short in ACCEPTED):
        return _NAMES.get(short, short)
    if classifiers:
        return " AND ".join(dict.fromkeys(_NAMES.get(name, name) for name in classifiers))
    return _NAMES.get(short, short)


def is_accepted(expression: str) -> bool:
    """Tell whether an expression asks for nothing beyond ``ACCEPTED``: of ``OR``, one suffices.

    >>> is_accepted("MIT OR GPL-3.0-only"), is_accepted("MIT AND MPL-2.0"), is_accepted("")
    (True, False, False)
    """
    words = re.findall(r"\(|\)|[^\s()]+", expression)
    if not words:
        return False
    written = [
        word.lower() if word in ("AND", "OR") else word if word in "()" else str(word in ACCEPTED)
        for word in words
    ]
    if any(word not in ("and", "or", "(", ")", "True", "False") for word in written):
        return False
    return _value(written)


def _value(words: list[str]) -> bool:
    """Value of a boolean expression of words; False where it is none."""
    text = " ".join(words)
    while (inner := re.search(r"\( ([^()]*) \)", text)) is not None:
        text = f"{text[: inner.start()]}{_flat(inner[1])}{text[inner.end() :]}"
    return _flat(text) == "True"


def _flat(text: str) -> str:
    options = [set(option.split(" and ")) for option in text.split(" or ")]
    return str(any(option == {"True"} for option in options))


def table(names: Iterable[str]) -> list[tuple[str, str, str, str]]:
    """Name, version, licence and, where it needs one, the word on each distribution."""
    rows = []
    for name in sorted(names):
        found = distribution(name)
        rows.append((name, found.version, licence_of(found), EXPLAINED.get(name, "")))
    return rows


def mistakes(rows: Iterable[tuple[str, str, str, str]]) -> list[str]:
    """What is neither accepted nor explained."""
    return [
        f"{name} {version}: {licence or 'says no licence'}"
        for name, version, licence, why in rows
        if not why and not is_accepted(licence)
    ]


def as_text(rows: Iterable[tuple[str, str, str, str]]) -> str:
    """The table as text, a line each."""
    return "".join(f"{n:<28} {v:<16} {li}{f'  ({why})' if why else ''}\n" for n, v, li, why in rows)
