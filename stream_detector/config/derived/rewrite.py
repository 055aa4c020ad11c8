"""Other parameters for the section `detector` of a file, everything else left as it was written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from stream_detector.config.loading.diagnostics import Diagnostic
from stream_detector.config.loading.yaml_nodes import compose
from stream_detector.config.models.config import Config

_SECTION = "detector"


class NotRewritableError(Exception):
    """The section is written in a way that cannot be changed in place (an alias, say)."""


def rewrite_detector(text: str, values: Mapping[str, Any], notes: str = "") -> str:
    """``text`` with parameters of its section `detector` replaced or added.

    Comments and layout stay: a value is replaced where it stands, a new key comes after the last.

    Args:
        text: a configuration that can be read.
        values: parameters by name; numbers, text, booleans, lists of them, None.
        notes: lines of comment (each beginning with ``#``) to put before the section, or at the
            top of a file in flow style.

    Raises:
        NotRewritableError: the section, or a value in it, is an alias or has no place of its own.
    """
    root = compose(text, "text")
    if root is None or isinstance(root, Diagnostic) or not isinstance(root, yaml.MappingNode):
        raise NotRewritableError("the file is no mapping")
    if not root.flow_style and not text.endswith("\n"):
        text += "\n"
    edits = list(_edits(text, root, values))
    found = _item(root, _SECTION)
    if root.flow_style:
        where = 0
    elif found is not None:
        where = _line_start(text, found[0].start_mark.index)
    else:
        where = len(text)
    edits.append((where, where, notes))
    # From the end, so that places before an edit stay what they are; at one place the notes,
    # which come last in the list, are put in last and so stand first.
    for start, stop, new in sorted(edits, key=lambda edit: -edit[0]):
        text = text[:start] + new + text[stop:]
    return text


def exchange_models(text: str, *, drop: bool = False) -> str:
    """``text`` with `challenger.detector` as its section `detector`, and the other way round.

    What stood there is written on one line; comments inside the two are lost, all others stay.

    Args:
        text: a configuration with a challenger that can be read.
        drop: leave the section `challenger` out instead.

    Raises:
        NotRewritableError: a section is an alias, is in flow style, or holds something that has
            another meaning on one line.
    """
    root = compose(text, "text")
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise NotRewritableError("the file is no mapping in block style")
    challenger = _item(root, "challenger")
    if challenger is None or not isinstance(challenger[1], yaml.MappingNode):
        raise NotRewritableError("the file has no section challenger")
    shadow = _own(_item(challenger[1], _SECTION), f"challenger.{_SECTION}")
    if shadow is None:
        raise NotRewritableError(f"the file has no challenger.{_SECTION}")
    champion = _own(_item(root, _SECTION), _SECTION)
    taken_over = _on_one_line(text, shadow[1])
    edits: list[tuple[int, int, str]] = []
    start = _line_start(text, challenger[0].start_mark.index)
    if champion is None:
        edits.append((start, start, f"{_SECTION}: {taken_over}\n"))
        default = Config.model_fields[_SECTION].get_default(call_default_factory=True)
        given_up = f"{{ kind: {default.kind} }}"
    else:
        edits.append((champion[0].end_mark.index, _end(champion[1]), f": {taken_over}"))
        given_up = _on_one_line(text, champion[1])
    if drop:
        end = text.find("\n", _end(challenger[1]))
        edits.append((start, len(text) if end < 0 else end + 1, ""))
    else:
        edits.append((shadow[0].end_mark.index, _end(shadow[1]), f": {given_up}"))
    # At one place an insertion goes before what is replaced there.
    for first, last, new in sorted(edits, key=lambda edit: (-edit[0], -edit[1])):
        text = text[:first] + new + text[last:]
    return text


def _own(
    found: tuple[yaml.Node, yaml.Node] | None, name: str
) -> tuple[yaml.Node, yaml.Node] | None:
    if found is not None and found[1].start_mark.index < found[0].end_mark.index:
        raise NotRewritableError(f"{name} is an alias")
    return found


_UNSAFE_ON_ONE_LINE = frozenset(",[]{}#&*!|>%@`$\n")
"""What a plain scalar of a block may hold and one between braces may not, or not as the same."""


def _on_one_line(text: str, node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        pairs = (
            f"{_on_one_line(text, key)}: {_on_one_line(text, value)}" for key, value in node.value
        )
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(node, yaml.SequenceNode):
        return "[" + ", ".join(_on_one_line(text, each) for each in node.value) + "]"
    written = text[node.start_mark.index : node.end_mark.index]
    quoted = getattr(node, "style", None) in ("'", '"')
    if "\n" in written or (not quoted and _UNSAFE_ON_ONE_LINE & {*written}):
        raise NotRewritableError(f"{written.strip()!r:.80} cannot stand on one line")
    return written


def _edits(
    text: str, root: yaml.MappingNode, values: Mapping[str, Any]
) -> Iterator[tuple[int, int, str]]:
    """(start, end, new text) of each change."""
    found = _item(root, _SECTION)
    if not values:
        return
    if found is None:
        if root.flow_style:
            raise NotRewritableError(f"the file has no section {_SECTION}")
        lines = "".join(f"  {name}: {_written(value)}\n" for name, value in values.items())
        yield len(text), len(text), f"{_SECTION}:\n{lines}"
        return
    key, section = found
    if not isinstance(section, yaml.MappingNode) or not section.value:
        raise NotRewritableError(f"the section {_SECTION} is empty")
    if section.start_mark.index < key.end_mark.index:
        raise NotRewritableError(f"the section {_SECTION} is an alias")
    added = []
    for name, value in values.items():
        old = _item(section, name)
        if old is None:
            added.append((name, value))
            continue
        if old[1].start_mark.index < old[0].end_mark.index:
            raise NotRewritableError(f"{_SECTION}.{name} is an alias")
        yield old[1].start_mark.index, _end(old[1]), _written(value)
    if added:
        yield _addition(text, section, added)


def _addition(
    text: str, section: yaml.MappingNode, added: list[tuple[str, Any]]
) -> tuple[int, int, str]:
    last = _end(section.value[-1][1])
    if section.flow_style:
        return last, last, "".join(f", {name}: {_written(value)}" for name, value in added)
    line_end = text.find("\n", last)
    place = len(text) if line_end < 0 else line_end
    indent = " " * section.value[0][0].start_mark.column
    lines = "".join(f"\n{indent}{name}: {_written(value)}" for name, value in added)
    return place, place, lines


def _item(node: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value == name:
            return key, value
    return None


def _end(node: yaml.Node) -> int:
    """Find the end of a value. The mark of a block collection lies behind the comments after it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _line_start(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


def _written(value: Any) -> str:
    """JSON is YAML as well, 1e-05 included."""
    return json.dumps(value)
