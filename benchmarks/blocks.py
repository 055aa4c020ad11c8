"""Blocks of a page that are made anew, each between two comments."""

from __future__ import annotations

import re
from collections.abc import Mapping


def with_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """The page with each block between ``<!-- its name -->`` and ``<!-- end -->`` made anew."""
    for name, block in blocks.items():
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = marks.sub(lambda found, block=block: f"{found[1]}{block}\n{found[2]}", text)
    return text
