"""A detector in a package of its own: installed beside, configured, checked, run, tuned."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.streams import records

ROOT = Path(__file__).parents[1]
PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "running-mean"
version = "1.2"
[project.entry-points."stream_detector.detectors"]
running_mean = "running_mean:RunningMean"
broken = "running_mean:Nothing"
loda = "running_mean:RunningMean"
[tool.setuptools]
py-modules = ["running_mean"]
"""
CONFIGURATION = """\
name: test
event: {id: id, time: {field: time}}
features: [{numeric: amount, transform: log}, {categorical: kind, size: 4}]
labels: {field: label, delay: 10m}
threshold: {budget: 2 %, burn_in: 300}
detector:
  kind: KIND
"""


def example() -> str:
    text = (ROOT / "docs" / "detectors.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documented example as a distribution, in a directory of its own."""
    source, target = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site")
    (source / "running_mean.py").write_text(example())
    (source / "pyproject.toml").write_text(PROJECT)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--target", target, source], check=True, timeout=120)
    (target / "plain.py").write_text("from running_mean import RunningMean\nnumber = 3\n")
    (target / "failing.py").write_text("1 / 0\n")
    (target / "needing.py").write_text("import absent_library\n")
    (target / "other.py").write_text(
        "from running_mean import RunningMean\n"
        "class Deaf(RunningMean):\n    def __init__(self, features): super().__init__(features)\n"
        "class NoConfig(RunningMean):\n    Config = dict\n"
        "class Refusing(RunningMean):\n"
        "    def __init__(self, features, *, half_life=1.0, seed=0): raise ValueError('too few')\n"
    )
    return target


def command(installed: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{ROOT}"}
    line = [sys.executable, "-m", "stream_detector", *map(str, words)]
    return subprocess.run(
        line, env=environment, capture_output=True, text=True, check=False, timeout=240
    )


def written(path: Path, kind: str, more: str = "") -> Path:
    file = path / "f.yaml"
    file.write_text(CONFIGURATION.replace("KIND", kind) + more)
    return file


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(record.value or b"" for record in records(3000)) + b"\n")
    return path


def test_the_documented_example_is_short() -> None:
    lines = [line for line in example().splitlines() if line.strip()]
    assert len([line for line in lines if not line.startswith(("from", "import"))]) <= 30


@pytest.mark.parametrize("kind", ["running_mean", "running_mean:RunningMean"])
def test_it_is_checked_run_tuned_and_documented(
    installed: Path, tmp_path: Path, data: Path, kind: str
) -> None:
    file = written(tmp_path, kind, "  half_life: 500\n")
    checked = command(installed, "check", file)
    assert checked.returncode == 0, checked.stderr
    assert kind in checked.stdout
    evaluated = command(installed, "evaluate", file, "--data", data)
    assert evaluated.returncode == 0, evaluated.stderr
    output = tmp_path / "tuned.yaml"
    tuned = command(installed, "tune", file, "--data", data, "--trials", 2, "--output", output)
    assert tuned.returncode == 0, tuned.stderr
    assert kind in output.read_text()
    schema = command(installed, "schema", *(["--detector", kind] if ":" in kind else []))
    # `broken` and a second `loda` are registered too, and said so.
    assert schema.returncode == 0, schema.stderr
    described = json.loads(schema.stdout)["$defs"]
    found = [each for each in described.values() if "half_life" in each.get("properties", {})]
    kinds = [each["properties"].get("kind", {}).get("const") for each in found]
    assert kind in kinds


MISTAKES = [
    ("runing_mean", "did you mean 'running_mean'?"),
    ("broken", "running_mean has no Nothing (entry point 'broken' of running-mean)"),
    ("loda", "2 detectors are called 'loda': stream-detector's own, running_mean:Running"),
    ("absent.package:Class", "there is no module absent; install its package"),
    ("running_mean:Absent", "running_mean has no Absent"),
    ("running_mean.RunningMean", "expected package.module:ClassName"),
    ("plain:number", "is no subclass of stream_detector.detectors.base.Detector"),
    ("failing:Class", "importing failing failed: ZeroDivisionError"),
    ("needing:Class", "needs the module absent_library, which is not installed"),
    ("other:Deaf", "has a constructor without half_life, seed, which RunningMeanConfig has"),
    ("other:NoConfig", "has no Config that is a subclass of"),
    ("other:Refusing", "detector other:Refusing cannot be built: ValueError: too few"),
    ("running_mean\n  half_life: -1", "must be greater than 0"),
    ("running_mean\n  half_live: 1", "unknown key 'half_live'; did you mean 'half_life'?"),
]
CHECKS = """
import os, sys
import stream_detector.cli.check
from stream_detector.__main__ import main
for file in sys.argv[1:]:
    if not os.fork():
        os.dup2(os.open(f"{file}.err", os.O_WRONLY | os.O_CREAT), 2)
        sys.exit(main(["check", file]))
    with open(f"{file}.code", "w") as said:
        said.write(str(os.waitstatus_to_exitcode(os.wait()[1])))
"""


@pytest.fixture(scope="module")
def mistakes(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str]]:
    """Exit code and standard error of ``check`` for each mistake: forks of one interpreter."""
    files = [written(tmp_path_factory.mktemp("mistake"), kind) for kind, _ in MISTAKES]
    environment = {**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{ROOT}"}
    line = [sys.executable, "-c", CHECKS, *map(str, files)]
    subprocess.run(line, env=environment, check=True, timeout=240)
    return [
        (int(Path(f"{each}.code").read_text()), Path(f"{each}.err").read_text()) for each in files
    ]


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=[kind for kind, _ in MISTAKES])
def test_a_mistake_is_named_with_its_line_and_the_way_on(
    mistakes: list[tuple[int, str]], number: int
) -> None:
    message = MISTAKES[number][1]
    code, said = mistakes[number]
    assert code == 2
    assert message in said
    if "cannot be built" not in message:
        assert re.search(r"f\.yaml:[78]:\d+: detector", said)


IN_PROCESS = """
import json, sys
from stream_detector.config import state_differences, state_shape, state_fingerprint
from stream_detector.config.loading.load import parse
from stream_detector.testing import check_detector
from running_mean import RunningMean
check_detector(RunningMean, half_life=300)
text = open(sys.argv[1]).read()
config = parse(text, "f", {}).config
shape = state_shape(config)
assert shape["detector"]["distribution"] == {"name": "running-mean", "version": "1.2"}, shape
meta = {"configuration": state_fingerprint(config), "shape": shape}
assert state_differences(meta, config) == []
shape = json.loads(json.dumps(shape))
shape["detector"]["distribution"]["version"] = "1.1"
found = state_differences({"configuration": "x", "shape": shape}, config)
assert found == ['detector.distribution.version: was "1.1", is "1.2"'], found
shape["detector"] = {"kind": "failing:Class", "seed": 0}
found = state_differences({"configuration": "x", "shape": shape}, config)
assert any("failing:Class" in line for line in found), found
assert "failing" not in sys.modules
RunningMean.state_version = "a"
assert state_shape(config)["detector"]["distribution"]["version"] == "a"
"""


def test_its_release_is_in_the_fingerprint_and_a_snapshot_imports_nothing(
    installed: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{ROOT}"}
    file = written(tmp_path, "running_mean")
    line = [sys.executable, "-c", IN_PROCESS, file]
    subprocess.run(line, env=environment, check=True, timeout=120)


@pytest.mark.parametrize("words", [["--help"], ["schema"], ["check", "config/transactions.yaml"]])
def test_commands_that_score_nothing_do_not_import_scikit_learn(words: list[str]) -> None:
    code = "import sys; from stream_detector.__main__ import main\ntry: main(sys.argv[1:])\n"
    code += "except SystemExit: pass\nassert not {'sklearn', 'scipy', 'river'} & {*sys.modules}"
    subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=120,
    )
