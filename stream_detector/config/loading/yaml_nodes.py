"""YAML text as PyYAML's node tree, with every scalar's text as it was written.

Nothing is constructed here: PyYAML's constructors follow YAML 1.1, where ``no`` is false and
``1:30`` is ninety, and know tags that build objects.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.composer import Composer, ComposerError
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from stream_detector.config.loading.diagnostics import Diagnostic

PLAIN = "?"
"""Tag of an unquoted scalar without a tag of its own (YAML 1.2.2, section 3.3.2)."""

MAX_DEPTH = 40
"""Levels of nesting. The composer is recursive; the deepest real setting stands at level 5."""

_NOT_PRINTABLE = Reader.NON_PRINTABLE
_ALIAS = re.compile("found undefined alias '.*'", re.DOTALL)


class _NodeLoader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's pipeline up to the node tree, bounded in depth."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """As the composer's own, down to ``MAX_DEPTH``."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise ComposerError(None, None, f"more than {MAX_DEPTH} levels of nesting", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        """Leave plain scalars open; everything else has the tag that its form gives it."""
        if kind is yaml.ScalarNode and implicit[0]:
            return PLAIN
        return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]


def compose(text: str, source: str) -> yaml.Node | Diagnostic | None:
    """Parse the one document in ``text``: None where it is empty, a diagnostic if no YAML."""
    if match := _NOT_PRINTABLE.search(text):
        line = text.count("\n", 0, match.start()) + 1
        column = match.start() - (text.rfind("\n", 0, match.start()) + 1) + 1
        message = f"the character U+{ord(match[0]):04X} is not allowed in YAML"
        return Diagnostic(source, line, column, (), message)
    try:
        return _NodeLoader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        return _syntax_error(error, text, source)
    except (yaml.YAMLError, ValueError, OverflowError):
        # Escapes beyond Unicode and version numbers beyond reason end in plain ValueErrors.
        return Diagnostic(source, 1, 1, (), "this is no YAML that can be read")


def _syntax_error(error: yaml.MarkedYAMLError, text: str, source: str) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or ""
    # The name is left out: a password that begins with an asterisk would read as an alias.
    problem = _ALIAS.sub("found undefined alias; put text that begins with * in quotes", problem)
    message = " ".join(part for part in (error.context, problem) if part)
    if mark is None:
        return Diagnostic(source, 1, 1, (), message)
    lines = text.splitlines()
    if mark.line < len(lines) and "${" in lines[mark.line]:
        message += '; inside [ ] and { } a reference stands in quotes: "${NAME}"'
    elif "'\\t'" in message:
        message += "; indent with spaces"
    return Diagnostic(source, mark.line + 1, mark.column + 1, (), f"YAML: {message}")
