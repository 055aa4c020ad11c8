"""Forged pickles of River's models: none acts, crashes the process or takes its memory."""

from __future__ import annotations

import collections
import pickle
import random
import resource
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import river.anomaly
import river.drift
import river.stats
import river.tree

from stream_detector.detectors.river_pickle import (
    RIVER_VERSION,
    dump_model,
    load_model,
    read_model,
)
from stream_detector.errors import StateError


class Forged:
    """Pickles as a call, and a state that is set afterwards."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], *state: Any):
        self.parts = (function, arguments, *state)

    def __reduce__(self) -> Any:
        return self.parts


def by_hand(*parts: bytes) -> bytes:
    """A pickle of protocol 5 out of instructions."""
    return pickle.PROTO + b"\x05" + b"".join(parts) + pickle.STOP


def text(value: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return text(module) + text(attribute) + pickle.STACK_GLOBAL


HALF_SPACE = name("river.anomaly.hst", "HalfSpaceTrees")
HUGE_RANGE = (
    name("builtins", "range") + pickle.LONG1 + b"\x05" + (10**11).to_bytes(5, "little")
) + (pickle.TUPLE1 + pickle.REDUCE)

ATTACKS = {
    "the class itself is given a state": by_hand(
        HALF_SPACE,
        pickle.NONE + pickle.EMPTY_DICT + text("score_one") + pickle.NONE + pickle.SETITEM,
        pickle.TUPLE2 + pickle.BUILD,
    ),
    "a class in a list is given a state": by_hand(
        pickle.EMPTY_LIST + HALF_SPACE + pickle.MEMOIZE + pickle.APPEND + pickle.BINGET + b"\x00",
        pickle.EMPTY_DICT + text("score_one") + pickle.NONE + pickle.SETITEM + pickle.BUILD,
    ),
    "an attribute that Python asks for": by_hand(
        HALF_SPACE + pickle.EMPTY_TUPLE + pickle.NEWOBJ,
        pickle.EMPTY_DICT + text("__class__") + pickle.NONE + pickle.SETITEM + pickle.BUILD,
    ),
    "a list of a range": by_hand(
        name("builtins", "list") + HUGE_RANGE + pickle.TUPLE1 + pickle.REDUCE
    ),
    "a queue of a range": by_hand(
        name("collections", "deque") + HUGE_RANGE + pickle.TUPLE1 + pickle.REDUCE
    ),
    "bytes by their number": by_hand(
        name("builtins", "bytearray") + pickle.BININT + (2**31 - 1).to_bytes(4, "little"),
        pickle.TUPLE1 + pickle.REDUCE,
    ),
    "an array longer than its bytes": pickle.dumps(
        Forged(np._core.numeric._frombuffer, (b"12345678", np.dtype("f8"), (10**9,), "C")), 5
    ),
    "an array with a foreign state": pickle.dumps(
        Forged(
            np._core.multiarray._reconstruct,
            (np.ndarray, (0,), b"b"),
            (1, (2**40,), np.dtype("f8"), False, b"x" * 8),
        ),
        5,
    ),
    "an array of objects": pickle.dumps(np.array([{}, []], dtype=object), 5),
    "a type with fields": pickle.dumps(np.dtype([("a", "f8")]), 5),
    "a type whose state is forged": pickle.dumps(
        Forged(np.dtype, ("f8", False, True), (3, "<", None, ("a",), {"a": 1}, -1, -1, 63)), 5
    ),
    "a generator with half a state": pickle.dumps(
        Forged(random.Random, (), (3, tuple(range(10)), None)), 5
    ),
    "a name that is only called": by_hand(name("numpy._core.multiarray", "_reconstruct")),
    "a mark as a value": by_hand(pickle.MARK + pickle.TUPLE1),
    "an instruction of protocol 0": b"cos\nsystem\n(S'true'\ntR.",
    "an extension": by_hand(pickle.EXT1 + b"\x01"),
    "a persistent id": by_hand(text("x") + pickle.BINPERSID),
    "no end": by_hand()[:-1],
    "a memo that is not there": by_hand(pickle.BINGET + b"\x07"),
    "keys without values": by_hand(pickle.EMPTY_DICT + pickle.MARK + pickle.NONE + pickle.SETITEMS),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_forged_pickle_is_refused_and_changes_nothing(attack: str) -> None:
    score_one = river.anomaly.HalfSpaceTrees.score_one
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StateError):
        read_model(ATTACKS[attack])
    assert river.anomaly.HalfSpaceTrees.score_one is score_one
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def learnt(model: Any) -> Any:
    """The model after a few events."""
    draw = np.random.RandomState(3)
    for row in draw.uniform(size=(300, 3)).tolist():
        event = dict(enumerate(row))
        if hasattr(model, "predict_proba_one"):
            model.learn_one(event, row[0] > 0.8)
        elif hasattr(model, "learn_one"):
            model.learn_one(event)
        else:
            model.update(row[0])
    return model


MODELS = {
    "half-space trees": lambda: river.anomaly.HalfSpaceTrees(n_trees=3, height=4, seed=1),
    "Hoeffding tree": lambda: river.tree.HoeffdingAdaptiveTreeClassifier(seed=1),
    "Page-Hinkley's rival": lambda: river.drift.KSWIN(seed=1),
    "ADWIN, in Rust": river.drift.ADWIN,
    "quantile, in Rust": lambda: river.stats.Quantile(0.9),
}


@pytest.mark.parametrize("model", MODELS)
def test_a_model_goes_on_as_if_it_had_not_been_stored(model: str) -> None:
    one = MODELS[model]()
    if isinstance(one, river.stats.base.Univariate):
        for value in range(50):
            one.update(float(value))
    else:
        learnt(one)
    again = load_model(dump_model(one), RIVER_VERSION, type(one))
    assert bytes(dump_model(again)) == bytes(
        dump_model(load_model(dump_model(one), RIVER_VERSION, type(one)))
    )
    if hasattr(one, "score_one"):
        events = [dict(enumerate(row)) for row in np.random.RandomState(5).uniform(size=(20, 3))]
        assert [again.score_one(event) for event in events] == [
            one.score_one(event) for event in events
        ]


def mutants(content: bytes, count: int, seed: int) -> list[bytes]:
    """Copies with a few bytes changed, cut out, or put elsewhere."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(changed))
            kind = draw.randrange(3)
            if kind == 0:
                changed[place] = draw.randrange(256)
            elif kind == 1:
                del changed[place : place + draw.randint(1, 9)]
            else:
                changed[place:place] = changed[draw.randrange(len(changed)) :][:9]
        found.append(bytes(changed))
    return found


def outcomes(contents: list[bytes], load: Callable[[bytes], Any]) -> collections.Counter[str]:
    """How many were refused and how many read; anything but ``StateError`` comes out."""
    counts: collections.Counter[str] = collections.Counter()
    for content in contents:
        try:
            load(content)
        except StateError:
            counts["refused"] += 1
        else:
            counts["read"] += 1
    return counts


@pytest.mark.parametrize("model", ["half-space trees", "Page-Hinkley's rival"])
def test_damaged_models_are_read_or_refused(model: str) -> None:
    content = bytes(dump_model(learnt(MODELS[model]())))
    counts = outcomes(mutants(content, 150, 11), read_model)
    assert counts["refused"] > 50


def test_damaged_models_in_rust_die_elsewhere() -> None:
    """Whatever River's Rust makes of forged bytes, this process sees a ``StateError``."""
    content = bytes(dump_model(learnt(river.drift.ADWIN())))
    place = content.rindex(b"_river_rust")
    forged = [
        content[:place] + content[place:].replace(old, new)
        for old, new in (
            (pickle.SHORT_BINBYTES, pickle.SHORT_BINUNICODE),
            (b"\x00\x00\x00\x00", b"\xff\xff\xff\xff"),
            (b"\x00\x00\x00\x00\x00\x00\x00\x00", b"\x00\x00\x00\x00\x00\x00\x00\x7f"),
        )
    ]
    counts = outcomes(
        forged,
        lambda each: load_model(np.frombuffer(each, np.uint8), RIVER_VERSION, river.drift.ADWIN),
    )
    assert counts["refused"] >= 1
    assert counts.total() == len(forged)
