"""Reading values out of a stored state, with messages that say what did not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stream_detector.errors import StateMismatchError
from stream_detector.events import State


def read_array(
    state: State, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float64
) -> NDArray[Any]:
    """A copy of the array ``name``; a length of -1 in ``shape`` fits any length.

    Raises:
        StateMismatchError: It is missing, no array, or of another shape or dtype.
    """
    value = _read(state, name)
    if not isinstance(value, np.ndarray):
        raise StateMismatchError(f"state {name!r}: expected an array, found {type(value).__name__}")
    fits = value.ndim == len(shape) and all(
        want in (-1, have) for want, have in zip(shape, value.shape, strict=True)
    )
    if not fits or value.dtype != np.dtype(dtype):
        raise StateMismatchError(
            f"state {name!r}: expected {np.dtype(dtype)} of shape {shape}, "
            f"found {value.dtype} of shape {value.shape}"
        )
    return value.copy()


def read_float(state: State, name: str) -> float:
    """The number ``name``.

    Raises:
        StateMismatchError: It is missing or no number.
    """
    value = _read(state, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise StateMismatchError(f"state {name!r}: expected a number, found {value!r:.80}")
    return float(value)


def read_count(state: State, name: str) -> int:
    """The whole number ``name``, at least 0.

    Raises:
        StateMismatchError: It is missing or no such number.
    """
    value = _read(state, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise StateMismatchError(f"state {name!r}: expected a count, found {value!r:.80}")
    return value


def read_branch(state: State, name: str) -> State:
    """The nested state ``name``.

    Raises:
        StateMismatchError: It is missing or no mapping.
    """
    value = _read(state, name)
    if not isinstance(value, dict):
        raise StateMismatchError(f"state {name!r}: expected a mapping, found {value!r:.80}")
    return value


def _read(state: State, name: str) -> Any:
    try:
        return state[name]
    except KeyError:
        raise StateMismatchError(
            f"state {name!r} is missing; present: {', '.join(sorted(state)) or 'nothing'}"
        ) from None
