"""The examples in docstrings and of the API page give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "stream_detector"
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    # Only what has an example is imported: the others bring scikit-learn and River along.
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_give_what_they_say(name):
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for each in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)):
        runner.run(each, out=report.append)
    assert runner.failures == 0, "".join(report)
    assert runner.tries > 0


def test_the_examples_of_the_api_page_give_what_they_say():
    text = (PACKAGE.parent / "docs" / "api.md").read_text().replace("```", "")
    report: list[str] = []
    example = doctest.DocTestParser().get_doctest(text, {}, "api.md", "docs/api.md", 0)
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(example, out=report.append)
    assert runner.failures == 0, "".join(report)
    assert runner.tries > 5


def test_examples_of_several_modules_are_found():
    assert {"stream_detector.report.text", "stream_detector.markup"} <= set(MODULES)
