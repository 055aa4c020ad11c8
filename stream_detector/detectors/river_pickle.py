"""River models to bytes and back, without executing anything that the bytes name.

A pickle is a program: it names callables and calls them. This reader looks every name up in short
lists and refuses all others, so a forged snapshot can build River's objects and nothing else.
"""

from __future__ import annotations

import builtins
import collections
import functools
import importlib
import importlib.metadata
import io
import pickle
import random
from typing import Any

import numpy as np

from stream_detector.errors import StateError, StateMismatchError

PROTOCOL = 5

RIVER_VERSION = importlib.metadata.version("river")
"""Release that is installed; River reads only what the same release wrote."""

_PLAIN: dict[tuple[str, str], Any] = {
    **{
        ("builtins", name): getattr(builtins, name)
        for name in (
            *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int"),
            *("list", "object", "range", "set", "slice", "str", "tuple"),
        )
    },
    **{
        ("collections", name): getattr(collections, name)
        for name in ("Counter", "OrderedDict", "defaultdict", "deque")
    },
    ("functools", "partial"): functools.partial,
    ("random", "Random"): random.Random,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""Names that stand for exactly these objects."""

_FUNCTIONS = {
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("river._river_rust.vectordict", "euclidean_distance_tuple"),
    ("river.utils.math", "minkowski_distance"),
}
"""Functions that NumPy's arrays and River's neighbours are stored with; looked up when named."""

_RIVER_ROOMS = frozenset(
    (
        *("_river_rust", "anomaly", "base", "cluster", "covariance", "drift", "dummy", "ensemble"),
        *("facto", "feature_extraction", "feature_selection", "forest", "imblearn"),
        *("linear_model", "metrics", "misc", "multiclass", "naive_bayes", "neighbors", "optim"),
        *("preprocessing", "proba", "rules", "sketch", "stats", "tree", "utils"),
    )
)
"""Packages of River whose classes may be built: those that models are made of. Not here: data sets
and streams (they open files and connections), wrappers of other libraries, benchmarks."""


class _RiverUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # overrides pickle's own look-up
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if (module, name) in _FUNCTIONS:
            return getattr(importlib.import_module(module), name)
        # A dotted name would walk from an admitted class to whatever hangs on it.
        if "." not in name and _in_river(module):
            found = getattr(importlib.import_module(module), name, None)
            # River's modules hold other libraries' names too: what counts is where it is defined.
            if isinstance(found, type) and _in_river(found.__module__):
                return found
        raise StateError(
            f"refused to load {module}.{name}: not among the names a River model needs"
        )


def _in_river(module: str) -> bool:
    package, _, rest = module.partition(".")
    return package == "river" and rest.partition(".")[0] in _RIVER_ROOMS


def dump_model(model: object) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """The model as bytes, (length,) uint8.

    Raises:
        StateError: The bytes could not be read back (a bound method or a function in the model).
    """
    try:
        content = pickle.dumps(model, protocol=PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise StateError(f"{type(model).__name__} cannot be stored: {error}") from error
    _load(content)
    return np.frombuffer(content, dtype=np.uint8).copy()


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
    model = _load(content.tobytes())
    if type(model) is not kind:
        raise StateMismatchError(f"expected a {kind.__name__}, found a {type(model).__name__}")
    return model


def _load(content: bytes) -> Any:
    try:
        return _RiverUnpickler(io.BytesIO(content)).load()
    except (
        pickle.UnpicklingError,
        EOFError,
        ImportError,
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        MemoryError,
    ) as error:  # what pickle documents, and what damaged bytes were seen to raise
        raise StateError(f"stored River model cannot be read: {error!r:.200}") from error
