"""The frame of a status page, and its numbers written for people."""

from __future__ import annotations

import math
import re

from stream_detector.markup import escape
from stream_detector.telemetry.status.style import STYLE


def name_of(feature: str) -> str:
    """The name of a feature, which a narrow screen may break after its dots and underscores."""
    return re.sub(r"([._])(?=\w)", r"\1<wbr>", escape(feature))


def number(value: float, digits: int = 3) -> str:
    """``12,345``, ``3.14``, or a dash for what is not known."""
    if not math.isfinite(value):
        return "–"  # noqa: RUF001 - a dash is what people expect here
    if abs(value) >= 100:  # noqa: PLR2004 - from here on nobody reads decimals
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def share(value: float) -> str:
    """``0.31 %``, or a dash."""
    return f"{number(value * 100)} %" if math.isfinite(value) else number(value)


def duration(seconds: float) -> str:
    """``3 d 4 h``, ``5 min 10 s``, ``2.5 s``; a dash for what is not known."""
    if not math.isfinite(seconds):
        return number(seconds)
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004
    whole = int(seconds)
    for unit, size, smaller, rest in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // rest} {smaller}"
    return f"{whole // 60} min {whole % 60} s"


def document(title: str, body: str, *, refresh_seconds: int | None = None) -> str:
    """A whole page; ``body`` is markup already."""
    again = f'<meta http-equiv="refresh" content="{refresh_seconds}">' if refresh_seconds else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"{again}<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )
