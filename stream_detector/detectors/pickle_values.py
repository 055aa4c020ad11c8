"""Objects of a pickle by name, and what may be done with each: the rules of ``pickle_reader``.

A pickle asks for three things: look up a name, call what was found, and set the state of what the
call returned. Each is answered here for the few objects that River's models are made of, with the
arguments checked first, because the C code behind them trusts them.
"""

from __future__ import annotations

import collections
import functools
import importlib
import math
import random
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stream_detector.errors import StateError

_ROOMS = frozenset(
    (
        *("_river_rust", "anomaly", "base", "cluster", "covariance", "drift", "dummy", "ensemble"),
        *("facto", "feature_extraction", "feature_selection", "forest", "imblearn"),
        *("linear_model", "metrics", "misc", "multiclass", "naive_bayes", "neighbors", "optim"),
        *("preprocessing", "proba", "rules", "sketch", "stats", "tree", "utils"),
    )
)
"""Packages of River whose classes may be built: those that models are made of. Not here: data sets
and streams (they open files and connections), wrappers of other libraries, benchmarks."""

_DTYPE = re.compile(r"[<|=]?(?:b1|[iu][1248]|f[248]|c8|c16|\?)")
_CONTAINERS = (list, tuple, dict, set, frozenset, bytes, bytearray, str, collections.deque)
_MAX_DIMENSIONS = 8
_DTYPE_PARTS = 8
_TWISTER_WORDS = 625
_WITH_SLOTS = 2


def _dtype(*arguments: Any) -> np.dtype[Any]:
    text = arguments[0] if arguments else None
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        raise StateError(f"refused an array of type {text!r:.80}")
    return np.dtype(text)


def _shape(value: Any) -> tuple[int, ...]:
    extents = value if isinstance(value, tuple) else (value,)
    if len(extents) > _MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in extents):
        raise StateError(f"refused an array of shape {value!r:.80}")
    return extents


def _array(content: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray[Any, Any]:
    """Return what NumPy's ``_frombuffer`` does, once sizes are known to fit."""
    extents = _shape(shape)
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, np.dtype):
        raise StateError("refused an array that is not made of bytes and a type")
    if order not in ("C", "F") or math.prod(extents) * dtype.itemsize != len(content):
        raise StateError(f"an array of shape {extents!r:.80} does not have {len(content)} bytes")
    return np.frombuffer(bytearray(content), dtype=dtype).reshape(extents, order=order)


def _array_shell(kind: Any, shape: Any, code: Any) -> np.ndarray[Any, Any]:
    """Return the empty array that a state is set to next."""
    if kind is not np.ndarray or shape != (0,) or code not in (b"b", "b"):
        raise StateError("refused an array that does not begin empty")
    return np.ndarray((0,), dtype=np.int8)


def _scalar(dtype: Any, content: Any) -> Any:
    if not isinstance(dtype, np.dtype) or not isinstance(content, bytes):
        raise StateError("refused a number that is not made of a type and bytes")
    return _array(content, dtype, (1,))[0]


def _range(*arguments: Any) -> range:
    if any(type(number) is not int for number in arguments):
        raise StateError("refused a range of something else than whole numbers")
    return range(*arguments)


def _collection(kind: type) -> Callable[..., Any]:
    """Return a call of ``kind`` that makes nothing larger than what the pickle itself holds."""

    def build(*arguments: Any) -> Any:
        if not all(isinstance(each, (*_CONTAINERS, type(None))) for each in arguments[:1]):
            raise StateError(f"refused a {kind.__name__} of a {type(arguments[0]).__name__}")
        if any(not isinstance(each, int | str | type(None)) for each in arguments[1:]):
            raise StateError(f"refused a {kind.__name__} with unknown arguments")
        return kind(*arguments)

    return build


def _default_dict(*arguments: Any) -> collections.defaultdict[Any, Any]:
    if len(arguments) > 1 or not all(map(_makes_values, arguments)):
        raise StateError("refused a defaultdict of anything but a class")
    return collections.defaultdict(*arguments)


def _makes_values(factory: Any) -> bool:
    """Tell whether a ``defaultdict`` may call this: a class, or a partial that was checked."""
    return factory is None or isinstance(factory, type | functools.partial)


def _partial(*arguments: Any) -> functools.partial[Any]:
    if len(arguments) != 1 or not _may_be_called_later(arguments[0]):
        raise StateError("refused a partial of anything but one of River's functions")
    return functools.partial(arguments[0])


def _may_be_called_later(value: Any) -> bool:
    if isinstance(value, type):
        return value in _KEPT.values() or in_river(value.__module__)
    return any(value is function for function in map(_imported, _KEPT_FUNCTIONS))


def _random(*arguments: Any) -> random.Random:
    if arguments:
        raise StateError("refused a generator with arguments")
    return random.Random()  # noqa: S311 - a model's, not for secrets


_CALLS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _dtype,
    ("numpy._core.numeric", "_frombuffer"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array_shell,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("builtins", "range"): _range,
    ("builtins", "complex"): complex,
    **{
        ("builtins", kind.__name__): _collection(kind)
        for kind in (list, tuple, dict, set, frozenset, bytes, bytearray)
    },
    **{
        ("collections", kind.__name__): _collection(kind)
        for kind in (collections.deque, collections.OrderedDict, collections.Counter)
    },
    ("collections", "defaultdict"): _default_dict,
    ("functools", "partial"): _partial,
    ("random", "Random"): _random,
}
"""Calls that are made in the place of those that the pickle names."""

_KEPT: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    **{
        ("builtins", kind.__name__): kind
        for kind in (bool, dict, float, frozenset, int, list, object, set, slice, str, tuple)
    },
    ("collections", "Counter"): collections.Counter,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "deque"): collections.deque,
    ("collections", "defaultdict"): collections.defaultdict,
}
"""Classes that a model may hold as a value, such as the factory of a ``defaultdict``."""

_KEPT_FUNCTIONS = (
    ("river._river_rust.vectordict", "euclidean_distance_tuple"),
    ("river.utils.math", "minkowski_distance"),
)
"""Functions that River's neighbours hold as a value."""


def in_river(module: str) -> bool:
    """Tell whether a module is in one of the admitted packages of River."""
    package, _, rest = module.partition(".")
    return package == "river" and rest.partition(".")[0] in _ROOMS


def _imported(place: tuple[str, str]) -> Any:
    return getattr(importlib.import_module(place[0]), place[1])


class Global:
    """A name out of a pickle: a value to keep, something to call, or both."""

    __slots__ = ("call", "name", "value")

    def __init__(self, module: str, name: str) -> None:
        """Raises ``StateError`` where it is none that a River model needs."""
        place = (module, name)
        self.name = f"{module}.{name}"
        self.call: Callable[..., Any] | None = _CALLS.get(place)
        self.value: Any = _KEPT.get(place)
        if place in _KEPT_FUNCTIONS:
            self.value = _imported(place)
        elif self.call is None and self.value is None:
            self.value = _river_class(module, name)

    def kept(self) -> Any:
        """Return the object that a model may hold. Raises ``StateError`` where it only calls it."""
        if self.value is None:
            raise StateError(f"refused to keep {self.name}: it may only be called")
        return self.value

    def built(self, arguments: tuple[Any, ...]) -> Any:
        """Return what the pickle's call of this name makes. Raises ``StateError``."""
        if self.call is not None:
            return self.call(*arguments)
        if isinstance(self.value, type) and in_river(self.value.__module__):
            return self.value.__new__(self.value, *arguments)
        if self.value is object and not arguments:
            return object()
        raise StateError(f"refused to call {self.name}")


def _river_class(module: str, name: str) -> type:
    # A dotted name would walk from an admitted class to whatever hangs on it.
    if "." not in name and in_river(module):
        found = getattr(importlib.import_module(module), name, None)
        # River's modules hold other libraries' names too: what counts is where it is defined.
        if isinstance(found, type) and in_river(found.__module__):
            return found
    raise StateError(f"refused to load {module}.{name}: not among the names a River model needs")


def set_state(target: Any, state: Any) -> None:
    """Do what the pickle's BUILD does, once it is known to be harmless.

    Raises ``StateError`` where ``target`` is no object whose state may be set, or the state is none
    of its.
    """
    kind = type(target)
    if isinstance(target, np.dtype):
        _check_dtype_state(state)
    elif kind is np.ndarray:
        _set_array(target, state)
    elif kind is random.Random:
        _set_random(target, state)
    elif kind is functools.partial:
        _set_partial(target, state)
    elif in_river(kind.__module__) and not isinstance(target, type):
        if hasattr(kind, "__setstate__"):
            target.__setstate__(state)
        else:
            _set_attributes(target, state)
    else:
        raise StateError(f"refused to set the state of a {kind.__name__}")


def _check_dtype_state(state: Any) -> None:
    """Check that the state says no more than the type itself: byte order, and no fields."""
    simple = isinstance(state, tuple) and len(state) == _DTYPE_PARTS and state[1] in ("<", "|", "=")
    if not simple or any(part is not None for part in state[2:5]):
        raise StateError("refused the type of an array with fields or in foreign byte order")


def _set_array(array: np.ndarray[Any, Any], state: Any) -> None:
    match state:
        case (
            1,
            tuple() as shape,
            np.dtype() as dtype,
            bool() as by_column,
            bytes() as content,
        ):
            extents = _shape(shape)
            if dtype.hasobject or math.prod(extents) * dtype.itemsize != len(content):
                raise StateError("the content of an array does not fit its shape")
            # NumPy's stubs ask for its own kind of flag, its pickles have Python's.
            array.__setstate__((1, extents, dtype, by_column, content))  # type: ignore[arg-type]
        case _:
            raise StateError("refused the state of an array")


def _set_random(generator: random.Random, state: Any) -> None:
    match state:
        case (3, tuple() as numbers, None | float()) if len(numbers) == _TWISTER_WORDS and all(
            type(number) is int and 0 <= number < 2**32 for number in numbers
        ):
            generator.setstate(state)
        case _:
            raise StateError("refused the state of a generator")


def _set_partial(target: functools.partial[Any], state: Any) -> None:
    match state:
        case (function, tuple() as arguments, dict() as keywords, None | dict()) if (
            _may_be_called_later(function)
            and not any(isinstance(each, range) for each in (*arguments, *keywords.values()))
            and all(isinstance(key, str) for key in keywords)
        ):
            target.__setstate__((function, arguments, dict(keywords), None))  # type: ignore[attr-defined]
        case _:
            raise StateError("refused the state of a partial")


def _set_attributes(target: Any, state: Any) -> None:
    plain, slots = (
        state if isinstance(state, tuple) and len(state) == _WITH_SLOTS else (state, None)
    )
    for part in (plain, slots):
        if part is None:
            continue
        if not isinstance(part, dict) or not all(map(_ordinary, part)):
            raise StateError(f"refused the state of a {type(target).__name__}")
    if plain:
        vars(target).update({sys.intern(name): value for name, value in plain.items()})
    for name, value in (slots or {}).items():
        object.__setattr__(target, name, value)


def _ordinary(name: Any) -> bool:
    """Tell whether this is an attribute's name, and none that Python itself asks for."""
    return type(name) is str and name[:2] != "__"
