"""Rewrites a writer's Avro schema so that fastavro itself reads JSON's values, within bounds.

The bytes that a schema describes do not depend on the names in it. So a field found by an alias is
given the name that the configuration has; types get numbers for names; a type that contains itself
is written out ``MAX_NESTING`` times, and what nests deeper is refused; a logical type gets the name
of a reader of ours (fastavro's own would build ``datetime`` and ``Decimal`` objects, ten times as
slow); and a default of the reader's schema becomes a field that takes no bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stream_detector.formats.avro_names import (
    PRIMITIVES,
    Names,
    Node,
    aliases_of,
    fields_of,
    is_record,
)
from stream_detector.formats.errors import SchemaError
from stream_detector.formats.values import MAX_DECIMAL_SCALE, scaling
from stream_detector.formats.wanted import NOTHING, Wanted

MAX_NESTING = 32
"""How often a type may stand inside of itself."""

MAX_VALUES_PER_BYTE = 4
"""Values that an element of an array or map may become for each byte of it: a record of a thousand
nulls takes no byte at all, and a million of them are sent in four."""

_MOST_LEVELS = 400
_MOST_TYPES = 20_000
_LONGEST_SYMBOL = 1024

DEFAULT, TOO_DEEP = "stream-detector-default", "stream-detector-too-deep"
DECIMAL, BASE64, UUID = (
    "stream-detector-decimal",
    "stream-detector-base64",
    "stream-detector-uuid",
)
DURATION, MOMENT = "stream-detector-duration", "stream-detector-moment-"

_UUID_BYTES, _DURATION_BYTES = 16, 12
_LEAST_BYTES = {"null": 0, "float": 4, "double": 8}
_UNITS = {
    ("int", "date"): "days",
    ("int", "time-millis"): "millis",
    ("long", "time-micros"): "micros",
    **{
        ("long", f"{prefix}timestamp-{unit}"): unit
        for prefix in ("", "local-")
        for unit in ("millis", "micros", "nanos")
    },
}


@dataclass(frozen=True, slots=True)
class _Part:
    """A rewritten type.

    Attributes:
        schema: to decode by.
        excess: values that come of it at most beyond ``MAX_VALUES_PER_BYTE`` for each of its
            bytes: the worst of all encodings. Of a record it is the sum of its fields'.
    """

    schema: Any
    excess: int


class Rewriter:
    """Rewrites one schema. State: the types that it has written."""

    def __init__(
        self, schemas: list[Node], moments: str, reader: list[Node] | None, *, whole: bool
    ) -> None:
        """Take the schema, those that it refers to, and what is expected.

        Args:
            schemas: the writer's, and after it what it refers to.
            moments: the unit of moments.
            reader: the reader's likewise, whose aliases and defaults count; None for none.
            whole: whether what is not wanted is read with its meaning too.
        """
        self._schemas, self._names = schemas, Names(schemas)
        self._reader = reader[0] if reader else None
        self._reader_names = Names(reader) if reader else None
        self._moments, self._whole = moments, whole
        self._written: dict[tuple[str, int, int, int], _Part] = {}
        self._kept: list[Any] = []  # their ids are keys above: they must not be reused
        self._level = 0

    def rewritten(self, wanted: Wanted) -> Any:
        """Return the schema to decode by. Raises ``SchemaError``."""
        try:
            return self._type(self._schemas[0], "", wanted, self._reader, 0, wanted=True).schema
        except RecursionError as error:
            raise SchemaError("it nests too deeply") from error

    def _type(
        self, node: Node, space: str, inside: Wanted, reader: Node, depth: int, *, wanted: bool
    ) -> _Part:
        self._level += 1
        try:
            if self._level > _MOST_LEVELS:
                raise SchemaError("it nests too deeply")
            if isinstance(node, str):
                return self._named_or_plain(node, space, inside, reader, depth, wanted=wanted)
            if isinstance(node, list):
                return self._union(node, space, inside, reader, depth, wanted=wanted)
            if not isinstance(node, dict):
                raise SchemaError(f"a type of it is {str(node)[:60]!r}")
            kind = node.get("type")
            if kind in ("array", "map"):
                return self._many(kind, node, space, inside, reader, depth, wanted=wanted)
            if isinstance(kind, str) and kind in ("record", "error", "enum", "fixed"):
                name = node.get("name", "")
                own = node.get("namespace")
                space = own if isinstance(own, str) else space
                return self._named(name, space, inside, reader, depth, wanted=wanted)
            if isinstance(kind, str) and kind in PRIMITIVES:
                return self._plain(kind, node, wanted=wanted or self._whole)
            return self._type(kind, space, inside, reader, depth, wanted=wanted)
        finally:
            self._level -= 1

    def _named_or_plain(
        self, name: str, space: str, inside: Wanted, reader: Node, depth: int, *, wanted: bool
    ) -> _Part:
        if name in PRIMITIVES:
            return self._plain(name, {}, wanted=wanted or self._whole)
        return self._named(name, space, inside, reader, depth, wanted=wanted)

    def _plain(self, kind: str, node: dict[str, Any], *, wanted: bool) -> _Part:
        excess = _excess(_LEAST_BYTES.get(kind, 1))
        logical = node.get("logicalType")
        if not wanted:
            return _Part("bytes" if kind == "string" else kind, excess)
        if kind == "bytes":
            return _Part(self._bytes({"type": "bytes"}, node), excess)
        unit = _UNITS.get((kind, logical)) if isinstance(logical, str) else None
        if unit is None:
            return _Part(kind, excess)
        # A time of day is no moment: always milliseconds.
        moments = self._moments if "timestamp" in str(logical) or unit == "days" else "unix_ms"
        if scaling(unit, moments) is None:
            return _Part(kind, excess)
        return _Part({"type": kind, "logicalType": f"{MOMENT}{unit}-{moments}"}, excess)

    @staticmethod
    def _bytes(written: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
        scale = node.get("scale", 0)
        if (
            node.get("logicalType") == "decimal"
            and type(scale) is int
            and 0 <= scale <= MAX_DECIMAL_SCALE
        ):
            return {**written, "logicalType": DECIMAL, "stream-detector-scale": scale}
        return {**written, "logicalType": BASE64}

    def _union(
        self,
        node: list[Node],
        space: str,
        inside: Wanted,
        reader: Node,
        depth: int,
        *,
        wanted: bool,
    ) -> _Part:
        if not node:
            raise SchemaError("a union of it has no branches")
        parts = [self._type(each, space, inside, reader, depth, wanted=wanted) for each in node]
        excess = max(part.excess for part in parts) - MAX_VALUES_PER_BYTE  # the branch's number
        # Ours may be equal where the writer's were not: what is not wanted, types without names.
        return _Part([part.schema for part in parts], excess)

    def _many(
        self,
        kind: str,
        node: dict[str, Any],
        space: str,
        inside: Wanted,
        reader: Node,
        depth: int,
        *,
        wanted: bool,
    ) -> _Part:
        inner = "items" if kind == "array" else "values"
        if kind == "map":
            below: Wanted = {}
            for each in inside.values():
                below |= each
            inside = below
        part = self._type(
            node.get(inner), space, inside, _inside_of(reader, inner), depth, wanted=wanted
        )
        if part.excess - (MAX_VALUES_PER_BYTE if kind == "map" else 0) > 0:  # the key's length
            raise SchemaError(
                f"elements of a type {kind} of it become more than {MAX_VALUES_PER_BYTE} values a "
                "byte: any number of them could be sent in a few bytes"
            )
        return _Part({"type": kind, inner: part.schema}, _excess(1))

    def _named(
        self, name: str, space: str, inside: Wanted, reader: Node, depth: int, *, wanted: bool
    ) -> _Part:
        full, node, space = self._names.resolve(name, space)
        if full in self._names.recursive:
            depth += 1
            if depth > MAX_NESTING:
                # No value ever comes of it, so none for no byte.
                return _Part({"type": "null", "logicalType": TOO_DEEP}, _excess(1))
        expected = self._expected(reader)
        self._kept += (inside, expected)
        key = (
            f"{full}{'' if wanted or self._whole else ' '}",
            depth,
            id(inside) if inside else 0,
            id(expected),
        )
        if (known := self._written.get(key)) is not None:
            again = known.schema if isinstance(known.schema, str) else known.schema["name"]
            return _Part(again, known.excess)
        if len(self._written) >= _MOST_TYPES:
            raise SchemaError("it has too many types")
        title = f"T{len(self._written)}"
        self._written[key] = _Part(title, 1)
        kind = node["type"]
        if kind == "enum":
            part = _Part(_enum(node, title), _excess(1))
        elif kind == "fixed":
            part = self._fixed(node, title, wanted=wanted or self._whole)
        else:
            part = self._record(node, title, space, inside, expected, depth, wanted=wanted)
        self._written[key] = part
        return part

    def _fixed(self, node: dict[str, Any], title: str, *, wanted: bool) -> _Part:
        size = node.get("size")
        if type(size) is not int or size < 0:
            raise SchemaError("a fixed type of it has no size")
        written: dict[str, Any] = {"type": "fixed", "name": title, "size": size}
        logical = node.get("logicalType")
        if wanted and logical == "uuid" and size == _UUID_BYTES:
            written["logicalType"] = UUID
        elif wanted and logical == "duration" and size == _DURATION_BYTES:
            written["logicalType"] = DURATION
        elif wanted:
            written = self._bytes(written, node)
        return _Part(written, _excess(size))

    def _record(
        self,
        node: dict[str, Any],
        title: str,
        space: str,
        inside: Wanted,
        reader: Node,
        depth: int,
        *,
        wanted: bool,
    ) -> _Part:
        fields = fields_of(node)
        expected = fields_of(reader) if reader is not None else []
        taken = {field["name"] for field in fields}
        written: list[dict[str, Any]] = []
        excess, met = 1, set[str]()
        for field in fields:
            name, partner = _name_for(field, expected, inside, taken)
            met.add(name)
            below = inside.get(name)
            part = self._type(
                field["type"],
                space,
                NOTHING if below is None else below,
                partner["type"] if partner else None,
                depth,
                wanted=wanted and below is not None,
            )
            written.append({"name": name, "type": part.schema})
            excess += part.excess
        for field in expected:
            names = {field["name"], *aliases_of(field)}
            if "default" in field and not names & (met | taken):
                name = next((each for each in inside if each in names), field["name"])
                default = {
                    "type": "null",
                    "logicalType": DEFAULT,
                    "stream-detector-value": field["default"],
                }
                written.append({"name": name, "type": default})
                excess += 1
        return _Part({"type": "record", "name": title, "fields": written}, excess)

    def _expected(self, reader: Node) -> Node:
        """Return the record that the reader's schema has here; None for none."""
        options = reader if isinstance(reader, list) else [reader]
        for option in options:
            found = option
            if (
                isinstance(found, str)
                and found not in PRIMITIVES
                and self._reader_names is not None
            ):
                found = self._reader_names.resolve(found, "")[1]
            if is_record(found):
                return found
        return None


def _excess(size_bytes: int) -> int:
    """Return the excess of one value of so many bytes."""
    return 1 - MAX_VALUES_PER_BYTE * size_bytes


def _inside_of(reader: Node, inner: str) -> Node:
    options = reader if isinstance(reader, list) else [reader]
    return next((each[inner] for each in options if isinstance(each, dict) and inner in each), None)


def _enum(node: dict[str, Any], title: str) -> dict[str, Any]:
    symbols = node.get("symbols")
    if not isinstance(symbols, list) or not all(isinstance(each, str) for each in symbols):
        raise SchemaError("an enum of it has no list of symbols")
    if any(len(each) > _LONGEST_SYMBOL for each in symbols):
        raise SchemaError(f"a symbol of it has more than {_LONGEST_SYMBOL} characters")
    return {"type": "enum", "name": title, "symbols": symbols}


def _name_for(
    field: dict[str, Any], expected: list[dict[str, Any]], inside: Wanted, taken: set[str]
) -> tuple[str, dict[str, Any] | None]:
    """Return the name that a field has for the configuration, and what the reader expects there."""
    own: str = field["name"]
    names = [own, *aliases_of(field)]
    partner = next((each for each in expected if each["name"] in names), None)
    if partner is None:
        partner = next((each for each in expected if own in aliases_of(each)), None)
    if partner is not None:
        names = [own, partner["name"], *names[1:], *aliases_of(partner)]
    for name in names:
        if name in inside and (name == own or name not in taken):
            return name, partner
    if partner is not None and (partner["name"] == own or partner["name"] not in taken):
        return partner["name"], partner
    return own, partner
