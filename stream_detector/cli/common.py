"""Parts shared by several commands: configuration flags, logging, the way to stop."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from stream_detector.cli.terminal import say, warn
from stream_detector.config import Config, KafkaSettings, LoadedConfig, load
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.connection.settings import (
    CONSUMER_KEYS,
    PRODUCER_KEYS,
    security_settings,
)
from stream_detector.errors import ConfigurationError
from stream_detector.telemetry.logs import configure_logging, register_secret

log = logging.getLogger(__name__)

_SAME_SIGNAL_SECONDS = 0.5
"""A signal may come twice for one wish: GNU timeout and terminals send it to process and group."""


def add_command(
    subparsers: Any, name: str, run: Callable[[argparse.Namespace], int], help_: str, example: str
) -> argparse.ArgumentParser:
    """A subparser whose ``--help`` ends with an example."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=help_,
        description=help_,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_configuration(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """The CONFIG argument (a list of them for ``several``) and ``--set``."""
    if several:
        parser.add_argument(
            "config", metavar="CONFIG", nargs="+", help="configuration file (YAML), or several"
        )
    else:
        parser.add_argument("config", metavar="CONFIG", help="configuration file (YAML)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set one value over the file's, e.g. --set metrics.port=9200",
    )


def overrides(arguments: argparse.Namespace) -> dict[str, str]:
    """The values of ``--set`` by key. Raises ``ConfigurationError`` where one has no value."""
    result: dict[str, str] = {}
    for item in arguments.set:
        key, sign, value = item.partition("=")
        if not sign:
            raise ConfigurationError(f"--set {item}: expected KEY=VALUE")
        result[key] = value
    return result


def configuration(arguments: argparse.Namespace, path: str | None = None) -> Config:
    """Load the configuration, with logging set as it says and its secrets hidden from the log.

    ``path`` is one of several that the command was given.

    Raises ``ConfigurationError`` listing every mistake.
    """
    return loaded_configuration(arguments, path).config


def loaded_configuration(arguments: argparse.Namespace, path: str | None = None) -> LoadedConfig:
    """As ``configuration``, with what else there is to say of the file."""
    loaded = load(
        path or arguments.config,
        os.environ,
        overrides(arguments),
        KafkaSettings(consumer=CONSUMER_KEYS, producer=PRODUCER_KEYS),
    )
    config = loaded.config
    configure_logging(config.logging.format, config.logging.level)
    secrets = [config.metrics.password, config.metrics.label_token]
    if config.kafka is not None:
        secrets += [config.kafka.security.password, config.kafka.security.key_password]
    if config.registry is not None:
        secrets += [config.registry.password, config.registry.token]
    for secret in secrets:
        if secret is not None:
            register_secret(secret.get_secret_value())
    return loaded


def kafka_section(config: Config, path: str) -> KafkaConfig:
    """The broker's section. Raises ``ConfigurationError`` where the file has none."""
    if config.kafka is None:
        raise ConfigurationError(f"{path}: this command needs the section `kafka`")
    # One that comes from a file is known only now.
    register_secret(security_settings(config.kafka.security).get("sasl_plain_password", ""))
    return config.kafka


def agreed(question: str) -> bool:
    """Ask the user to agree. Raises ``ConfigurationError`` where nobody can be asked."""
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody can be asked: say --yes")
    say(f"{question} [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def write_whole(target: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write beside the target and rename: all of it or nothing. Its mode stays, where it exists.

    ``mode``: that a new file has, less the umask.

    Raises ``ConfigurationError`` where that cannot be.
    """
    beside = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(beside, flags, mode), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            beside.chmod(target.stat().st_mode)
        beside.replace(target)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise ConfigurationError(f"cannot write {target}: {error}") from error


def file_fingerprint(path: Path) -> str:
    """BLAKE2b of the file as it lies there, 32 hexadecimal digits."""
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


class Stop:
    """Stop by SIGTERM or SIGINT. A second one, or the limit passing, ends the process."""

    def __init__(self, limit_seconds: float) -> None:
        self._asked = threading.Event()
        self._limit_seconds = limit_seconds
        self._asked_at = 0.0

    def __call__(self) -> bool:
        """Tell whether to stop."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask to stop, as a signal would; the limit runs from now."""
        self._asked.set()
        watchdog = threading.Timer(self._limit_seconds, self._give_up)
        watchdog.daemon = True
        watchdog.start()

    def _give_up(self) -> None:
        warn(f"not stopped within {self._limit_seconds:g} s: ending at once")
        os._exit(1)

    def _on_signal(self, number: int, _frame: Any) -> None:
        now = time.monotonic()
        if not self._asked.is_set():
            self._asked_at = now
            self.ask()
        elif now - self._asked_at > _SAME_SIGNAL_SECONDS:
            os._exit(128 + number)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals inside, and give the old handlers back afterwards."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self._on_signal) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
