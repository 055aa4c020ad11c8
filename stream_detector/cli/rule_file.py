"""Rules from a file, for a back-test: as ``rule list --json`` prints them, or acts line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stream_detector.errors import ActError, ConfigurationError
from stream_detector.rules import read_act

_LARGEST_FILE_BYTES = 64 * 2**20


def read_rules(path: str | None) -> list[str]:
    """The acts of a file, as JSON; none without a file. Raises ``ConfigurationError``."""
    if path is None:
        return []
    try:
        if Path(path).stat().st_size > _LARGEST_FILE_BYTES:
            raise ConfigurationError(f"--rules {path}: it is larger than 64 MiB")
        text = Path(path).read_text(encoding="utf-8")
        values = _values(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"--rules {path}: {error}") from error
    acts = [_act(value) for value in values]
    for number, act in enumerate(acts, start=1):
        try:
            read_act(act)
        except ActError as error:
            raise ConfigurationError(f"--rules {path}: number {number}: {error}") from error
    return acts


def _values(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        values: list[Any] = json.loads(text)
        return values
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _act(value: Any) -> str:
    """A rule is one that is to be added; ``state`` is what the list says of it."""
    if isinstance(value, dict) and "act" not in value:
        rule = {name: each for name, each in value.items() if name != "state"}
        value = {"version": 1, "act": "rule-add", "rule": rule}
    return json.dumps(value)
