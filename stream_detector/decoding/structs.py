"""The type that msgspec reads an event into, made for a configuration.

A field's name is a path: ``a.b`` reads ``{"a": {"b": 1}}`` and ``{"a.b": 1}`` alike, ``tags[0]``
the first of an array, ``tags[-1]`` the last, ``tags[count]`` how many there are, ``name[length]``
the characters of a text. Where an event has several of these, the most deeply nested one counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

Step: TypeAlias = str | int
"""A key of an object, an index into an array; of an array also ``#count`` and ``#length``."""

Route: TypeAlias = tuple[Step, ...]

Column: TypeAlias = Callable[[Sequence[Any]], list[Any]]
"""Reads the values of a field out of many events."""

_INDEXED = re.compile(r"(?P<key>[^\[\]]+)\[(?P<what>\d{1,4}|-1|count|length|first|last)\]")
_NAMED_STEPS: dict[str, Step] = {
    "first": 0,
    "last": -1,
    "count": "#count",
    "length": "#length",
}
_MOST_DOTS = 4


def routes_of(name: str) -> list[Route]:
    """The ways in which an event may hold a field, the one that counts first.

    >>> routes_of("a.b")
    [('a', 'b'), ('a.b',)]
    >>> routes_of("tags[0]")
    [('tags', 0), ('tags[0]',)]
    """
    parts = name.split(".")
    if len(parts) == 1 and "[" not in name:
        return [(name,)]
    if "" in parts or len(parts) - 1 > _MOST_DOTS:
        cuts: Iterable[tuple[bool, ...]] = {(True,) * (len(parts) - 1), (False,) * (len(parts) - 1)}
    else:
        cuts = product((True, False), repeat=len(parts) - 1)
    routes: dict[Route, None] = {}
    for cut in sorted(cuts, reverse=True):
        keys = [parts[0]]
        for apart, part in zip(cut, parts[1:], strict=True):
            if apart:
                keys.append(part)
            else:
                keys[-1] += "." + part
        if "" not in keys:
            routes[tuple(step for key in keys for step in _steps_of(key))] = None
    routes[(name,)] = None
    return list(routes)


def _steps_of(key: str) -> list[Step]:
    found = _INDEXED.fullmatch(key)
    if found is None:
        return [key]
    what = found["what"]
    return [found["key"], _NAMED_STEPS[what] if what in _NAMED_STEPS else int(what)]


@dataclass(slots=True)
class _Node:
    """Node of what is read from an event: a value, an object, an array, or any of them."""

    kind: Any = None
    children: dict[str, _Node] = field(default_factory=dict)
    items: _Node | None = None
    measured: bool = False

    def add(self, route: Route, kind: Any) -> None:
        if not route:
            self.kind = kind
            return
        step, *rest = route
        if step in ("#count", "#length"):
            self.measured = True
        elif isinstance(step, int):
            self.items = self.items or _Node()
            self.items.add(tuple(rest), kind)
        else:
            self.children.setdefault(step, _Node()).add(tuple(rest), kind)

    def union(self) -> Any:
        options: list[Any] = [] if self.kind is None else [self.kind]
        if self.children:
            options.append(self.struct())
        if self.items is not None and self.items.children and self.items.kind is None:
            options.append(list[self.items.union()])  # type: ignore[misc]
            if not self.children:
                options.append(self.items.struct())  # one that was not put into an array
        elif self.measured or self.items is not None:
            options.append(list[Any])
        if self.measured and self.kind is None:
            options.append(str)
        kind = options[0]
        for option in options[1:]:
            kind = kind | option
        return kind | None

    def struct(self) -> type:
        members = [
            (f"f{position}", child.union(), None)
            for position, child in enumerate(self.children.values())
        ]
        rename = {f"f{position}": name for position, name in enumerate(self.children)}
        return msgspec.defstruct("Event", members, rename=rename, gc=False)

    def attributes(self, route: Route) -> list[str | int]:
        """The route in terms of the struct's attributes."""
        if not route:
            return []
        step, *rest = route
        if isinstance(step, int):
            assert self.items is not None
            return [step, *self.items.attributes(tuple(rest))]
        if step in ("#count", "#length"):
            return [step]
        position = list(self.children).index(step)
        return [f"f{position}", *self.children[step].attributes(tuple(rest))]


def struct_of(fields: Mapping[str, Any]) -> tuple[type, dict[str, Column]]:
    """A Struct type for the names of fields and their types, and what reads each field's column.

    An object, or an element, that is not there reads as None. Where a field lies inside another
    one that is read itself, only a key of its whole name holds it.
    """
    routes = {name: routes_of(name) for name in fields}
    leaves = {route: name for name, some in routes.items() for route in some}
    root = _Node()
    for name, some in routes.items():
        routes[name] = [route for route in some if not _inside_another(route, name, leaves)]
        for route in routes[name]:
            root.add(route, fields[name])
    columns = {
        name: _column([root.attributes(route) for route in some]) for name, some in routes.items()
    }
    return root.struct(), columns


def _inside_another(route: Route, name: str, leaves: Mapping[Route, str]) -> bool:
    return any(
        leaves.get(route[:length], name) != name and isinstance(route[length], str)
        for length in range(1, len(route))
        if not str(route[length]).startswith("#")
    )


def _column(paths: list[list[str | int]]) -> Column:
    """Reads a field of many events, by the next path those that the paths before it have not."""
    first, *others = [_single_column(path) for path in paths]
    if not others:
        return first

    def read(events: Sequence[Any]) -> list[Any]:
        values = first(events)
        for other in others:
            if None not in values:
                break
            rows = [row for row, value in enumerate(values) if value is None]
            for row, value in zip(rows, other([events[row] for row in rows]), strict=True):
                values[row] = value
        return values

    return read


def _single_column(path: list[str | int]) -> Column:
    one = _single(path)
    if any(isinstance(step, int) or step[0] == "#" for step in path):
        return lambda events: list(map(one, events))
    quick = attrgetter(".".join(map(str, path)))

    def read(events: Sequence[Any]) -> list[Any]:
        try:
            return list(map(quick, events))
        except AttributeError:  # an object on the way is absent or null
            return list(map(one, events))

    return read


def _single(path: list[str | int]) -> Callable[[Any], Any]:
    """Reads a path of attributes; None where an object on the way is absent or null."""

    def get(value: Any) -> Any:
        for step in path:
            if value is None:
                return None
            value = _take(value, step)
        return value

    return get


def _take(value: Any, step: str | int) -> Any:
    if isinstance(step, int):
        if not isinstance(value, list):
            return value if step in (0, -1) else None  # one that was not put into an array
        return value[step] if -len(value) <= step < len(value) else None
    if step in ("#count", "#length"):
        if isinstance(value, list) or (step == "#length" and isinstance(value, str)):
            return len(value)
        return 1 if step == "#count" else None
    # An element may be anything, and so may what stands where an object is expected.
    return getattr(value, step, None)
