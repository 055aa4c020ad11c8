"""README and tutorial, typed line by line as they stand, against a broker of their own.

Replaced are the broker's address, the metrics' port, and sizes, so that it takes seconds. What is
not run: the lines of docker (the tests of the compose file run their commands) and `make test`.
`kafka-topics.sh`, which comes with Kafka, is a stand-in that creates the topics it is told to. What
follows for ever (`run`, `alerts` without `--count`) runs in the background or to its first alert.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.broker import Broker
from kafka_broker.clients import create_topic
from support.process import wait_until

REPOSITORY = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = ("docker ", "make test")
SMALLER = {
    "--count 200000": "--count 8000",
    "--start 2018-04-21": "--start 2018-04-02",
    "--count 60000": "--count 5000",
    "--skip 10000": "--skip 3000",
    "--minutes 10": "--trials 1",
    "make demo": "make demo ARGS='--seconds 4'",
}


def blocks(document: str, language: str) -> list[str]:
    text = (REPOSITORY / document).read_text()
    return [block for found, block in FENCE.findall(text) if found == language]


def lines_of(document: str) -> list[str]:
    """Commands of a document in order, continued lines joined."""
    found = []
    for block in blocks(document, "sh"):
        joined = block.replace("\\\n", " ")
        found += [line for line in joined.splitlines() if line.strip() and line[0] != "#"]
    return found


class Shell:
    """One bash after another in one directory, as a person's terminal. Keeps what `export` sets."""

    def __init__(self, directory: Path, broker: Broker | None = None) -> None:
        self.directory, self._broker = directory, broker
        self.smaller = dict(SMALLER)
        self.done: list[str] = []
        (directory / ".venv").symlink_to(REPOSITORY / ".venv")
        self._variables = directory / "variables.sh"
        self._variables.write_text("")

    def _prepared(self, line: str) -> str:
        for long, short in self.smaller.items():
            line = line.replace(long, short)
        if self._broker is not None:
            line = line.replace("localhost:9092", self._broker.bootstrap)
        return line

    def _script(self, line: str) -> str:
        return (
            f'make() {{ command make --no-print-directory -C {REPOSITORY} "$@"; }}\n'
            f". .venv/bin/activate\nset -euo pipefail\n. {self._variables}\n{line}\n"
            f"declare -p ALERT > {self._variables} 2>/dev/null || true\n"
        )

    def run(self, line: str, timeout: float = 120.0) -> str:
        """Run a line; its standard output. Fails where its exit code is not 0."""
        if line.startswith("kafka-topics.sh"):
            return self._create(line)
        line = self._prepared(line)
        if line.startswith("stream-detector alerts") and "--count" not in line:
            line = re.sub(r"config\.yaml", "config.yaml --count 1", line)
        done = subprocess.run(
            ["bash", "-c", self._script(line)],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "COLUMNS": "100"},
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        # The configuration that `init` proposes names the documented address.
        config = self.directory / "config.yaml"
        if self._broker is not None and config.exists():
            config.write_text(config.read_text().replace("localhost:9092", self._broker.bootstrap))
        self.done.append(line)
        return done.stdout

    def _create(self, line: str) -> str:
        assert self._broker is not None
        words = shlex.split(line)
        assert words[1:4] == ["--bootstrap-server", "localhost:9092", "--create"], line
        given: dict[str, list[str]] = {}
        for name, value in zip(words[4::2], words[5::2], strict=True):
            given.setdefault(name, []).append(value)
        (topic,), (partitions,) = given.pop("--topic"), given.pop("--partitions")
        settings = dict(item.split("=", 1) for item in given.pop("--config", []))
        assert given == {}, line
        create_topic(self._broker.bootstrap, topic, int(partitions), settings)
        self.done.append(line)
        return ""

    @contextmanager
    def background(self, line: str) -> Iterator[Path]:
        """``stream-detector run`` until the block is left; where its output goes."""
        log = self.directory / "run.log"
        line = f"exec {self._prepared(line).partition('#')[0]} --set metrics.port=0"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", self._script(line)],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:

            def ready() -> bool:
                assert process.poll() is None, log.read_text()[-3000:]
                return "assigned shards" in log.read_text()

            wait_until(ready, "the daemon to own its shard", timeout=120)
            yield log
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()[-3000:]
            self.done.append(line)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)


@pytest.fixture
def shell(broker_factory: Callable[..., Broker], tmp_path: Path) -> Shell:
    if Path(sys.prefix).resolve() != (REPOSITORY / ".venv").resolve():
        pytest.skip("the documented commands were NOT run: they use .venv (make test)")
    return Shell(tmp_path, broker_factory())


def test_the_commands_of_the_tutorial_run_as_they_stand(shell: Shell) -> None:
    lines = lines_of("docs/tutorial.md")
    run_at = next(n for n, line in enumerate(lines) if line.startswith("stream-detector run"))
    relabelled = next(n for n, line in enumerate(lines) if "events.labels" in line)
    said: dict[str, str] = {line: shell.run(line) for line in lines[:run_at]}
    with shell.background(lines[run_at]) as log:
        said |= {line: shell.run(line) for line in lines[run_at + 1 : relabelled]}
        broker = shell._broker
        assert broker is not None
        _run_the_page_on_alerts(shell, broker)
    assert "events" in log.read_text()
    assert " alerts (" in log.read_text()  # the lines of --watch
    said |= {line: shell.run(line) for line in lines[relabelled:]}
    assert sum(not line.startswith("kcat") for line in shell.done) == len(lines)
    (evaluated,) = [text for line, text in said.items() if line.startswith("stream-detector eval")]
    assert "the rarest alerts:" in evaluated
    (labelled,) = [text for line, text in said.items() if line.startswith("stream-detector label")]
    assert "is labelled fraud (events.labels" in labelled


def _run_the_page_on_alerts(shell: Shell, broker: Broker) -> None:
    """The examples of docs/alerts.md, on the alerts that are there now."""
    (script,) = blocks("docs/alerts.md", "python")
    path = shell.directory / "desk.py"
    path.write_text(script.replace("localhost:9092", broker.bootstrap))
    with subprocess.Popen(
        [sys.executable, "-u", str(path)], stdout=subprocess.PIPE, text=True
    ) as desk:
        assert desk.stdout is not None
        first = desk.stdout.readline()
        desk.terminate()
    assert re.fullmatch(r"2018-04-\S+ (low|medium|high|critical) (\d+|rate:\S+)\n", first), first
    kcat = [line for line in lines_of("docs/alerts.md") if line.startswith("kcat")]
    assert kcat
    if shutil.which("kcat") is None or shutil.which("jq") is None:
        warnings.warn("kcat or jq is not installed: their lines were NOT run", stacklevel=1)
        return
    for line in kcat:
        # `-e`: to the end instead of for ever.
        said = shell.run(line.replace("kcat -C", "kcat -C -e"))
        assert "events-" in said or "jq" in line or "dead-letters" in line, line


def test_the_commands_of_the_readme_run_as_they_stand(shell: Shell) -> None:
    lines = [line for line in lines_of("README.md") if not line.startswith(NOT_RUN)]
    # `tune` needs more labels than the first day has.
    shell.smaller |= {"--count 200000": "--count 20000", "--start 2018-04-21": "--start 2018-04-03"}
    # The order of a reader without a CSV: the file first, the topics before the broker is asked.
    lines.sort(key=lambda line: "--format csv" not in line and not line.startswith("make"))
    topics = [line for line in lines_of("docs/tutorial.md") if line.startswith("kafka-topics.sh")]
    for line in topics:
        shell.run(line)
    start = next(n for n, line in enumerate(lines) if line.startswith("stream-detector run"))
    follow = next(n for n, line in enumerate(lines) if line.startswith("stream-detector alerts"))
    produce = next(n for n, line in enumerate(lines) if "--kafka" in line)
    rest = [line for n, line in enumerate(lines) if n > start and n not in (follow, produce)]
    said = "".join(shell.run(line) for line in lines[:start])
    assert "the rarest alert:" in said
    config = shell.directory / "config.yaml"
    with shell.background(lines[start]):
        shell.run(lines[produce])
        assert "score" in shell.run(lines[follow])
    changed = config.read_text().replace("budget: 0.5 %", "budget: 1 %")
    (shell.directory / "other.yaml").write_text(changed)
    for line in rest:
        shell.run(line)
    assert len(shell.done) == len(lines) + len(topics)


def test_from_a_clone_to_the_first_alert_are_at_most_five_commands() -> None:
    text = (REPOSITORY / "README.md").read_text()
    section = text[text.index("## From your own CSV to alerts") :]
    first: Any = FENCE.search(section)
    commands = first[2].splitlines()
    assert len(commands) <= 5
    assert commands[-1].startswith("stream-detector evaluate")
