"""Reading values out of a stored state, with messages that say what did not fit.

Whoever reads a number says what it may be: anybody can write a state with a checksum that fits, and
a number that the arithmetic behind it does not expect is found here or, days later, in the scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from stream_detector.errors import StateError, StateMismatchError
from stream_detector.events import NO_TIMESTAMP, State

LARGEST_COUNT = 2**52
"""What is counted one by one stays below; as a float it is exact, and so is what follows."""

LARGEST_TIME_MS = 2**50
"""The year 37,000: beyond every time that an event may have, and sums of two stay within int64."""

LARGEST_NUMBER = 1e300
"""Bound where nothing closer is known: sums of such numbers stay finite."""


@contextmanager
def making_sense() -> Iterator[None]:
    """Make a ``StateError`` of what reading a state raises where it is of no known kind."""
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise StateError(f"the state makes no sense: {error!r:.200}") from error


def read_array(
    state: State,
    name: str,
    shape: tuple[int, ...],
    dtype: DTypeLike = np.float64,
    *,
    low: float | None = None,
    high: float | None = None,
    infinite: bool = False,
    missing: bool = False,
) -> NDArray[Any]:
    """A copy of the array ``name``; a length of -1 in ``shape`` fits any length.

    Args:
        state: holds it.
        name: of it.
        shape: that it must have.
        dtype: that it must have.
        low: least value that it may hold.
        high: largest value that it may hold.
        infinite: whether infinity of either sign is a value of it, whatever the bounds.
        missing: whether NaN is.

    Raises:
        StateMismatchError: It is missing, no array, of another shape or dtype, or holds a number
            that it must not.
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
    if value.dtype.kind == "f":
        _check_special(name, value, infinite=infinite, missing=missing)
    _check_range(name, value, low, high)
    return value.copy()


def _check_special(name: str, value: NDArray[Any], *, infinite: bool, missing: bool) -> None:
    if infinite and missing:
        return
    allowed = np.isfinite(value)
    if infinite:
        allowed |= np.isinf(value)
    if missing:
        allowed |= np.isnan(value)
    if not allowed.all():
        raise StateMismatchError(f"state {name!r}: holds a number that is not finite")


def _check_range(name: str, value: NDArray[Any], low: float | None, high: float | None) -> None:
    if not value.size or (low is None and high is None):
        return
    numbers = value
    if value.dtype.kind == "f":
        numbers = value[np.isfinite(value)]  # what else there is was let in already
    if not numbers.size:
        return
    least, largest = numbers.min(), numbers.max()
    for bound, found, outside in (
        (low, least, low is not None and least < low),
        (high, largest, high is not None and largest > high),
    ):
        if outside:
            raise StateMismatchError(
                f"state {name!r}: holds {found:.6g}, which is beyond {bound:.6g}"
            )


def read_float(
    state: State, name: str, *, low: float = -LARGEST_NUMBER, high: float = LARGEST_NUMBER
) -> float:
    """The number ``name``, finite and within the bounds.

    Raises:
        StateMismatchError: It is missing or no such number.
    """
    value = _read(state, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise StateMismatchError(f"state {name!r}: expected a number, found {value!r:.80}")
    if not low <= value <= high:  # NaN is in no range
        raise StateMismatchError(
            f"state {name!r}: expected a number from {low:.6g} to {high:.6g}, found {value!r:.80}"
        )
    return float(value)


def read_count(state: State, name: str, *, high: int = LARGEST_COUNT) -> int:
    """The whole number ``name``, at least 0.

    Raises:
        StateMismatchError: It is missing or no such number.
    """
    value = _read(state, name)
    if type(value) is not int or not 0 <= value <= high:
        raise StateMismatchError(
            f"state {name!r}: expected a count of at most {high}, found {value!r:.80}"
        )
    return value


def read_time(state: State, name: str, *, latest_ms: int = LARGEST_TIME_MS) -> int:
    """The time ``name`` in ms since 1970, ``NO_TIMESTAMP`` or later.

    Raises:
        StateMismatchError: It is missing or no such time.
    """
    value = _read(state, name)
    if type(value) is not int or not NO_TIMESTAMP <= value <= latest_ms:
        raise StateMismatchError(
            f"state {name!r}: expected a time up to {latest_ms} ms, found {value!r:.80}"
        )
    return value


def read_bytes(state: State, name: str, size: int) -> bytes:
    """So many bytes, written in hexadecimal. Raises ``StateMismatchError``."""
    value = _read(state, name)
    try:
        content = bytes.fromhex(value)
    except (TypeError, ValueError):
        content = b""
    if len(content) != size:
        raise StateMismatchError(f"state {name!r}: expected {size} bytes, found {value!r:.80}")
    return content


def read_branch(state: State, name: str) -> State:
    """The nested state ``name``.

    Raises:
        StateMismatchError: It is missing or no mapping.
    """
    value = _read(state, name)
    if not isinstance(value, dict):
        raise StateMismatchError(f"state {name!r}: expected a mapping, found {value!r:.80}")
    return value


def read_range(
    state: State, features: int, *, learnt: bool | None = None, largest: float = LARGEST_NUMBER
) -> tuple[NDArray[Any], NDArray[Any]]:
    """``low`` and ``high`` of features: finite, or infinity and its opposite before any row.

    Args:
        state: holds both.
        features: how many.
        learnt: whether rows were learnt; None: either.
        largest: size of a finite one.

    Raises:
        StateMismatchError: They are missing or no range.
    """
    bounds: dict[str, Any] = {"low": -largest, "high": largest, "infinite": True}
    low = read_array(state, "low", (features,), **bounds)
    high = read_array(state, "high", (features,), **bounds)
    untouched = bool((low == np.inf).all() and (high == -np.inf).all())
    known = bool(np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all())
    if not (known or untouched) or (learnt is not None and known != learnt):
        raise StateMismatchError("state 'low', 'high': they are not the range of what was learnt")
    return low, high


def check_sums(name: str, sums: NDArray[Any], total: float) -> None:
    """Check that counts add up to their total, but for what was forgotten as negligible.

    Raises ``StateMismatchError``.
    """
    if not np.allclose(sums, total, rtol=1e-3, atol=1.0):
        raise StateMismatchError(f"state {name!r}: the counts do not add up to their total")


def _read(state: State, name: str) -> Any:
    try:
        return state[name]
    except KeyError:
        raise StateMismatchError(
            f"state {name!r} is missing; present: {', '.join(sorted(state)) or 'nothing'}"
        ) from None
