"""The type that msgspec reads an event into, made for a configuration."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec


def _nested_getter(attributes: list[str]) -> Callable[[Any], Any]:
    """Reads a path of attributes; None where an object on the way is absent or null."""

    def get(value: Any) -> Any:
        for attribute in attributes:
            if value is None:
                return None
            value = getattr(value, attribute)
        return value

    return get


def struct_of(fields: dict[str, Any]) -> tuple[type, dict[str, Callable[[Any], Any]]]:
    """A Struct type for dotted field names, and a getter for each.

    A name with dots is a path into nested objects; a missing object on the way reads as None.
    """
    tree: dict[str, Any] = {}
    for name, kind in fields.items():
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                message = f"field {name!r} reads inside a field that is read itself"
                raise ValueError(message)  # noqa: TRY004 - the configuration is wrong, not a type
        if isinstance(node.get(leaf), dict):
            raise ValueError(  # noqa: TRY004 - likewise
                f"field {name!r} is read itself and read inside"
            )
        node[leaf] = kind
    getters: dict[str, Callable[[Any], Any]] = {}

    def build(node: dict[str, Any], prefix: str, path: list[str]) -> type:
        members: list[tuple[str, Any, Any]] = []
        rename: dict[str, str] = {}
        for position, (name, kind) in enumerate(node.items()):
            attribute = f"f{position}"
            rename[attribute] = name
            if isinstance(kind, dict):
                inner = build(kind, f"{prefix}{name}.", [*path, attribute])
                members.append((attribute, inner | None, None))
            else:
                members.append((attribute, kind, None))
                getters[prefix + name] = (
                    _nested_getter([*path, attribute]) if path else attrgetter(attribute)
                )
        return msgspec.defstruct("Event", members, rename=rename, gc=False)

    return build(tree, "", []), getters
