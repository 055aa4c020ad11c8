"""Walls around libraries: who imports kafka-python, and who uses private names of anybody's."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from support.private_names import Package, package_of, parse, private_names

from stream_detector.connectors.kafka.client.defects import DEFECTS, VERSION, as_markdown

REPOSITORY = Path(__file__).resolve().parents[1]

CLIENT = "stream_detector.connectors.kafka.client"

ADAPTERS = {
    CLIENT: "kafka-python has no public way to what its defects are got round with",
    "stream_detector.detectors.fitted_trees": "scikit-learn has no public way to its trees",
    "stream_detector.detectors.pickle_values": "pickles name NumPy's and River's as they are",
}
"""The modules and packages that may use private names of a library, each with its reason."""


@cache
def the_package() -> Package:
    return package_of(REPOSITORY)


def lies_in(module: str, place: str) -> bool:
    return module == place or module.startswith(place + ".")


def imports_of(library: str, tree: ast.Module) -> list[int]:
    """Lines that import a library or a part of it, by a statement or by its name."""
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in {"import_module", "__import__", "find_spec", "resolve_name"}:
                names = [str(one.value) for one in node.args if isinstance(one, ast.Constant)]
        found += [node.lineno for name in names if re.split("[.:]", name)[0] == library]
    return found


def test_only_the_client_package_imports_kafka_python() -> None:
    """Tests and benchmarks import it too: they are the other side of the broker."""
    importers = {
        name for name, module in the_package().modules.items() if imports_of("kafka", module.tree)
    }
    assert [name for name in sorted(importers) if not lies_in(name, CLIENT)] == []
    assert importers, "nobody imports it: is it another name?"


@pytest.mark.parametrize(
    "line",
    [
        "import kafka",
        "import kafka.errors as errors",
        "from kafka import KafkaConsumer",
        "def f():\n    from kafka.future import Future",
        "import_module('kafka.errors')",
        "importlib.import_module('kafka')",
        "__import__('kafka')",
    ],
)
def test_an_import_of_kafka_would_be_found(line: str) -> None:
    assert imports_of("kafka", ast.parse(line))
    assert not imports_of("kafka", ast.parse(line.replace("kafka", "kafka_loop")))


def test_nobody_but_an_adapter_uses_a_private_name_of_another() -> None:
    package = the_package()
    found = [
        f"{name}:{finding}"
        for name, module in package.modules.items()
        if not any(lies_in(name, place) for place in ADAPTERS)
        for finding in private_names(package, module)
    ]
    assert found == []


@pytest.mark.parametrize("place", ADAPTERS)
def test_every_adapter_is_one(place: str) -> None:
    """A place that uses no private name any more is an ordinary module again."""
    package = the_package()
    modules = [module for name, module in package.modules.items() if lies_in(name, place)]
    assert any(private_names(package, module) for module in modules)


PLANTED = [
    # on somebody else's object, however it is called
    "def f(consumer):\n    return consumer._fetcher",
    "def f(consumer):\n    consumer._fetcher.PartitionRecords = None",
    "def f(a):\n    a.b().c[0]._d += 1",
    "def f(x):\n    del x._y",
    "x._y()",
    "lambda x: x._y",
    "import np\nnp._core",
    "import time\ntime._sleep(1)",
    # on what only looks like one's own
    "def f(self):\n    return self._y",
    "class A:\n    def f(self, other):\n        return other._y\n    _y = 1",
    "class A:\n    @staticmethod\n    def f(self):\n        return self._y\n    _y = 1",
    "class A:\n    def f(self):\n        def g(self):\n            return self._y\n    _y = 1",
    "class A:\n    _y = 1\nclass B:\n    def f(self, a: A):\n        return self.a._y",
    "class A:\n    _y = 1\ndef f(b):\n    a = A()\n    a = b\n    return a._y",
    "class A:\n    _y = 1\ndef f(b):\n    a = A()\n    for a in b:\n        return a._y",
    "class A:\n    _y = 1\ndef f(b):\n    a = b(A())\n    return a._y",
    "class A:\n    _y = 1\n    def f(self):\n        a = self()\n        return a._y",
    "class A:\n    _y = 1\ndef f():\n    a = A()\ndef g(a):\n    return a._y",
    # what the class does not define: it is its library's
    "import logging\nclass A(logging.Formatter):\n    def f(self):\n        return self._style",
    "import logging\nclass A(logging.Formatter):\n    def f(self):\n        return super()._x",
    # what it defines, and its library as well
    "import logging\nclass A(logging.Formatter):\n    def f(self):\n        self._fmt = ''",
    "import threading\nclass A(threading.Thread):\n    def _bootstrap(self):\n        pass",
    "from logging import Formatter as F\nclass A(F): pass\nclass B(A):\n    _style = 1",
    "import gone\nclass A(gone.Base):\n    def f(self):\n        self._y = 1",
    # by its name
    "getattr(x, '_y')",
    "setattr(x, '_y', 1)",
    "hasattr(x, '_y')",
    "vars(x)['_y']",
    "x.__dict__['_y'] = 1",
    "x.__dict__.get('_y')",
    "x.__dict__.update(_y=1)",
    "attrgetter('a._y.b')",
    "methodcaller('_y')",
    "getattr(x, '_' + name)",
    "getattr(x, f'_{name}')",
    "NAME = '_y'\ngetattr(x, NAME)",
    "import_module('numpy._core')",
    # in an import
    "from a import _y",
    "from a import _y as y",
    "from a._b import c",
    "import a._b as c",
    # in a pattern
    "match x:\n    case A(_y=1):\n        pass",
]


@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_private_name_is_found(text: str) -> None:
    module = parse("planted", text)
    assert private_names(Package({"planted": module}), module) != []


OWN = [
    "class A:\n    def f(self):\n        self._y = 1\n        return self._y",
    "class A:\n    _y = 1\n    @classmethod\n    def f(cls):\n        return cls._y",
    "class A:\n    __slots__ = ('_y',)\n    def f(self):\n        return self._y",
    "class A:\n    _y: int\n    def f(self, other: A):\n        return other._y",
    "class A:\n    _y: int\n    def f(self, other: 'Self'):\n        return type(self)._y",
    "class A:\n    _y = 1\nclass B(A):\n    def f(self):\n        return super()._y or self._y",
    "class A:\n    def f(self):\n        self._y = 1\n        return lambda: self._y",
    "class A:\n    _y = 1\ndef f():\n    return A._y",
    "class A:\n    _y = 1\n    @classmethod\n    def f(cls):\n        a = cls()\n        a._y = 2",
    "class A:\n    _y = 1\ndef f():\n    a = A()\n    return a._y",
    "import logging\nclass A(logging.Formatter):\n    def f(self):\n        self._of_ours = 1",
    "import os\nos._exit(1)",
    "x._replace(a=1)",
    "x.__class__.__name__",
    "name.endswith('_rate')",
    "f'{name}_rate'",
    "for _ in x: pass",
    "_Y = 1\ndef _f(): return _Y",
]


@pytest.mark.parametrize("text", OWN)
def test_what_is_ones_own_is_left_alone(text: str) -> None:
    module = parse("planted", text)
    assert private_names(Package({"planted": module}), module) == []


def test_the_defects_are_those_of_the_version_that_is_pinned() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    assert f"kafka-python=={VERSION} " in lock, "go through the table: what has been mended?"


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.place.rpartition(".")[2])
def test_what_gets_round_a_defect_exists_and_so_does_its_test(defect) -> None:
    where, _, name = defect.place.rpartition(".")
    modules = the_package().modules
    if where not in modules:  # a method
        where, _, owner = where.rpartition(".")
        assert name in modules[where].classes[owner].defined
    else:
        named = {getattr(node, "name", "") for node in modules[where].tree.body}
        targets = [getattr(node, "targets", []) for node in modules[where].tree.body]
        named |= {ast.unparse(target) for each in targets for target in each}
        assert name in named
    path, _, test = defect.test.partition("::")
    assert f"\ndef {test}(" in (REPOSITORY / path).read_text()


def test_the_documentation_shows_the_table_of_defects() -> None:
    text = (REPOSITORY / "docs" / "kafka-client.md").read_text()
    assert as_markdown() in text


def test_importing_the_client_changes_nothing_of_kafka_python() -> None:
    """No function of the library is replaced for the whole process: each patch is a consumer's."""
    script = """
import importlib, pkgutil, sys
import kafka, kafka.codec, kafka.consumer.fetcher, kafka.record.default_records
import kafka.record.legacy_records, kafka.coordinator.consumer, kafka.producer.kafka
names = [n for n in sys.modules if n == "kafka" or n.startswith("kafka.")]
before = {n: dict(vars(sys.modules[n])) for n in names}
inside = {(n, c): dict(vars(o)) for n in names for c, o in before[n].items() if isinstance(o, type)}
import stream_detector.connectors.kafka.client as client
for found in pkgutil.walk_packages(client.__path__, client.__name__ + "."):
    importlib.import_module(found.name)
from stream_detector.connectors.kafka.client.batches import Refusing, reading
reading(Refusing(), None)
for n in names:
    for name, value in before[n].items():
        assert vars(sys.modules[n])[name] is value or name == "__builtins__", (n, name)
for (n, c), attributes in inside.items():
    for name, value in attributes.items():
        if not name.startswith("_abc_"):
            assert vars(before[n][c]).get(name) is value, (n, c, name)
"""
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=True, timeout=120)
