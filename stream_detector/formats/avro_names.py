"""Named types of an Avro schema: where each is defined, and which of them contain themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from stream_detector.formats.errors import SchemaError

Node: TypeAlias = Any
"""Part of a schema as JSON has it: a name, an object, or a list of branches."""

PRIMITIVES = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
_RECORDS = ("record", "error")
_NAMED = (*_RECORDS, "enum", "fixed")
_MOST_TYPES = 2000
_MOST_LEVELS = 100


def is_record(node: Node) -> bool:
    """Tell whether a node defines a record."""
    return isinstance(node, dict) and node.get("type") in _RECORDS


def aliases_of(field: Node) -> list[str]:
    """Return the other names of a field, without what is no name."""
    found = field.get("aliases") if isinstance(field, dict) else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


class Names:
    """The named types of a schema and of those that it refers to. State: they, by full name.

    Raises ``SchemaError`` where something is no Avro schema.
    """

    def __init__(self, schemas: list[Node]) -> None:
        self._types: dict[str, tuple[Node, str]] = {}
        for schema in schemas:
            self._collect(schema, "", 0)
        self._inside = {
            name: set(self._references(node, inner, 0))
            for name, (node, inner) in self._types.items()
        }
        self.recursive = frozenset(filter(self._reaches_itself, self._types))

    def resolve(self, name: str, namespace: str) -> tuple[str, Node, str]:
        """Return full name, definition and namespace inside of it of a name as it is written."""
        full = full_name(name, namespace)
        for candidate in (full, name):
            if candidate in self._types:
                return (candidate, *self._types[candidate])
        raise SchemaError(f"the type {name!r:.100} is defined nowhere in it")

    def _collect(self, node: Node, namespace: str, level: int) -> None:
        if level > _MOST_LEVELS:
            raise SchemaError(f"it nests more than {_MOST_LEVELS} levels deep")
        if isinstance(node, list):
            for branch in node:
                self._collect(branch, namespace, level + 1)
        elif isinstance(node, dict):
            kind = node.get("type")
            if kind in _NAMED:
                namespace = self._define(node, namespace)
            for inner in _inner(node):
                self._collect(inner, namespace, level + 1)

    def _define(self, node: Node, namespace: str) -> str:
        name = node.get("name")
        if not isinstance(name, str) or not name:
            raise SchemaError("it defines a type without a name")
        own = node.get("namespace")
        full = full_name(name, own if isinstance(own, str) else namespace)
        inner = full.rpartition(".")[0]
        known = self._types.setdefault(full, (node, inner))
        if known[0] != node:
            raise SchemaError(f"it defines the type {full!r:.100} twice")
        if len(self._types) > _MOST_TYPES:
            raise SchemaError(f"it has more than {_MOST_TYPES} types")
        return inner

    def _references(self, node: Node, namespace: str, level: int) -> Iterator[str]:
        """Yield the named types directly inside of a definition."""
        if isinstance(node, str):
            if node not in PRIMITIVES:
                yield self.resolve(node, namespace)[0]
        elif isinstance(node, list):
            for branch in node:
                yield from self._references(branch, namespace, level + 1)
        elif isinstance(node, dict):
            if level and node.get("type") in _NAMED:
                yield self.resolve(node["name"], node.get("namespace") or namespace)[0]
            else:
                for inner in _inner(node):
                    yield from self._references(inner, namespace, level + 1)

    def _reaches_itself(self, name: str) -> bool:
        seen: set[str] = set()
        waiting = list(self._inside[name])
        while waiting:
            other = waiting.pop()
            if other == name:
                return True
            if other not in seen:
                seen.add(other)
                waiting += self._inside[other]
        return False


def full_name(name: str, namespace: str) -> str:
    """Return a name with its namespace; one with dots has its own."""
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _inner(node: dict[str, Any]) -> Iterator[Node]:
    """Yield the types directly inside of an object of a schema."""
    kind = node.get("type")
    if kind in _RECORDS:
        for field in fields_of(node):
            yield field["type"]
    elif kind == "array":
        yield node.get("items")
    elif kind == "map":
        yield node.get("values")
    elif isinstance(kind, dict | list) or (isinstance(kind, str) and kind not in _NAMED):
        yield kind


def fields_of(record: Node) -> list[dict[str, Any]]:
    """Return the fields of a record. Raises ``SchemaError`` where they are none."""
    found = record.get("fields")
    if not isinstance(found, list):
        raise SchemaError("a record of it has no list of fields")
    for field in found:
        if not isinstance(field, dict) or not isinstance(field.get("name"), str):
            raise SchemaError("a field of it has no name")
        if "type" not in field:
            raise SchemaError(f"the field {field['name']!r:.100} has no type")
    return found
