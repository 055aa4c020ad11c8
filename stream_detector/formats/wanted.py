"""The fields that a configuration reads, as a tree: what need not be read can be passed over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Wanted: TypeAlias = dict[str, "Wanted"]
"""By the name of a field what is wanted inside of it; nothing for a value of its own."""

NOTHING: Wanted = {}


def wanted_tree(routes: Iterable[tuple[str | int, ...]]) -> Wanted:
    """Return the tree of routes as ``decoding.structs`` has them; elements of arrays are one.

    >>> wanted_tree([("card", "ids", 0), ("card", "kind"), ("amount",)])
    {'card': {'ids': {}, 'kind': {}}, 'amount': {}}
    """
    root: Wanted = {}
    for route in routes:
        node = root
        for step in route:
            if isinstance(step, str) and not step.startswith("#"):
                node = node.setdefault(step, {})
    return root
