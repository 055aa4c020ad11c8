"""What the repository's host and its visitors read: workflow, templates, hooks, policies."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = [
    path for path in sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"
]
SCHEMAS = [
    ("vendor.github-workflows", WORKFLOWS),
    ("vendor.github-issue-forms", FORMS),
    ("vendor.github-issue-config", [GITHUB / "ISSUE_TEMPLATE" / "config.yml"]),
]


def workflow() -> Any:
    (path,) = WORKFLOWS
    return yaml.safe_load(path.read_text())


def steps() -> list[dict[str, Any]]:
    (job,) = workflow()["jobs"].values()
    return list(job["steps"])


@pytest.mark.parametrize(("schema", "files"), SCHEMAS, ids=[schema for schema, _ in SCHEMAS])
def test_files_for_the_host_fit_its_schemas(schema, files):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = subprocess.run(
        [*command, *map(str, files)], capture_output=True, text=True, check=False, timeout=120
    )
    assert files
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_runs_everything_on_every_python_that_is_supported():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    (job,) = workflow()["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == supported
    assert [step["run"] for step in steps() if "run" in step] == [".ci/run"]
    (python,) = (step for step in steps() if "setup-python" in step.get("uses", ""))
    assert python["with"]["python-version"] == "${{ matrix.python }}"


def test_actions_are_pinned_and_may_only_read():
    used = [step["uses"] for step in steps() if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", name) for name in used), used
    assert workflow()["permissions"] == {"contents": "read"}


def test_what_the_caches_hang_on_is_there():
    text = (GITHUB / "workflows" / "ci.yml").read_text()
    (pattern,) = re.findall(r"hashFiles\('([^']+)'\)", text)
    assert list(REPOSITORY.glob(pattern))
    (locks,) = re.findall(r"cache-dependency-path: (\S+)", text)
    assert {path.name for path in REPOSITORY.glob(locks)} == {
        "requirements.lock",
        "requirements-dev.lock",
    }


def test_hooks_before_a_commit_are_what_lint_runs():
    path = REPOSITORY / ".pre-commit-config.yaml"
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (local,) = yaml.safe_load(path.read_text())["repos"]
    assert local["repo"] == "local"
    hooks = {hook["entry"].replace(".venv", "$(VENV)") for hook in local["hooks"]}
    makefile = (REPOSITORY / "Makefile").read_text()
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    linted = re.findall(r"\$\(BIN\)/(ruff \w+|mypy)", recipe)
    assert sorted(linted) == sorted(
        re.match(r"\$\(VENV\)/bin/(ruff \w+|mypy)", hook)[1] for hook in hooks
    )


def test_the_security_policy_speaks_of_this_version():
    version = re.search(r'"(\d+\.\d+)\.', (REPOSITORY / "stream_detector/__init__.py").read_text())
    policy = (REPOSITORY / "SECURITY.md").read_text()
    assert f"| {version[1]}.x | yes |" in policy
    # Nobody reads an invented address.
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", policy)
