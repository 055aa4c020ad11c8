"""HTML and SVG that cannot be broken by what is put into it: text is escaped where it enters."""

from __future__ import annotations

import html
import re

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""Characters that no HTML document may hold, surrogates of broken text among them."""

_VOID = frozenset({"meta", "br", "hr", "col"})


class Markup(str):
    """Text that is markup already. Made by ``tag``, ``join`` and ``raw`` only."""

    __slots__ = ()


Child = Markup | str | int | None


def escape(text: str) -> Markup:
    """Text as markup: ``<``, ``>``, ``&`` and quotes escaped, what is not allowed replaced."""
    return Markup(html.escape(_CONTROL.sub("\ufffd", text)))


def raw(text: str) -> Markup:
    """Text of this package's own that is markup: never anything from outside."""
    return Markup(text)


def join(*children: Child) -> Markup:
    """Children one after the other; None is nothing."""
    parts = (
        child if isinstance(child, Markup) else escape(str(child))
        for child in children
        if child is not None
    )
    return Markup("".join(parts))


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """An element.

    Args:
        name: of the element.
        children: text (which is escaped) and markup; None is left out.
        attributes: a trailing underscore is dropped (``class_``), others become hyphens; None
            leaves the attribute out. Numbers are written with one decimal.

    >>> tag("p", "1 < 2", class_="a")
    '<p class="a">1 &lt; 2</p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def short(number: float) -> str:
    """A coordinate: one decimal at most.

    >>> short(12.0), short(3.14159), short(-0.01)
    ('12', '3.1', '0')
    """
    text = f"{number:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else short(value)
