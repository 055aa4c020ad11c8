"""Answers for schemas, asked for beside the loop: what is slow or silent must not hold it up."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from stream_detector.config.models.config import Config
from stream_detector.connectors.registry.client import RegistryClient
from stream_detector.connectors.registry.http import UnavailableError
from stream_detector.connectors.registry.local import local_schemas
from stream_detector.errors import ConfigurationError, InputMissingError
from stream_detector.formats.schemas import MAX_SCHEMAS, Answer, Schema
from stream_detector.log_fields import fields

log = logging.getLogger(__name__)

FINAL_SECONDS = 5.0
"""So long "there is none" is not asked again: it may be registered, or copied, a little later."""

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_MOST_FINAL = 10_000


@dataclass(slots=True)
class _Asked:
    """A key that is being asked for; ``answer`` says why there is none yet."""

    kind: str
    answer: Answer | None = None


class RegistrySchemas:
    """The schemas of a registry and of files.

    State: a thread that asks; the schemas found, at most ``MAX_SCHEMAS``; keys that are not there,
    for a while.

    Attributes:
        alert_form: how alerts are to be written, as it was registered; None for JSON.
    """

    def __init__(self, client: RegistryClient | None, local: Mapping[str, Schema]) -> None:
        """``client``: None where files give all that is needed."""
        self._client, self._local = client, dict(local)
        self.alert_form: Schema | None = None
        self._lock = threading.Lock()
        self._found: dict[str, Answer] = {}
        self._final: dict[str, tuple[float, Answer]] = {}
        self._asked: dict[str, _Asked] = {}
        self._waiting: queue.Queue[str | None] = queue.Queue()
        self._stopping = threading.Event()
        self._down: Answer | None = None
        self._thread: threading.Thread | None = None

    @property
    def secret(self) -> str:
        """Password or token, which no log may show; empty where there is none."""
        return self._client.connection.secret if self._client is not None else ""

    def local(self) -> Mapping[str, Schema]:
        """Return the schemas that files give, by their keys."""
        return self._local

    def answer(self, key: str, kind: str) -> Answer | None:
        """Return what is known of a key; None while it is asked for the first time.

        An answer that is not final says why there is none yet; it is asked on.
        """
        if self._client is None:
            return Answer(None, "there is no registry to ask")
        with self._lock:
            if (found := self._found.get(key)) is not None:
                return found
            until, final = self._final.get(key, (0.0, None))
            if final is not None and time.monotonic() < until:
                return final
            asked = self._asked.get(key)
            if asked is None:
                asked = self._asked[key] = _Asked(kind, self._down)
                self._waiting.put(key)
                self._start()
            return asked.answer

    def alerts(self) -> Schema | None:
        """Return how alerts are to be written; None for JSON."""
        return self.alert_form

    def close(self) -> None:
        """Stop asking; a request under way ends by its own deadline."""
        self._stopping.set()
        self._waiting.put(None)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="schema-registry", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while (key := self._waiting.get()) is not None and not self._stopping.is_set():
            assert self._client is not None
            asked = self._asked[key]
            answer = self._client.answer(key, asked.kind)
            with self._lock:
                self._down = None if answer.final else answer
                if answer.final:
                    self._keep(key, answer)
                    pause = _FIRST_PAUSE_SECONDS
                    continue
                asked.answer = answer
            self._waiting.put(key)
            self._stopping.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _keep(self, key: str, answer: Answer) -> None:
        del self._asked[key]
        if answer.schema is not None:
            if len(self._found) < MAX_SCHEMAS:
                self._found[key] = answer
                return
            answer = Answer(None, f"{MAX_SCHEMAS} schemas are in use, no more are taken")
        if len(self._final) >= _MOST_FINAL:
            self._final.clear()
        self._final[key] = (time.monotonic() + FINAL_SECONDS, answer)
        log.warning(
            "schema %s: %s",
            key,
            answer.why,
            extra=fields("schema-refused", stage="decode", key=key),
        )


def needs_registry(config: Config) -> bool:
    """Tell whether events or labels can be of schemas that only the registry has."""
    kinds = [config.event.format]
    if config.labels_have_topic and config.labels is not None:
        kinds.append(config.labels.format)
    return config.registry is not None and bool({"avro", "protobuf"}.intersection(kinds))


def open_schemas(config: Config) -> RegistrySchemas:
    """Return what answers for a configuration's schemas; nothing is asked yet.

    Raises ``ConfigurationError`` where a file cannot be used.
    """
    kinds = {config.event.format, config.labels.format if config.labels is not None else "json"}
    for kind, library in (("avro", "fastavro"), ("protobuf", "grpc_tools")):
        if kind in kinds and find_spec(library) is None:
            raise ConfigurationError(
                f"the format {kind} needs more: pip install 'stream-detector[formats]'"
            )
    client = None
    # Alerts ask nothing of it later; but its secret is known then, which no log may show.
    if config.registry is not None and (needs_registry(config) or config.alerts_are_avro):
        client = RegistryClient(config.registry)
    return RegistrySchemas(client, local_schemas(config))


def wait_for_registry(
    config: Config,
    waiting: Callable[[str], None] = lambda _reason: None,
    stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Wait until the registry answers, where it is needed; ``registry.wait`` at the longest.

    Raises ``InputMissingError`` with its address after that.
    """
    registry = config.registry
    if registry is None or not needs_registry(config):
        return
    client = RegistryClient(registry)
    until = time.monotonic() + registry.wait
    pause = _FIRST_PAUSE_SECONDS
    while not stopping():
        try:
            client.check()
        except UnavailableError as error:
            left = until - time.monotonic()
            if left <= 0:
                raise InputMissingError(
                    f"no schema registry after {registry.wait:g} s: {error}"
                ) from error
            waiting(str(error))
            time.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        else:
            return
