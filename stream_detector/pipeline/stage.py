"""Stages of the pipeline that somebody may time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

Stage: TypeAlias = Callable[[str], AbstractContextManager[Any]]
"""Gives, for the name of a stage, a context manager that the stage runs in."""


def untimed(_stage: str) -> AbstractContextManager[None]:
    """Time nothing."""
    return nullcontext()
