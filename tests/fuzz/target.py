"""Description of one reader of foreign bytes."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from fuzz import targets
from fuzz.mutations import mutated

Mutate = Callable[[Random, Sequence[bytes]], bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """A reader of foreign bytes, and what is tried on it.

    Attributes:
        seeds: makes sound inputs; called once a process.
        read: reads one input; True where it was taken in, False where it was refused as it should
            be. Whatever it raises is a finding, and so is a crash, a hang, or a gigabyte.
        mutate: makes an input out of the seeds.
    """

    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[bytes], bool]
    mutate: Mutate = mutated


def names() -> list[str]:
    """Names of all targets."""
    return sorted(each.name for each in pkgutil.iter_modules(targets.__path__))


def load(name: str) -> Target:
    """The target of a name, or of a module given by its whole name."""
    module = importlib.import_module(name if "." in name else f"fuzz.targets.{name}")
    target: Target = module.TARGET
    return target
