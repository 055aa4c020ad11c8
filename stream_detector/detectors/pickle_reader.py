"""Reads a pickle of River's objects without letting it act.

A pickle is a program for a small machine: it looks names up, calls them, and sets states. This
reader runs the program itself, one instruction after the other as ``pickletools`` takes them apart,
knows only the instructions that models are written with, and asks ``pickle_values`` before anything
is looked up, called or set. So a forged pickle can put admitted objects together, and nothing else;
no object is larger than the bytes that describe it.
"""

from __future__ import annotations

import pickletools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from stream_detector.detectors.pickle_values import Global, set_state
from stream_detector.errors import StateError

_LITERALS = (
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)


class _Mark:
    """Type of the mark on the stack, of which there is one."""


_MARK = _Mark()


class _Machine:
    """Stack, memo and instructions of one pickle. Each instruction takes its literal argument."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: list[Any] = []
        push = self.stack.append
        self.instructions: dict[str, Callable[[Any], None]] = {
            **dict.fromkeys(_LITERALS, push),
            "PROTO": lambda _: None,
            "FRAME": lambda _: None,
            "NONE": lambda _: push(None),
            "NEWTRUE": lambda _: push(True),
            "NEWFALSE": lambda _: push(False),
            "EMPTY_LIST": lambda _: push([]),
            "EMPTY_TUPLE": lambda _: push(()),
            "EMPTY_DICT": lambda _: push({}),
            "EMPTY_SET": lambda _: push(set()),
            "MARK": lambda _: push(_MARK),
            "TUPLE1": lambda _: push(tuple(self.take(1))),
            "TUPLE2": lambda _: push(tuple(self.take(2))),
            "TUPLE3": lambda _: push(tuple(self.take(3))),
            "TUPLE": lambda _: push(tuple(self.take_marked())),
            "FROZENSET": lambda _: push(frozenset(self.take_marked())),
            "APPEND": lambda _: self.extend(self.take(1)),
            "APPENDS": lambda _: self.extend(self.take_marked()),
            "SETITEM": lambda _: self.update(self.take(2)),
            "SETITEMS": lambda _: self.update(self.take_marked()),
            "ADDITEMS": lambda _: self.add(self.take_marked()),
            "MEMOIZE": lambda _: self.memo.append(self.top()),
            "BINGET": lambda place: push(self.memo[place]),
            "LONG_BINGET": lambda place: push(self.memo[place]),
            "STACK_GLOBAL": lambda _: push(self.named(*self.take(2))),
            "REDUCE": lambda _: self.call(),
            "NEWOBJ": lambda _: self.call(),
            "BUILD": lambda _: self.build(),
        }

    def top(self) -> Any:
        """Return the last value."""
        if not self.stack or self.stack[-1] is _MARK:
            raise StateError("stored River model cannot be read: its stack runs empty")
        return self.stack[-1]

    def take(self, count: int) -> list[Any]:
        """Remove the last ``count`` values and return them."""
        stack = self.stack
        taken = stack[-count:]
        if len(taken) < count or any(value is _MARK for value in taken):
            raise StateError("stored River model cannot be read: its stack runs empty")
        del stack[-count:]
        return _kept(taken)

    def take_marked(self) -> list[Any]:
        """Remove everything down to the last mark, and the mark; return what lay above."""
        stack = self.stack
        for place in range(len(stack) - 1, -1, -1):
            if stack[place] is _MARK:
                taken = stack[place + 1 :]
                del stack[place:]
                return _kept(taken)
        raise StateError("stored River model cannot be read: a mark is missing")

    def extend(self, values: list[Any]) -> None:
        """Append to the list on top."""
        target = self.top()
        if type(target) not in (list, deque):
            raise StateError("refused to append to what is no list")
        target.extend(values)

    def update(self, values: list[Any]) -> None:
        """Put keys and values, in turn, into the mapping on top."""
        target = self.top()
        if not isinstance(target, dict) or len(values) % 2:
            raise StateError("refused to put keys into what is no mapping")
        for place in range(0, len(values), 2):
            dict.__setitem__(target, values[place], values[place + 1])

    def add(self, values: list[Any]) -> None:
        """Add to the set on top."""
        target = self.top()
        if type(target) is not set:
            raise StateError("refused to add to what is no set")
        target.update(values)

    def named(self, module: Any, name: Any) -> Global:
        """Look a name up."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise StateError("refused a name that is no text")
        return Global(module, name)

    def call(self) -> None:
        """Replace a name and its arguments by what the call makes."""
        (arguments,) = self.take(1)
        called = self.top()
        if type(called) is not Global or not isinstance(arguments, tuple):
            raise StateError("refused to call what is no admitted name")
        self.stack[-1] = called.built(arguments)

    def build(self) -> None:
        """Set the state of the value below the top."""
        (state,) = self.take(1)
        set_state(self.top(), state)


def _kept(values: Iterable[Any]) -> list[Any]:
    """Return the values, with names replaced by what they stand for."""
    return [value.kept() if type(value) is Global else value for value in values]


def read_pickle(content: bytes) -> Any:
    """Return the object that a pickle of protocol 5 describes.

    Raises ``StateError`` where it asks for what no River model needs; damaged bytes raise what
    ``pickletools`` and the objects themselves raise, ``ValueError``, ``TypeError``,
    ``LookupError``, ``AttributeError``, ``OverflowError`` and ``ImportError`` among it.
    """
    machine = _Machine()
    instructions = machine.instructions
    for operation, argument, _ in pickletools.genops(content):
        name = operation.name
        if name == "STOP":
            (value,) = machine.take(1)
            return value
        if name not in instructions:
            raise StateError(f"refused the instruction {name}: no River model is written with it")
        instructions[name](argument)
    raise StateError("stored River model cannot be read: it has no end")
