"""One real Kafka broker (KRaft, with its controller in the same process) without Docker.

Needs Java 17 and, the first time, Maven. Uses the standard library only, so that it also runs as a
command beside a benchmark::

    python tests/kafka_broker/broker.py start DIRECTORY PORT
    python tests/kafka_broker/broker.py stop DIRECTORY      # or: kill
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import errno
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

HERE = Path(__file__).absolute().parent
POM = HERE / "pom.xml"
LOGGING = HERE / "log4j2.properties"
TEST_PROPERTIES = HERE / "test.properties"
KAFKA_VERSION = re.findall(r"<kafka\.version>(.+?)</", POM.read_text())[0]
HOST = "127.0.0.1"

SMALL_HEAP = (
    "-Xms64m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
)
"""For tests: little memory and a quick start rather than throughput."""

LARGE_HEAP = ("-Xms256m", "-Xmx1g")
"""For benchmarks: the optimising compiler and the default collector."""

RECORD_CLASSES = "-XX:ArchiveClassesAtExit="
STARTED = b"Kafka Server started"
PORTS = "# ports: "  # begins server.properties, so that a later process finds them


class BrokerError(Exception):
    """The broker cannot be fetched or started; the message ends with its last log lines."""


def why_unavailable() -> str | None:
    """Why no broker can be started here, or None where one can."""
    if shutil.which("java") is None:
        return "java is not installed"
    if shutil.which("mvn") is None and not (_jar_directory() / ".complete").exists():
        return "mvn (Maven) is not installed, which fetches the broker"
    return None


def fetch_jars() -> Path:
    """The directory with the broker's jars, fetched once a version; safe in parallel processes.

    Raises:
        BrokerError: Maven could not fetch them.
    """
    directory = _jar_directory()
    complete = directory / ".complete"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if complete.exists():
            return directory
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime"]
        command = ["mvn", "-q", "-B", "-f", str(POM), *goal, f"-DoutputDirectory={directory}"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        if ran.returncode != 0:
            raise BrokerError(f"Maven could not fetch the broker:\n{ran.stdout[-2000:]}")
        complete.touch()
    return directory


def class_archive(jars: Path) -> Path | None:
    """The broker's classes as the virtual machine has them in memory: half of a start is loading.

    Recorded once a version of Java, from a broker that starts and stops; None where that failed,
    and everything works without. Safe in parallel processes.
    """
    java = Path(shutil.which("java") or "java").resolve()
    archive = jars / f"classes-{java.stat().st_mtime_ns:x}.jsa"
    with (jars / ".archive-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            with tempfile.TemporaryDirectory(dir=jars) as temporary:
                recorded = Path(temporary) / archive.name
                options = (*SMALL_HEAP, f"{RECORD_CLASSES}{recorded}")
                broker = Broker(Path(temporary) / "broker", java_options=options)
                try:
                    broker.start()
                finally:
                    broker.stop(timeout=60.0)
                if recorded.exists():
                    recorded.replace(archive)
                else:
                    archive.touch()  # does not work here: do not try each time
    return archive if archive.stat().st_size else None


def formatted_storage(jars: Path, settings: Path, data: Path) -> Path:
    """What Kafka's tool writes into an empty ``data``, made once: it takes as long as a start.

    Raises:
        BrokerError: the tool failed.
    """
    template = jars / "storage"
    with (jars / ".storage-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            tool = ["java", *SMALL_HEAP, "-cp", _class_path(jars), "kafka.tools.StorageTool"]
            command = [*tool, "format", "-t", new_cluster_id(), "-c", str(settings)]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if ran.returncode != 0:
                raise BrokerError(f"formatting the storage failed:\n{ran.stdout}{ran.stderr}")
            with tempfile.TemporaryDirectory(dir=jars) as temporary:
                made = Path(shutil.move(data, temporary))
                made.rename(template)
    return template


def _class_path(jars: Path) -> str:
    # Named one by one and in order: an archive of classes serves only the path it was recorded on.
    return ":".join(map(str, sorted(jars.glob("*.jar"))))


def _jar_directory() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "stream-detector" / f"kafka-{KAFKA_VERSION}"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below the range that the kernel gives to outgoing connections.

    A broker that is down keeps no hold on its port. From the outgoing range the kernel could hand
    the port to any client meanwhile, and the broker could not come back to it.
    """
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            port = random.SystemRandom().randrange(15_000, 32_000)
            candidate = held.enter_context(socket.socket())
            try:
                candidate.bind((HOST, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                ports.append(port)
    return ports


def new_cluster_id() -> str:
    """An id as Kafka wants it: 16 bytes in base64 without padding.

    Never with a leading dash, which the tool that formats the storage takes for an option.
    """
    return "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


class Broker:
    """A broker in a directory of its own; its state is that directory and one Java process.

    ``start`` after ``stop`` or ``kill`` comes up on the same ports with the same data. Settings
    changed in ``properties`` meanwhile take effect then.

    Args:
        directory: for settings, data and log; made where it is missing.
        port: of the clients' listener; None takes the one that the directory was last used with,
            else a free one.
        properties: of ``server.properties``, on top of those in ``test.properties``.
        java_options: of the virtual machine.
        proxy_port: of a proxy on this machine. The broker then also listens on ``proxied_port``,
            and sends the clients that came in there back to the proxy.
        cluster_id: that its storage is formatted for; None takes a new one.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        properties: Mapping[str, object] | None = None,
        java_options: Sequence[str] = SMALL_HEAP,
        proxy_port: int | None = None,
        cluster_id: str | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.log_file = self.directory / "broker.log"
        self._pid_file = self.directory / "pid"
        self._java_options = java_options
        self._process: subprocess.Popen[bytes] | None = None
        self._cluster_id = cluster_id or new_cluster_id()
        self._log_start = 0
        self._settings_file = self.directory / "server.properties"
        last_port, self._controller_port = self._last_ports() or free_ports(2)
        self.port = last_port if port is None else port
        self.properties = self._own_properties()
        self.proxied_port: int | None = None
        if proxy_port is not None:
            self.proxied_port = free_ports(1)[0]
            self.properties |= self._proxied_properties(proxy_port)
        self.properties |= dict(properties or {})

    @property
    def bootstrap(self) -> str:
        """Address for ``bootstrap_servers``."""
        return f"{HOST}:{self.port}"

    @property
    def controller(self) -> str:
        """Address of its controller, for ``controller.quorum.voters``."""
        return f"{HOST}:{self._controller_port}"

    @property
    def data_directory(self) -> Path:
        """Where the broker keeps its logs: one directory a partition, ``TOPIC-PARTITION``."""
        return self.directory / "data"

    @property
    def running(self) -> bool:
        """Whether the process is there (a paused one is)."""
        if self._process is not None:
            return self._process.poll() is None
        return self._pid() is not None

    def start(self, timeout: float = 90.0) -> Broker:
        """Start and wait until the broker serves requests. Returns itself.

        Raises:
            BrokerError: it is running already, ended early or took longer than ``timeout`` seconds.
        """
        self.launch()
        self.wait_started(timeout)
        return self

    def launch(self) -> None:
        """Start, and do not wait: brokers of one cluster come up only together.

        Raises:
            BrokerError: it is running already.
        """
        if self.running:
            raise BrokerError(f"the broker in {self.directory} is already running")
        jars = fetch_jars()
        self._write_settings()
        if not (self.data_directory / "meta.properties").exists():
            self._format_storage(jars)
        options = [*self._java_options, f"-Dlog4j2.configurationFile={LOGGING}"]
        recording = any(option.startswith(RECORD_CLASSES) for option in options)
        if not recording and (archive := class_archive(jars)):
            options.append(f"-XX:SharedArchiveFile={archive}")
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        command = ["java", *options, "-cp", _class_path(jars), "kafka.Kafka"]
        with self.log_file.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal must not reach the broker first.
            self._process = subprocess.Popen(
                [*command, str(self._settings_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._pid_file.write_text(str(self._process.pid))

    def wait_started(self, timeout: float = 90.0) -> None:
        """Wait until the broker serves requests.

        Raises:
            BrokerError: it ended early or took longer than ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with self.log_file.open("rb") as log:
                log.seek(self._log_start)
                if STARTED in log.read():
                    return
            if not self.running:
                raise BrokerError(f"the broker ended while starting:\n{self.log_tail()}")
            time.sleep(0.05)
        self.kill()
        raise BrokerError(f"the broker did not start in {timeout:g} s:\n{self.log_tail()}")

    def stop(self, timeout: float = 30.0) -> None:
        """SIGTERM and wait; SIGKILL after ``timeout`` seconds. Nothing where none is running."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """SIGKILL, as a crash, and wait until the process is gone."""
        self._end(signal.SIGKILL, 30.0)

    def restart(self, *, crash: bool = False) -> None:
        """Stop (or kill, where ``crash``) and start on the same ports and data."""
        if crash:
            self.kill()
        else:
            self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after ``pause``."""
        self._send(signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Paused inside the ``with`` block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the broker's log."""
        if not self.log_file.exists():
            return ""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _last_ports(self) -> list[int] | None:
        if not self._settings_file.exists():
            return None
        first_line = self._settings_file.read_text().split("\n", 1)[0]
        return [int(port) for port in first_line.removeprefix(PORTS).split()]

    def _own_properties(self) -> dict[str, object]:
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{self.controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{self.controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self.data_directory,
            **_read_properties(TEST_PROPERTIES),
        }

    def _proxied_properties(self, proxy_port: int) -> dict[str, object]:
        names = ("PLAINTEXT", "CONTROLLER", "PROXIED")
        listeners = self.properties["listeners"]
        advertised = self.properties["advertised.listeners"]
        return {
            "listeners": f"{listeners},PROXIED://{HOST}:{self.proxied_port}",
            "advertised.listeners": f"{advertised},PROXIED://{HOST}:{proxy_port}",
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in names),
        }

    def _write_settings(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        ports = f"{PORTS}{self.port} {self._controller_port}\n"
        lines = [f"{key}={_property(value)}\n" for key, value in self.properties.items()]
        self._settings_file.write_text(ports + "".join(lines))

    def _format_storage(self, jars: Path) -> None:
        """Copy the storage as formatted for somebody, and put this broker's name on it."""
        template = formatted_storage(jars, self._settings_file, self.data_directory)
        shutil.copytree(template, self.data_directory)
        own = {
            "cluster.id": self._cluster_id,
            "directory.id": new_cluster_id(),
            "node.id": self.properties["node.id"],
        }
        meta = self.data_directory / "meta.properties"
        found = _read_properties(meta)
        meta.write_text("".join(f"{key}={value}\n" for key, value in (found | own).items()))

    def _pid(self) -> int | None:
        """Process id of a broker that another process started in this directory, if it lives."""
        try:
            pid = int(self._pid_file.read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        # The number may have gone to another process since, which is none of ours to signal.
        return pid if str(self.directory).encode() in arguments else None

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
        elif (pid := self._pid()) is not None:
            os.kill(pid, number)
        else:
            raise BrokerError(f"no broker is running in {self.directory}")

    def _end(self, number: signal.Signals, timeout: float) -> None:
        if not self.running:
            return
        self._send(number)
        if number is not signal.SIGKILL:
            self._send(signal.SIGCONT)  # a paused process would not see SIGTERM
        deadline = time.monotonic() + timeout
        while self.running:
            if time.monotonic() > deadline:
                self._send(signal.SIGKILL)
                deadline = float("inf")
            time.sleep(0.02)
        self._process = None
        self._pid_file.unlink(missing_ok=True)


def _read_properties(path: Path) -> dict[str, object]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def _property(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Run one Kafka broker without Docker.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    start = verbs.add_parser("start", help="start in the background, wait until it serves")
    start.add_argument("directory", type=Path)
    start.add_argument("port", type=int, nargs="?", help="default: as last time, else a free one")
    start.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings")
    for verb in ("stop", "kill"):
        verbs.add_parser(verb).add_argument("directory", type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.verb == "start":
            settings = dict(setting.split("=", 1) for setting in given.settings)
            broker = Broker(
                given.directory, port=given.port, properties=settings, java_options=LARGE_HEAP
            )
            print(broker.start().bootstrap)
        elif given.verb == "stop":
            Broker(given.directory).stop()
        else:
            Broker(given.directory).kill()
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
