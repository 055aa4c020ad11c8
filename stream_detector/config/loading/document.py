"""A configuration as plain data, and where in the file each part of it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from stream_detector.config.loading.diagnostics import Diagnostic, Path, format_path, quoted
from stream_detector.config.loading.scalars import interpolate, resolve_plain
from stream_detector.config.loading.yaml_nodes import MAX_DEPTH, PLAIN, compose

MAX_WEIGHT = 1_000_000
"""What a document may weigh once its aliases are followed: a character 1, a node 10."""

_NODE_WEIGHT = 10

_TAG_PREFIX = "tag:yaml.org,2002:"
_SECRET_KEY = re.compile(r"passw|secret|token|credential|pasw|pwd", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a value or a key in the file, and its spelling there.

    Attributes:
        source: name of the file, or the flag.
        line: counted from 1, None for a flag.
        column: counted from 1, None for a flag.
        written: the scalar as it stands in the source, with its ``${...}``; None for others.
        value: the text of a scalar after replacement. Never shown to anybody.
        referred: whether the value came through ``${...}``.
    """

    source: str
    line: int | None
    column: int | None
    written: str | None = None
    value: str | None = field(default=None, repr=False)
    referred: bool = False


@dataclass(slots=True)
class Document:
    """Plain data (dict, list, scalars) with a place for every path; mistakes found on the way.

    Attributes:
        data: what the text says; None where there is nothing usable.
        places: of values; the root's is ``()``.
        keys: of the keys of mappings, by the path of their value.
        unknown: paths whose value could not be had (a missing variable); None stands there.
        diagnostics: mistakes.
    """

    data: Any = field(repr=False)
    places: dict[Path, Place]
    keys: dict[Path, Place] = field(default_factory=dict)
    unknown: set[Path] = field(default_factory=set)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def get(self, *path: str | int) -> Any:
        """The value at ``path``, None where there is none."""
        here = self.data
        for step in path:
            if isinstance(here, dict) and isinstance(step, str):
                here = here.get(step)
            elif isinstance(here, list) and isinstance(step, int) and -1 < step < len(here):
                here = here[step]
            else:
                return None
        return here

    def place(self, path: Path) -> Place:
        """Return the place of the value at ``path``, else of the nearest thing around it."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places[path]

    def shown(self, path: Path) -> str:
        """The value at ``path`` as it may be shown: as written, and no secrets."""
        if any(isinstance(step, str) and _SECRET_KEY.search(step) for step in path):
            return "a secret"
        value = self.get(*path)
        if isinstance(value, dict):
            return "a mapping"
        if isinstance(value, list):
            return "a list"
        written = self.places[path].written if path in self.places else None
        return quoted(written) if written else "nothing"

    def report(self, path: Path, message: str, *, key: Path | None = None) -> None:
        """Note a mistake at ``path``; it points at the key ``key`` instead, where one is given."""
        place = self.place(path) if key is None else self.keys.get(key, self.place(key))
        diagnostic = Diagnostic(place.source, place.line, place.column, path, message)
        self.diagnostics.append(diagnostic)

    def graft(self, path: Path, other: Document) -> None:
        """Put ``other`` in the place of what stands at ``path``; sections on the way are made."""
        self.diagnostics += [
            Diagnostic(d.source, d.line, d.column, path + d.path, d.message)
            for d in other.diagnostics
        ]
        source = other.places[()].source
        if self.data is None:
            self.data = {}
        here: Any = self.data
        real: Path = ()
        for depth, step in enumerate(path):
            last = depth == len(path) - 1
            if isinstance(here, dict):
                step = str(step)  # noqa: PLW2901 - in a mapping "0" is a key like any other
                if not last and here.get(step) is None:
                    here[step] = {}
                    self.places[(*real, step)] = Place(source, None, None)
            elif not (isinstance(here, list) and isinstance(step, int) and step < len(here)):
                message = f"{format_path(real) or 'the file'} has no {step!r}"
                self.diagnostics.append(Diagnostic(source, None, None, path, message))
                return
            real = (*real, step)
            if last:
                here[step] = other.data
            here = here[step]
        self._move_places(real, other)

    def _move_places(self, path: Path, other: Document) -> None:
        for places, others in ((self.places, other.places), (self.keys, other.keys)):
            for old in [p for p in places if p[: len(path)] == path]:
                del places[old]
            places.update({path + p: place for p, place in others.items()})
        self.unknown = {p for p in self.unknown if p[: len(path)] != path}
        self.unknown.update(path + p for p in other.unknown)


class _TooLargeError(Exception):
    """Aliases that refer to aliases make more of the document than anybody wrote."""


class _Builder:
    """Turns a node tree into a ``Document``."""

    def __init__(self, source: str, environment: Mapping[str, str], *, lines: bool) -> None:
        self._source = source
        self._environment = environment
        self._lines = lines
        self._weight = 0
        self.document = Document(None, {(): Place(source, 1 if lines else None, 1)})

    def build(self, node: yaml.Node, path: Path) -> Any:
        """The data of ``node``; its places go into the document."""
        self._weigh(_NODE_WEIGHT)
        if len(path) > MAX_DEPTH:
            raise _TooLargeError
        self.document.places[path] = self._place(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            if node.tag != f"{_TAG_PREFIX}seq":
                self._refuse_tag(path)
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _weigh(self, weight: int) -> None:
        self._weight += weight
        if self._weight > MAX_WEIGHT:
            raise _TooLargeError

    def _place(self, node: yaml.Node, **more: Any) -> Place:
        if not self._lines:
            return Place(self._source, None, None, **more)
        mark = node.start_mark
        return Place(self._source, mark.line + 1, mark.column + 1, **more)

    def _refuse_tag(self, path: Path) -> None:
        self.document.report(path, "tags (!...) other than !!str are not read; put text in quotes")

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        if node.tag != f"{_TAG_PREFIX}map":
            self._refuse_tag(path)
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.diagnostics.append(
                    Diagnostic(self._source, place.line, place.column, path, "a key must be text")
                )
                continue
            key = key_node.value
            self._weigh(len(key))
            inner = (*path, key)
            if key in result:
                first = self.document.keys[inner]
                where = f"; first on line {first.line}" if self._lines else ""
                self.document.diagnostics.append(
                    Diagnostic(
                        self._source, place.line, place.column, inner, f"duplicate key{where}"
                    )
                )
                continue
            self.document.keys[inner] = place
            result[key] = self.build(value_node, inner)
        return result

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        self._weigh(len(node.value))
        done = interpolate(node.value, self._environment)
        self._weigh(len(done.text or ""))
        self.document.places[path] = self._place(
            node, written=node.value, value=done.text, referred=done.replaced
        )
        for problem in done.problems:
            self.document.report(path, problem)
        if done.text is None:
            self.document.unknown.add(path)
            return None
        text = done.text
        if any("\ud800" <= character <= "\udfff" for character in text):
            self.document.report(path, "half a surrogate pair is no character")
            return self._unknown(path)
        if node.tag not in (PLAIN, f"{_TAG_PREFIX}str"):
            self._refuse_tag(path)
            return self._unknown(path)
        if node.tag != PLAIN or (done.replaced and not done.whole) or "$${" in node.value:
            return text
        try:
            return resolve_plain(text)
        except ValueError as error:
            self.document.report(path, f"{error} (got {self.document.shown(path)})")
            return self._unknown(path)

    def _unknown(self, path: Path) -> None:
        self.document.unknown.add(path)


def read_document(
    text: str, source: str, environment: Mapping[str, str], *, lines: bool = True
) -> Document:
    """Parse YAML and replace references; mistakes stand in the document's ``diagnostics``.

    Args:
        text: the YAML.
        source: what to call it in messages.
        environment: for ``${NAME}``.
        lines: whether the text has lines that a reader can go to (a flag's value has none).
    """
    builder = _Builder(source, environment, lines=lines)
    document = builder.document
    node = compose(text, source)
    if isinstance(node, Diagnostic):
        if not lines:
            node = Diagnostic(source, None, None, (), node.message)
        document.diagnostics.append(node)
        document.unknown.add(())
    elif node is not None:
        try:
            document.data = builder.build(node, ())
        except _TooLargeError:
            document.diagnostics.clear()
            document.report((), "too large or nested in itself once its aliases are followed")
            document.unknown.add(())
    return document


def apply_overrides(
    document: Document, overrides: Mapping[str, Any], environment: Mapping[str, str]
) -> None:
    """Put the values of flags into ``document``.

    Args:
        document: changed in place.
        overrides: values by dotted path (``features.0.range`` or ``features[0].range``). Text is
            read as YAML, as if it stood in the file; other values are taken as they are.
        environment: for ``${NAME}``.
    """
    for name, value in overrides.items():
        source = f"--set {name}"
        path = _parse_path(name)
        if path is None:
            message = "a path is keys and indices with dots between: metrics.port"
            document.diagnostics.append(Diagnostic(source, None, None, (), message))
            continue
        try:
            text = value if isinstance(value, str) else json.dumps(value)
        except (TypeError, ValueError, RecursionError):
            message = "only text, numbers, true, false, null, lists and mappings can be set"
            document.diagnostics.append(Diagnostic(source, None, None, path, message))
            continue
        document.graft(path, read_document(text, source, environment, lines=False))


def _parse_path(name: str) -> Path | None:
    steps: Sequence[str] = re.sub(r"\[([0-9]{1,6})\]", r".\1", name).split(".")
    if not all(steps):
        return None
    return tuple(int(step) if re.fullmatch("[0-9]{1,6}", step) else step for step in steps)
