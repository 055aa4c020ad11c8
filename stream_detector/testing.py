"""Checks of the contract of ``Detector``, for the test suites of detectors from other packages.

``check_detector(MyDetector, half_life=100)`` runs all of them; where each is to be a test of its
own, ``pytest.mark.parametrize("check", detector_checks())``. No test runner is needed: a broken
obligation is an ``AssertionError`` that names it.
"""

from __future__ import annotations

import copy
import inspect
import json
import random as standard_random
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from stream_detector.detectors.base import BLOCK_ROWS, LARGEST_LOSS, Detector, Rows
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64

Factory: TypeAlias = Callable[..., Detector]
"""A detector's class, or a function that takes the number of features and parameters by name."""

Check: TypeAlias = Callable[..., None]
"""Called with a ``Factory`` and parameters; raises ``AssertionError``."""

FEATURES = 5
CHUNK = 128
ANOMALOUS_SHARE, UNKNOWN_SHARE = 0.1, 0.2


def check_detector(factory: Factory, **parameters: Any) -> None:
    """Run every check on the detector that ``factory(features, **parameters)`` makes.

    Raises ``AssertionError`` that begins with the name of the check and says what is broken.
    """
    for check in detector_checks():
        check(factory, **parameters)


def detector_checks() -> tuple[Check, ...]:
    """All checks; each has a ``__name__``."""
    return (
        check_declaration,
        check_score_is_pure,
        check_score_changes_nothing_learnt_later,
        check_score_does_not_depend_on_the_cut,
        check_scores_are_finite,
        check_same_stream_same_bits,
        check_restored_goes_on,
        check_state_is_a_copy,
        check_state_can_be_stored,
        check_wrong_state_is_refused,
        check_memory_is_bounded,
        check_labels,
        check_contributions,
    )


def _require(holds: object, obligation: str) -> None:
    if not holds:
        name = inspect.stack()[1].function
        raise AssertionError(f"{name}: {obligation}")


def _chunk(number: int, rows: int = CHUNK) -> tuple[Rows, Float64]:
    """Correlated rows, some shifted and labelled 1; a fifth of the labels is unknown."""
    random = np.random.default_rng([number, rows])
    labels = (random.random(rows) < ANOMALOUS_SHARE).astype(float)
    common = random.normal(size=(rows, 1))
    standardised = 0.6 * common + 0.8 * random.normal(size=(rows, FEATURES))
    standardised[labels == 1, :2] += 4.0
    labels[random.random(rows) < UNKNOWN_SHARE] = np.nan
    return Rows(standardised * np.arange(1, FEATURES + 1) + 3.0, standardised), labels


def _train(detector: Detector, chunks: range) -> bytes:
    """Score, then learn, each chunk; the bytes of the scores."""
    scores = []
    for number in chunks:
        rows, labels = _chunk(number)
        scores.append(detector.score(rows).tobytes())
        detector.learn(rows)
        if detector.uses_labels:
            detector.learn(rows, labels)
    return b"".join(scores)


def _leaves(state: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(state, dict):
        return {path: state}
    found: dict[str, Any] = {}
    for key, value in state.items():
        found |= _leaves(value, f"{path}/{key}")
    return found


def _bytes(state: Any) -> dict[str, Any]:
    """A state that can be compared, and that later learning cannot reach."""
    return {
        path: (value.dtype.str, value.shape, value.tobytes())
        if isinstance(value, np.ndarray)
        else json.dumps(value)
        for path, value in _leaves(state).items()
    }


def check_declaration(factory: Factory, **parameters: Any) -> None:
    """``Config`` and constructor agree, every parameter is described, ``search_space`` fits."""
    detector = factory(FEATURES, **parameters)
    _require(isinstance(detector, Detector), "the factory makes no Detector")
    kind = type(detector)
    config = getattr(kind, "Config", None)
    _require(config is not None, f"{kind.__name__} has no Config")
    fields = {name: field for name, field in kind.Config.model_fields.items() if name != "kind"}
    accepted = inspect.signature(kind).parameters
    for name, field in fields.items():
        _require(name in accepted, f"the constructor takes no {name}, which Config has")
        _require(field.description, f"Config.{name} has no description")
    _require(inspect.getdoc(kind.Config), "Config has no docstring, which describes the detector")
    _require(set(kind.search_space) <= set(fields), "search_space has what Config lacks")
    random = np.random.default_rng(0)
    given = {name: value for name, value in parameters.items() if name in fields}
    for name, draw in kind.search_space.items():
        kind.Config.model_validate({**given, name: draw(random)})  # raises ValidationError
    branches = set(detector.state())
    for member, names in kind.members.items():
        there = branches >= set(names) or not branches & set(names)  # some can be left out
        _require(there, f"members names branches of {member} that state has not")


def check_score_is_pure(factory: Factory, **parameters: Any) -> None:
    """``score`` gives the same twice and leaves the state alone."""
    detector = factory(FEATURES, **parameters)
    _train(detector, range(6))
    before = _bytes(detector.state())
    rows, _ = _chunk(100)
    first = detector.score(rows)
    _require(_bytes(detector.state()) == before, "score changes the state")
    _require(detector.score(rows).tobytes() == first.tobytes(), "score gives other bits twice")
    _require(first.dtype == np.float64, f"score gives {first.dtype}, not float64")
    _require(first.shape == (CHUNK,), f"score gives {first.shape}, not (events,)")


def check_score_changes_nothing_learnt_later(factory: Factory, **parameters: Any) -> None:
    """Check that what is scored in between makes no difference to what is learnt."""
    one, other = factory(FEATURES, **parameters), factory(FEATURES, **parameters)
    for number in range(6):
        rows, labels = _chunk(number)
        one.score(_chunk(number + 50)[0])
        for detector in (one, other):
            detector.learn(rows, labels if detector.uses_labels else None)
    rows, _ = _chunk(100)
    same = one.score(rows).tobytes() == other.score(rows).tobytes()
    _require(same, "events that were scored were learnt before their turn")


def check_score_does_not_depend_on_the_cut(factory: Factory, **parameters: Any) -> None:
    """A row's score depends on the row, its place in its block and the state only."""
    detector = factory(FEATURES, **parameters)
    _train(detector, range(6))
    rows, _ = _chunk(100, 4 * BLOCK_ROWS)
    whole = detector.score(rows)
    cuts = [slice(at, at + BLOCK_ROWS) for at in range(0, len(rows), BLOCK_ROWS)]
    parts = np.concatenate([detector.score(rows.take(cut)) for cut in cuts])
    _require(parts.tobytes() == whole.tobytes(), "scores depend on how the rows are cut")
    for filled in (1, 17, 31):
        partly = detector.score(rows.take(slice(filled)).in_blocks())[:filled]
        same = partly.tobytes() == whole[:filled].tobytes()
        _require(same, "a row's score depends on the rows beside it in its block")


def check_scores_are_finite(factory: Factory, **parameters: Any) -> None:
    """Scores are finite for any finite row, before and after learning such rows."""
    detector = factory(FEATURES, **parameters)
    rows, labels = _chunk(0)
    rows.features[:8], rows.standardised[:8] = 1e100, 1e150
    rows.features[8:16], rows.standardised[8:16] = -1e308, -1e308
    zero = np.zeros((CHUNK, FEATURES))
    with np.errstate(all="ignore"):
        for wild in (rows, Rows(zero, zero), rows):
            _require(np.isfinite(detector.score(wild)).all(), "a score is not finite")
            detector.learn(wild, labels if detector.uses_labels else None)
            _train(detector, range(2))
            _require(np.isfinite(detector.score(wild)).all(), "a score is not finite, once learnt")
        for count in (0, 1, 17):
            few = labels[:count] if detector.uses_labels else None
            detector.learn(rows.take(slice(count)), few)
        _require(np.isfinite(detector.score(rows)).all(), "a score is not finite after few rows")


def check_same_stream_same_bits(factory: Factory, **parameters: Any) -> None:
    """Two detectors of the same seed give the same bits, whatever other code has drawn."""
    found = []
    before = np.random.get_state(), standard_random.getstate()  # noqa: NPY002 - theirs, not ours
    try:
        for seed in (1, 2):
            np.random.seed(seed)  # noqa: NPY002 - likewise
            standard_random.seed(seed)
            detector = factory(FEATURES, **parameters)
            found.append((_train(detector, range(6)), _bytes(detector.state())))
    finally:
        np.random.set_state(before[0])  # noqa: NPY002 - likewise
        standard_random.setstate(before[1])
    _require(found[0] == found[1], "the same stream gives other bits: randomness without the seed")


def check_restored_goes_on(factory: Factory, **parameters: Any) -> None:
    """A restored detector, new or used, goes on with the same bits."""
    original = factory(FEATURES, **parameters)
    _train(original, range(6))
    stored = copy.deepcopy(original.state())
    expected = _train(original, range(6, 10))
    restored, used = factory(FEATURES, **parameters), factory(FEATURES, **parameters)
    _train(used, range(30, 34))
    for detector in (restored, used):
        detector.restore(copy.deepcopy(stored))
        same = _train(detector, range(6, 10)) == expected
        _require(same, "a restored detector goes on with other bits: state is lost")
        _require(detector.score_scale == original.score_scale, "score_scale is lost")


def check_state_is_a_copy(factory: Factory, **parameters: Any) -> None:
    """Later learning reaches neither into a state taken before nor into one restored from."""
    detector = factory(FEATURES, **parameters)
    _train(detector, range(6))
    state = detector.state()
    before = _bytes(state)
    _train(detector, range(6, 10))
    _require(_bytes(state) == before, "later learning reaches into the state that was returned")
    other = factory(FEATURES, **parameters)
    other.restore(state)
    _train(other, range(6, 10))
    _require(_bytes(state) == before, "later learning reaches into the state restored from")


def check_state_can_be_stored(factory: Factory, **parameters: Any) -> None:
    """A state is a tree of dicts with arrays (not of objects) and JSON values."""
    detector = factory(FEATURES, **parameters)
    for chunks in (range(0), range(6)):
        _train(detector, chunks)
        for path, value in _leaves(detector.state()).items():
            if isinstance(value, np.ndarray):
                _require(value.dtype != object, f"{path} is an array of objects")
                continue
            try:
                read = json.loads(json.dumps(value, allow_nan=False))
            except (TypeError, ValueError):
                read = None if value is not None else 0
            _require(read == value, f"{path} is neither array nor JSON: {type(value).__name__}")


def check_wrong_state_is_refused(factory: Factory, **parameters: Any) -> None:
    """``restore`` of what is no state of this detector raises ``StateMismatchError``."""
    try:
        factory(FEATURES, **parameters).restore({})
    except StateMismatchError:
        return
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        _require(False, f"restore({{}}) raises {error!r}, not StateMismatchError")
    _require(False, "restore({}) is taken for a state")


def check_memory_is_bounded(factory: Factory, **parameters: Any) -> None:
    """State does not grow with the number of rows seen."""
    detector = factory(FEATURES, **parameters)
    sizes = []
    for chunks in (range(40), range(40, 80)):
        _train(detector, chunks)
        leaves = _leaves(detector.state()).values()
        arrays = [each.nbytes for each in leaves if isinstance(each, np.ndarray)]
        others = [len(json.dumps(each)) for each in leaves if not isinstance(each, np.ndarray)]
        sizes.append(sum(arrays) + sum(others))
    _require(sizes[1] <= sizes[0] + 1024, f"state grows with the stream: {sizes[0]}, {sizes[1]}")


def check_labels(factory: Factory, **parameters: Any) -> None:
    """Unknown labels teach nothing, known ones something; losses and corrections have a shape."""
    detector = factory(FEATURES, **parameters)
    rows, labels = _chunk(100)
    known = (labels == 1).astype(float)
    ids = np.arange(CHUNK)
    rows = Rows(rows.features, rows.standardised, ids)
    _train(detector, range(6))
    if detector.uses_labels:
        _require(type(detector).labels != "ignored", "uses_labels, but labels is 'ignored'")
        before = detector.score(rows).tobytes()
        detector.learn(rows, np.full(CHUNK, np.nan))
        same = detector.score(rows).tobytes() == before
        _require(same, "labels that are NaN, unknown, have taught something")
        state = _bytes(detector.state())
        detector.learn(rows, known)
        _require(_bytes(detector.state()) != state, "uses_labels, but labels teach nothing")
    losses = detector.losses(rows, known)
    _require(losses.shape in {(0,), (CHUNK,)}, f"losses gives {losses.shape}")
    fits = np.isfinite(losses).all() and (losses <= LARGEST_LOSS + 1e-9).all()
    _require(fits, "a loss is not finite or above LARGEST_LOSS")
    found = detector.correct(ids[:3], np.ones(3))
    _require(found.shape == (3,), f"correct gives {found.shape} of three labels")
    _require(found.dtype == np.bool_, f"correct gives {found.dtype}, not bool")


def check_contributions(factory: Factory, **parameters: Any) -> None:
    """``contributions`` is None or (events, features), finite, at least 0 and pure."""
    detector = factory(FEATURES, **parameters)
    _train(detector, range(6))
    rows, _ = _chunk(100)
    before = _bytes(detector.state())
    found = detector.contributions(rows)
    if found is None:
        return
    _require(found.shape == (CHUNK, FEATURES), f"contributions gives {found.shape}")
    _require(
        np.isfinite(found).all() and (found >= 0).all(), "a contribution is below 0 or not finite"
    )
    _require(_bytes(detector.state()) == before, "contributions changes the state")
    part = detector.contributions(rows.take(slice(BLOCK_ROWS)))
    same = part is not None and part.tobytes() == found[:BLOCK_ROWS].tobytes()
    _require(same, "contributions depend on how the rows are cut")
