"""The fields that a schema has, by path, and what it says of them: for `init` and `check`."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeAlias

import msgspec

from stream_detector.formats.avro_names import (
    PRIMITIVES,
    Names,
    Node,
    aliases_of,
    fields_of,
    is_record,
)
from stream_detector.formats.errors import SchemaError
from stream_detector.formats.protobuf import ProtobufFiles
from stream_detector.formats.schemas import Schema

Meaning: TypeAlias = Literal["moment", "enum", "value", "inside"]
"""``inside``: a record or a map, whose own fields are named by longer paths."""

ANY = "*"
"""Stands for any key of a map."""

_MOST_LEVELS = 12
_MOST_FIELDS = 5000
_MOST_MESSAGES = 200
_INDEX = re.compile(r"\[[^\[\]]*\]")
_MOMENTS = ("date", "timestamp-", "local-timestamp-")


@dataclass(frozen=True, slots=True)
class FieldOutline:
    """A field of a schema: what it means, and what the schema's author says of it."""

    meaning: Meaning
    doc: str = ""


def outline(schema: Schema, message: str | None = None) -> dict[str, FieldOutline]:
    """Return the fields of a schema by dotted path; elements of arrays have the array's path.

    Args:
        schema: of Avro, Protobuf or JSON Schema.
        message: of Protobuf; None for the first of the file.

    Raises:
        SchemaError: nothing can be read by it.
    """
    found: dict[str, FieldOutline] = {}
    if schema.kind == "protobuf":
        fields = _protobuf(schema, message)
    else:
        fields = _json_schema(schema) if schema.kind == "json_schema" else _avro(schema)
    for path, field in fields:
        found.setdefault(path, field)
        if len(found) >= _MOST_FIELDS:
            break
    return found


def fitting_outline(schema: Schema, names: Collection[str]) -> tuple[dict[str, FieldOutline], str]:
    """Return the fields of the message that has the most of these names, and which one it is.

    Each record of Protobuf says which message of the file it is; its schema does not say which of
    them are events. Of other formats it is the whole schema, and no name. Raises ``SchemaError``.
    """
    if schema.kind != "protobuf":
        return outline(schema), ""
    files = ProtobufFiles(schema.parts, {}, "unix_ms", whole=True)
    best, most, called = outline(schema), -1, ""
    for message in islice(files.messages(), _MOST_MESSAGES):
        fields = outline(schema, message)
        count = sum(has_field(fields, name) for name in names)
        if count > most:
            best, most, called = fields, count, message
    return best, called


def has_field(fields: Mapping[str, FieldOutline], name: str) -> bool:
    """Tell whether a schema has what a configuration calls by this name."""
    plain = _INDEX.sub("", name)
    if plain in fields:
        return True
    parts = plain.split(".")
    above = (".".join(parts[:size]) for size in range(1, len(parts)))
    return any(f"{each}.{ANY}" in fields for each in above)  # in a map there may be anything


def _json_schema(schema: Schema) -> Iterator[tuple[str, FieldOutline]]:
    try:
        root = msgspec.json.decode(schema.parts[0])
    except msgspec.MsgspecError as error:
        raise SchemaError(f"it is no JSON: {str(error)[:200]}") from error
    waiting = deque([(root, "")])
    for _ in range(_MOST_FIELDS):  # in breadth: a type may hold itself, and several times
        if not waiting:
            return
        node, path = waiting.popleft()
        node = _referred(node, root)
        if isinstance(node, dict):
            yield from _json_fields(node, root, path, waiting)


def _json_fields(
    node: dict[str, Any], root: Node, path: str, waiting: deque[tuple[Node, str]]
) -> Iterator[tuple[str, FieldOutline]]:
    """Yield the fields of a type, and put what is inside of it among what waits."""
    properties = node.get("properties")
    for name, found in properties.items() if isinstance(properties, dict) else ():
        inner, each = f"{path}.{name}" if path else name, _referred(found, root)
        if isinstance(each, dict):
            doc = each.get("description")
            meaning: Meaning = "enum" if isinstance(each.get("enum"), list) else "value"
            inside = meaning == "value" and "properties" in each
            said = doc if isinstance(doc, str) else ""
            yield inner, FieldOutline("inside" if inside else meaning, said)
            waiting.append((each, inner))
    parts = [node.get("items")]
    for name in ("allOf", "anyOf", "oneOf"):
        several = node.get(name)
        parts += several if isinstance(several, list) else []
    waiting.extend((part, path) for part in parts)
    if path and (isinstance(node.get("additionalProperties"), dict) or "patternProperties" in node):
        yield f"{path}.{ANY}", FieldOutline("value")


def _referred(node: Node, root: Node) -> Node:
    """Return what a type is that refers to a place in its schema."""
    place = node.get("$ref") if isinstance(node, dict) else None
    if place == "#":
        return root
    if not isinstance(place, str) or not place.startswith("#/"):
        return node
    for step in place[2:].split("/"):
        root = root.get(step.replace("~1", "/").replace("~0", "~")) if type(root) is dict else None
    return root


def _avro(schema: Schema) -> Iterator[tuple[str, FieldOutline]]:
    try:
        nodes = [msgspec.json.decode(text) for text in schema.parts]
    except msgspec.MsgspecError as error:
        raise SchemaError(f"it is no JSON: {str(error)[:200]}") from error
    names = Names(nodes)
    yield from _avro_fields(nodes[0], names, "", "", 0)


def _avro_fields(
    node: Node, names: Names, space: str, path: str, level: int
) -> Iterator[tuple[str, FieldOutline]]:
    """Yield the fields inside of a type."""
    if level > _MOST_LEVELS:
        return
    if isinstance(node, str) and node not in PRIMITIVES:
        _, node, space = names.resolve(node, space)
    if isinstance(node, list):
        for branch in node:
            yield from _avro_fields(branch, names, space, path, level + 1)
    elif is_record(node):
        space = node.get("namespace") or space
        for field in fields_of(node):
            yield from _avro_field(field, names, space, path, level)
    elif isinstance(node, dict) and node.get("type") == "map":
        yield f"{path}.{ANY}", FieldOutline("value")
    elif isinstance(node, dict):
        inner = node.get("items", node.get("type"))
        if isinstance(inner, dict | list) or node.get("type") == "array":
            yield from _avro_fields(inner, names, space, path, level + 1)


def _avro_field(
    field: dict[str, Any], names: Names, space: str, path: str, level: int
) -> Iterator[tuple[str, FieldOutline]]:
    """Yield a field under each of its names, and what is inside of it."""
    doc = field.get("doc")
    meaning = _avro_meaning(field["type"], names, space)
    for name in (field["name"], *aliases_of(field)):
        inner = f"{path}.{name}" if path else name
        yield inner, FieldOutline(meaning, doc if isinstance(doc, str) else "")
        yield from _avro_fields(field["type"], names, space, inner, level + 1)


def _avro_meaning(node: Node, names: Names, space: str) -> Meaning:
    options = [each for each in node if each != "null"] if isinstance(node, list) else [node]
    for each in options:
        found = each
        if isinstance(found, str) and found not in PRIMITIVES:
            found = names.resolve(found, space)[1]
        if isinstance(found, dict):
            if str(found.get("logicalType")).startswith(_MOMENTS):
                return "moment"
            if found.get("type") == "enum":
                return "enum"
            if is_record(found) or found.get("type") in ("map", "array"):
                return "inside"
    return "value"


def _protobuf(schema: Schema, message: str | None) -> Iterator[tuple[str, FieldOutline]]:
    files = ProtobufFiles(schema.parts, {}, "unix_ms", whole=True)
    name = files.message_called(message) if message else files.message_at((0,))
    yield from _protobuf_fields(files.descriptor(name), "", 0)


def _protobuf_fields(descriptor: Any, path: str, level: int) -> Iterator[tuple[str, FieldOutline]]:
    if level > _MOST_LEVELS:
        return
    for field in descriptor.fields:
        for name in dict.fromkeys((field.name, field.json_name)):
            inner = f"{path}.{name}" if path else name
            kind = field.message_type
            if kind is None:
                yield inner, FieldOutline("enum" if field.enum_type is not None else "value")
            elif kind.full_name == "google.protobuf.Timestamp":
                yield inner, FieldOutline("moment")
            elif kind.GetOptions().map_entry or kind.full_name == "google.protobuf.Struct":
                yield inner, FieldOutline("inside")
                yield f"{inner}.{ANY}", FieldOutline("value")
            elif kind.full_name.startswith(("google.protobuf.", "confluent.type.")):
                yield inner, FieldOutline("value")
            else:
                yield inner, FieldOutline("inside")
                yield from _protobuf_fields(kind, inner, level + 1)
    for choice in descriptor.oneofs:
        yield f"{path}.{choice.name}" if path else choice.name, FieldOutline("enum")
