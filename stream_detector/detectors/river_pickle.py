"""River models to bytes and back, without executing anything that the bytes name.

Bytes from a disk or a topic are read by ``pickle_reader``, which puts admitted objects together and
does nothing else. River's own objects in Rust read their state in code that trusts it: a process of
its own, with limits, reads such bytes first, and is the one that dies of them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import io
import pickle
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from stream_detector.detectors.pickle_reader import read_pickle
from stream_detector.detectors.pickle_values import Global
from stream_detector.errors import StateError, StateMismatchError

PROTOCOL = 5

RIVER_VERSION = importlib.metadata.version("river")
"""Release that is installed; River reads only what the same release wrote."""

MAX_MODEL_BYTES = 2**30
TRIAL_SECONDS = 120.0
"""Time for the process that reads a model first; it takes about a second for a small one."""

_DEEPEST_PARAMETER = 8
_IN_RUST = b"_river_rust"


class _OwnUnpickler(pickle.Unpickler):
    """Reads bytes that this process has just written, to see that others can read them, too."""

    def find_class(self, module: str, name: str) -> Any:  # overrides pickle's own look-up
        Global(module, name)
        return getattr(importlib.import_module(module), name)


def dump_model(model: object) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """The model as bytes, (length,) uint8.

    Raises:
        StateError: The bytes could not be read back (a bound method or a function in the model).
    """
    try:
        content = pickle.dumps(model, protocol=PROTOCOL)
        _OwnUnpickler(io.BytesIO(content)).load()
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise StateError(f"{type(model).__name__} cannot be stored: {error}") from error
    return np.frombuffer(content, dtype=np.uint8).copy()


def parameters_of(model: object, place: str = "", depth: int = 0) -> dict[str, Any]:
    """The plain values that a River object and those inside of it were made with, by their place.

    Under the names of the constructors' arguments, as River itself finds them to make a copy, and
    of those of the classes beneath: a one-class SVM has the penalty that it hands to its base.
    """
    if isinstance(model, bool | int | float | str | None):
        return {place: model}
    inner: Iterable[tuple[Any, Any]] = ()
    if depth >= _DEEPEST_PARAMETER:
        return {}
    if isinstance(model, dict):
        inner = model.items()
    elif isinstance(model, list | tuple):
        inner = enumerate(model)
    elif type(model).__module__.startswith("river."):
        made_by = [each for each in type(model).__mro__ if each.__module__.startswith("river.")]
        names = [name for each in made_by for name in inspect.signature(each).parameters]
        inner = ((name, getattr(model, name)) for name in names if hasattr(model, name))
    found: dict[str, Any] = {}
    for name, value in inner:
        found |= parameters_of(value, f"{place}.{name}" if place else str(name), depth + 1)
    return found


def copy_model(model: object) -> Any:
    """A second model with the same state, as it comes out of its bytes.

    Raises:
        StateError: it cannot be stored.
    """
    return _OwnUnpickler(io.BytesIO(dump_model(model).tobytes())).load()


def load_model(content: np.ndarray[Any, np.dtype[np.uint8]], version: str, kind: type) -> Any:
    """The model that ``dump_model`` stored.

    Args:
        content: (length,) uint8.
        version: Release of River that stored it.
        kind: Class that the model must be of, exactly.

    Raises:
        StateMismatchError: Another release or class.
        StateError: The bytes are no model, or name what a River model does not need.
    """
    if version != RIVER_VERSION:
        raise StateMismatchError(
            f"the model was stored by River {version}, this is River {RIVER_VERSION}; "
            "River reads only what the same release wrote"
        )
    if content.size > MAX_MODEL_BYTES:
        raise StateError(f"a River model of {content.size} bytes: {MAX_MODEL_BYTES} is the limit")
    stored = content.tobytes()
    if _IN_RUST in stored:
        read_elsewhere(stored)
    model = read_model(stored)
    if type(model) is not kind:
        raise StateMismatchError(f"expected a {kind.__name__}, found a {type(model).__name__}")
    return model


def read_model(content: bytes) -> Any:
    """The object in a pickle. Raises ``StateError`` on whatever is no River model."""
    try:
        return read_pickle(content)
    except (
        EOFError,
        ImportError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:  # what damaged bytes were seen to raise
        raise StateError(f"stored River model cannot be read: {error!r:.200}") from error


def read_elsewhere(content: bytes) -> None:
    """Read the bytes in a process with limits. Raises ``StateError`` where it does not survive."""
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "stream_detector.detectors.pickle_trial"],
            input=content,
            capture_output=True,
            timeout=TRIAL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StateError(f"stored River model cannot be read within {TRIAL_SECONDS:g} s") from error
    except OSError as error:
        raise StateError(
            f"no process could be started to read the stored River model first: {error}"
        ) from error
    if ran.returncode:
        said = ran.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        end = f"signal {-ran.returncode}" if ran.returncode < 0 else f"exit code {ran.returncode}"
        raise StateError(
            f"stored River model cannot be read: a process that tried it first ended with {end}"
            f"{said and f' ({said:.200})'}"
        )
