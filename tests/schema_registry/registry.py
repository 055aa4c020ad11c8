"""One real schema registry (Apicurio, in memory) without Docker.

Needs Java 17 and, the first time, Maven. It has Confluent's API at ``/apis/ccompat/v7`` and its own
at ``/apis/registry/v3``. Uses the standard library only, so that it also runs beside a benchmark.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

VERSION = "3.0.9"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
OPTIONS = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class RegistryError(Exception):
    """The registry cannot be fetched or started; the message ends with its last log lines."""


def fetch() -> Path:
    """The directory with the registry, fetched once a version; safe in parallel processes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = cache / "stream-detector" / f"apicurio-{VERSION}"
    complete = directory / ".complete"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if complete.exists():
            return directory
        # The archive has all that it needs: no pom is read.
        goal = ["dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={directory}"]
        ran = subprocess.run(
            ["mvn", "-q", "-B", *goal], capture_output=True, text=True, timeout=900, check=False
        )
        if ran.returncode != 0:
            raise RegistryError(f"Maven could not fetch the registry:\n{ran.stdout[-2000:]}")
        packed = next(directory.glob("*.tar.gz"))
        with tarfile.open(packed) as archive:
            archive.extractall(directory, filter="data")
        packed.unlink()
        complete.touch()
    return directory


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Registry:
    """A registry's process. A context manager; what it holds is gone once it has stopped."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.address}/apis/ccompat/v7"
        self.own_url = f"{self.address}/apis/registry/v3"
        self._log = directory / "registry.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, timeout: float = 180.0) -> Self:
        jar = next(fetch().glob("*-runner.jar"))
        environment = {
            **os.environ,
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(self.port),
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
        }
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                ["java", *OPTIONS, "-jar", str(jar)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
            )
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.ask("/subjects")
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = self._log.read_text(errors="replace")[-2000:]
                    self.kill()
                    raise RegistryError(f"the registry did not start:\n{said}") from error
                time.sleep(0.1)
            else:
                return self

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)

    def ask(
        self,
        path: str,
        content: Any = None,
        base: str | None = None,
        method: str | None = None,
        **headers: str,
    ) -> Any:
        """The JSON that it answers; sends ``content`` as JSON where it is given."""
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request((base or self.url) + path, data=body, method=method)
        request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            error.add_note(error.read().decode("utf-8", "replace")[:500])
            raise

    def register(
        self,
        subject: str,
        schema: str,
        kind: str = "AVRO",
        references: tuple[dict[str, Any], ...] = (),
    ) -> int:
        """The id of a schema, new or not."""
        content = {"schema": schema, "schemaType": kind, "references": list(references)}
        return int(self.ask(f"/subjects/{subject}/versions", content)["id"])

    def demand(self, subject: str, level: str) -> None:
        """Ask a compatibility of a subject."""
        self.ask(f"/config/{subject}", {"compatibility": level}, method="PUT")
