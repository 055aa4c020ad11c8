"""River models: what is taken, what is refused, and that stored bytes execute nothing."""

from __future__ import annotations

import builtins
import functools
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import river.anomaly
import river.stats

from stream_detector.detectors.base import Rows
from stream_detector.detectors.pickle_values import Global
from stream_detector.detectors.river_model import RiverModel
from stream_detector.detectors.river_pickle import RIVER_VERSION, dump_model, load_model
from stream_detector.errors import ConfigurationError, StateError, StateMismatchError

FEATURES = 4
USABLE = [
    ("river.anomaly.HalfSpaceTrees", {}),
    ("river.anomaly.OneClassSVM", {}),
    ("river.anomaly.LocalOutlierFactor", {"n_neighbors": 5}),
    ("river.anomaly.LODA", {}),
    ("river.linear_model.LogisticRegression", {}),
    ("river.tree.HoeffdingTreeClassifier", {}),
    ("river.tree.HoeffdingAdaptiveTreeClassifier", {}),
    ("river.forest.ARFClassifier", {"n_models": 3}),
    (
        "river.ensemble.ADWINBaggingClassifier",
        {"model": {"model": "river.tree.HoeffdingTreeClassifier"}, "n_models": 2},
    ),
]


def chunk(seed: int, count: int = 64) -> tuple[Rows, np.ndarray]:
    values = np.random.default_rng(seed).normal(size=(count, FEATURES))
    return Rows(values, values), (values[:, 0] > 0.8).astype(float)


@pytest.mark.parametrize(("path", "parameters"), USABLE)
def test_a_restored_river_model_goes_on_with_the_same_scores(path: str, parameters: dict) -> None:
    original = RiverModel(FEATURES, model=path, parameters=parameters)
    for seed in range(6):
        original.learn(*chunk(seed))
    restored = RiverModel(FEATURES, model=path, parameters=parameters)
    restored.restore(original.state())
    for seed in range(6, 10):
        events, labels = chunk(seed)
        assert restored.score(events).tobytes() == original.score(events).tobytes()
        restored.learn(events, labels)
        original.learn(events, labels)


def test_classifiers_learn_only_rows_with_a_label() -> None:
    model = RiverModel(FEATURES, model="river.linear_model.LogisticRegression")
    before = model.state()["model"]
    events, labels = chunk(0)
    model.learn(events)
    model.learn(events, np.full(64, np.nan))
    np.testing.assert_array_equal(model.state()["model"], before)
    for seed in range(10):
        model.learn(*chunk(seed))
    events, labels = chunk(50)
    scores = model.score(events)
    assert scores[labels == 1].min() > np.median(scores[labels == 0])


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("sklearn.linear_model.LogisticRegression", {}, "under river"),
        ("os.system", {}, "under river"),
        ("riverbank.Model", {}, "under river"),
        ("river.anomaly.NoSuchModel", {}, "no class"),
        ("river.nothing.Here", {}, "no river.nothing.Here"),
        ("river.anomaly.hst.random", {}, "no class"),
        ("river.anomaly.hst.collections.OrderedDict", {}, "no river.anomaly"),
        ("river.linear_model.LinearRegression", {}, "neither"),
        ("river.stats.Mean", {}, "neither"),
        ("river.anomaly.HalfSpaceTrees", {"trees": 3}, "no parameter trees; it takes n_trees"),
        ("river.anomaly.QuantileFilter", {}, "neither"),
        ("river.linear_model.PAClassifier", {}, "refused to load builtins.getattr"),
        ("river.naive_bayes.GaussianNB", {}, "refused to load river.naive_bayes.gaussian.Gaussi"),
    ],
)
def test_what_cannot_be_used_is_refused_at_the_start(
    path: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RiverModel(FEATURES, model=path, parameters=parameters)


def test_scores_of_wild_values_stay_finite_and_do_not_spoil_the_model() -> None:
    model = RiverModel(FEATURES, model="river.anomaly.OneClassSVM")
    wild, _ = chunk(0)
    wild.standardised[::2] = 1e150
    for seed in range(4):
        model.learn(wild)
        model.learn(chunk(seed)[0])
    assert np.isfinite(model.score(chunk(9)[0])).all()


def test_another_release_of_river_is_refused() -> None:
    model = RiverModel(FEATURES, model="river.anomaly.HalfSpaceTrees")
    state = dict(model.state()) | {"river_version": "0.1.0"}
    with pytest.raises(StateMismatchError, match=r"0\.1\.0.*" + RIVER_VERSION):
        model.restore(state)


def test_another_model_class_is_refused() -> None:
    stored = RiverModel(FEATURES, model="river.anomaly.OneClassSVM").state()
    with pytest.raises(StateMismatchError, match="expected a HalfSpaceTrees"):
        RiverModel(FEATURES, model="river.anomaly.HalfSpaceTrees").restore(stored)


def test_truncated_bytes_are_refused() -> None:
    model = RiverModel(FEATURES, model="river.anomaly.HalfSpaceTrees", parameters={"n_trees": 2})
    for seed in range(4):
        model.learn(*chunk(seed))
    state = model.state()
    for length in (0, 1, 50, len(state["model"]) - 1):
        with pytest.raises(StateError):
            load_model(state["model"][:length], RIVER_VERSION, river.anomaly.HalfSpaceTrees)


def test_a_model_with_a_function_in_it_cannot_be_stored() -> None:
    class Local:
        pass

    for model in (Local(), open):
        with pytest.raises(StateError):
            dump_model(model)


class Gadget:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def named(module: str, name: str, argument: str) -> bytes:
    """Bytes that call ``module.name(argument)``, by hand: pickle would refuse to write some."""
    return b"".join(
        [
            pickle.PROTO + b"\x04",
            *(
                pickle.BINUNICODE + len(text).to_bytes(4, "little") + text.encode()
                for text in (module, name)
            ),
            pickle.STACK_GLOBAL,
            pickle.BINUNICODE + len(argument).to_bytes(4, "little") + argument.encode(),
            pickle.TUPLE1 + pickle.REDUCE + pickle.STOP,
        ]
    )


def load(content: bytes) -> Any:
    return load_model(np.frombuffer(content, dtype=np.uint8), RIVER_VERSION, dict)


def test_gadgets_touch_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    touch = f"touch {canary}"
    code = f"open({str(canary)!r}, 'w').close()"
    gadgets = [
        Gadget(os.system, touch),
        Gadget(builtins.eval, code),
        Gadget(builtins.exec, code),
        Gadget(builtins.open, str(canary), "w"),
        Gadget(subprocess.Popen, ["touch", str(canary)]),
        Gadget(getattr, river.anomaly.HalfSpaceTrees, "__init__"),
        Gadget(functools.partial, os.system, touch),
        Gadget(functools.reduce, os.system, [touch]),
    ]
    for gadget in gadgets:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(StateError, match="refused"):
                load(pickle.dumps(gadget, protocol))
            with pytest.raises(StateError, match="refused"):
                load(pickle.dumps({"trees": [gadget]}, protocol))
    assert not canary.exists()
    pickle.loads(pickle.dumps(gadgets[0]))
    assert canary.exists()  # the canary does sing where nobody looks


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("builtins", "eval"),
        ("builtins", "__import__"),
        ("builtins", "getattr"),
        ("builtins", "type"),
        ("builtins", "dict.fromkeys"),
        ("importlib", "import_module"),
        ("operator", "attrgetter"),
        ("copyreg", "_reconstructor"),
        ("functools", "partial.__class__"),
        ("collections", "namedtuple"),
        ("collections", "_sys.modules"),
        ("numpy", "load"),
        ("numpy", "f2py"),
        ("numpy.testing", "rundocs"),
        ("numpy._core.multiarray", "fromfile"),
        ("river.anomaly.hst", "random"),
        ("river.anomaly.hst", "random._os.system"),
        ("river.anomaly.hst", "collections.OrderedDict"),
        ("river.anomaly.hst", "functools"),
        ("river.anomaly.hst", "make_padded_tree"),
        ("river.anomaly.hst", "HalfSpaceTrees.__init__"),
        ("river.anomaly.hst", "HalfSpaceTrees.__init__.__globals__"),
        ("river.anomaly.hst", "__builtins__"),
        ("river.anomaly.hst", "__builtins__.eval"),
        ("river.base.base", "Any"),
        ("river.utils.pretty", "io"),
        ("river.datasets.base", "os"),
        ("river.datasets.base", "RemoteDataset"),
        ("river.stream.cache", "Cache"),
        ("river.compat.sklearn_to_river", "SKL2RiverClassifier"),
        ("river.compose.func", "FuncTransformer"),
        ("river", "anomaly.HalfSpaceTrees"),
        ("river", "base"),
        ("riverbank", "Model"),
        ("river.anomaly.hst.os", "system"),
        ("stream_detector.detectors.river_pickle", "importlib.import_module"),
        ("__main__", "Model"),
    ],
)
def test_names_outside_the_lists_are_refused(module: str, name: str) -> None:
    with pytest.raises(StateError, match=r"refused to load|cannot be read"):
        load(named(module, name, "1"))


def test_every_river_class_that_may_be_built_is_rivers_own() -> None:
    """A class that River's modules merely import must not slip through by its room."""
    reached = 0
    for module in [name for name in sys.modules if name.startswith("river.")]:
        for name in list(vars(sys.modules[module])):
            try:
                found = Global(module, name).value
            except StateError:
                continue
            if not isinstance(found, type):
                continue  # one of the functions that are listed
            assert found.__module__.startswith("river.")
            assert not found.__module__.startswith(("river.datasets", "river.stream"))
            reached += 1
    assert reached > 100


def test_what_models_need_is_admitted() -> None:
    values = {
        "array": np.arange(6.0).reshape(2, 3)[:, ::2],
        "scalar": np.float64(3.5),
        "statistics": river.stats.Mean(),
        "plain": [{1, 2}, frozenset({3}), (4, 5.0), b"6", "7", None, True, range(3), 1j],
    }
    again = load(dump_model(values).tobytes())
    np.testing.assert_array_equal(again["array"], values["array"])
    assert again["plain"] == values["plain"]
    assert type(again["statistics"]) is river.stats.Mean
