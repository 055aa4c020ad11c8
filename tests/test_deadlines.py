"""No call in the tests waits for ever: each that can is given its deadline where it is made."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

WAITS = {"wait", "join", "communicate", "acquire", "get"}
"""Methods that wait for ever where they get no argument."""

OF_OUR_OWN = {"daemon", "rule", "held", "lost"}
"""Names of DaemonProcess and ReplyRule, whose ``wait`` has a deadline unless another is given."""

CLOSED_WITH_A_DEADLINE = ("producer", "consumer", "newcomer", "member")

RUNS = {f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output")}


def waits_for_ever(text: str) -> list[str]:
    """The calls of a module that name no deadline, with their lines."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return [f"{call.lineno}: {ast.unparse(call)[:80]}" for call in calls if _endless(call)]


def _endless(call: ast.Call) -> bool:
    names = {keyword.arg for keyword in call.keywords}
    if None in names or any("timeout" in str(name) for name in names):
        return False
    whole = ast.unparse(call.func)
    owner, _, method = whole.rpartition(".")
    if whole in RUNS or method == "urlopen":
        return True
    if method == "create_connection":
        return len(call.args) < 2
    if not owner or call.args:
        return False
    if method in WAITS and not names:
        return owner not in OF_OUR_OWN and "proxy." not in owner
    is_client = any(name in owner.lower() for name in CLOSED_WITH_A_DEADLINE)
    return is_client and method in {"close", "flush"}


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.stem)
def test_every_wait_has_a_deadline(path: Path) -> None:
    assert waits_for_ever(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "thread.join()",
        "process.wait()",
        "process.communicate()",
        "queue.get()",
        "lock.acquire()",
        "subprocess.run(['make'], check=True)",
        "urllib.request.urlopen(url)",
        "socket.create_connection(address)",
        "self._producer.flush()",
        "newcomer.close(autocommit=False)",
    ],
)
def test_a_wait_without_a_deadline_is_found(line: str) -> None:
    assert waits_for_ever(line) == [f"1: {line}"]


@pytest.mark.parametrize(
    "line",
    [
        "thread.join(5)",
        "process.wait(timeout=5)",
        "', '.join(names)",
        "daemon.wait()",
        "mapping.get(key)",
        "subprocess.run(['make'], check=True, timeout=5)",
        "consumer.close(timeout_ms=5000)",
        "file.close()",
    ],
)
def test_what_ends_is_not_complained_about(line: str) -> None:
    assert waits_for_ever(line) == []
