"""Schemas out of a registry's answers: Confluent's API, which Apicurio has as well, and Apicurio's.

Nothing of an answer is believed that is not checked: its form, its size, the format, the names of
what it refers to, and that something can be read by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from stream_detector.config.models.config import RegistryConfig
from stream_detector.connectors.registry.http import (
    GUIDS,
    Connection,
    NotFoundError,
    UnavailableError,
)
from stream_detector.connectors.registry.protoc import compiled
from stream_detector.errors import ConfigurationError, ConnectorError
from stream_detector.formats.avro import AvroReader
from stream_detector.formats.errors import PayloadError, SchemaError
from stream_detector.formats.protobuf import ProtobufFiles
from stream_detector.formats.schemas import MAX_SCHEMA_BYTES, MAX_STORED_BYTES, Answer, Schema

_MOST_REFERENCES = 200
_MAIN = "schema.proto"

Texts = dict[str, str]
"""Texts by name, the schema's own first."""


class RegistryClient:
    """Asks for schemas by their keys. State: its connection's."""

    def __init__(self, config: RegistryConfig) -> None:
        """Raises ``ConfigurationError`` where a file cannot be used."""
        self._config = config
        self._own = config.framing == "apicurio"
        self.connection = Connection(config)

    def check(self) -> None:
        """Raise ``UnavailableError`` where no registry answers at the address."""
        path = "/system/info" if self._own else "/subjects"
        expected = dict if self._own else list
        try:
            answer = self.connection.get_json(path)
        except NotFoundError as error:
            raise UnavailableError(f"{self._config.url} has no {path}: {error}") from error
        if not isinstance(answer, expected):
            raise UnavailableError(f"what answers at {self._config.url} is no schema registry")

    def answer(self, key: str, kind: str) -> Answer:
        """Return the schema of a key, or why there is none."""
        try:
            schema = schema_of_texts(kind, *self._texts(key))
            if len(schema.stored()) > MAX_STORED_BYTES:
                size = MAX_STORED_BYTES
                return Answer(None, f"packed it is larger than {size} bytes, more than is kept")
        except NotFoundError as error:
            return Answer(None, f"the registry has none ({str(error)[:100]})")
        except UnavailableError as error:
            return Answer(None, str(error), final=False)
        except (SchemaError, PayloadError) as error:
            return Answer(None, f"it cannot be used: {error}")
        return Answer(schema)

    def _texts(self, key: str) -> tuple[str, Texts]:
        """Return the kind of a schema as its registry names it, and its texts."""
        way, _, value = key.partition(":")
        if way in ("content", "global"):
            return self._apicurio_texts(f"/ids/{way}Ids/{value}")
        if self._own:
            return self._apicurio_texts(f"/ids/contentIds/{value}")
        path = f"{GUIDS}{_uuid(value)}" if way == "guid" else f"/schemas/ids/{value}"
        answer = self._object(path)
        texts = {"": _text(answer, "schema", path)}
        self._add_references(answer, texts)
        return _type_of(answer), texts

    def described(self, key: str) -> tuple[str, Texts]:
        """Return format and texts of a schema.

        Raises ``UnavailableError``, ``NotFoundError``, ``SchemaError``.
        """
        return self._texts(key)

    def latest(self, subject: str) -> tuple[str, Texts, int] | None:
        """Return kind, texts and id of a subject's newest version; None where it has none.

        Raises ``UnavailableError``.
        """
        path = f"/subjects/{quote(subject, safe='')}/versions/latest"
        try:
            answer = self._object(path)
        except NotFoundError:
            return None
        texts = {"": _text(answer, "schema", path)}
        self._add_references(answer, texts)
        number = answer.get("id")
        return _type_of(answer), texts, number if isinstance(number, int) else 0

    def register(self, subject: str, kind: str, text: str) -> int:
        """Return the id of a schema under a subject, which gets it as a version where it is new.

        Raises ``UnavailableError``, and ``NotFoundError`` where the registry has no such thing.
        """
        return self._number(f"/subjects/{quote(subject, safe='')}/versions", kind, text)

    def number_of(self, subject: str, kind: str, text: str) -> int:
        """Return the id of a schema that a subject has, whatever blanks it was registered with.

        Raises ``UnavailableError``, and ``NotFoundError`` where it does not have it.
        """
        path = f"/subjects/{quote(subject, safe='')}"
        try:
            return self._number(path, kind, text)
        except NotFoundError:  # Apicurio compares texts unless it is asked to normalize
            return self._number(f"{path}?normalize=true", kind, text)

    def _number(self, path: str, kind: str, text: str) -> int:
        answer = self.connection.post_json(path, {"schemaType": kind.upper(), "schema": text})
        number = answer.get("id") if isinstance(answer, dict) else None
        if type(number) is not int or not 0 < number < 2**31:
            raise UnavailableError(f"{path} answers without an id")
        return number

    def compatible(self, subject: str, kind: str, text: str) -> tuple[bool, str]:
        """Tell whether a subject takes a schema, and in words why not.

        Raises ``UnavailableError``, and ``NotFoundError`` where there is no such subject.
        """
        path = f"/compatibility/subjects/{quote(subject, safe='')}/versions/latest?verbose=true"
        answer = self.connection.post_json(path, {"schemaType": kind.upper(), "schema": text})
        takes = answer.get("is_compatible") if isinstance(answer, dict) else None
        if not isinstance(takes, bool):
            raise UnavailableError(f"{path} answers without a word on compatibility")
        said = answer.get("messages")
        return takes, "; ".join(map(str, said)) if isinstance(said, list) else ""

    def level(self, subject: str) -> str:
        """Return which compatibility a registry asks of a subject; empty where it does not say.

        Raises ``UnavailableError``.
        """
        for path in (f"/config/{quote(subject, safe='')}", "/config"):
            try:
                answer = self._object(path)
            except NotFoundError:
                continue
            return str(answer.get("compatibilityLevel") or "")[:40]
        return ""

    def _object(self, path: str) -> dict[str, Any]:
        answer = self.connection.get_json(path)
        if not isinstance(answer, dict):
            raise UnavailableError(f"{self._config.url}{path} answers with what is no schema")
        return answer

    def _add_references(self, answer: dict[str, Any], texts: Texts) -> None:
        """Add what a schema refers to, and what that refers to, before it has to be there."""
        waiting = list(_references(answer))
        while waiting:
            name, subject, version = waiting.pop(0)
            if name in texts:
                continue
            path = f"/subjects/{quote(subject, safe='')}/versions/{version}"
            try:
                found = self._object(path)
            except NotFoundError as error:
                raise SchemaError(f"what it refers to is not there: {name[:100]!r}") from error
            texts[name] = _text(found, "schema", path)
            _check_size(texts)
            waiting += _references(found)

    def _apicurio_texts(self, path: str) -> tuple[str, Texts]:
        texts = {"": self._content(path)}
        waiting = [f"{path}/references"]
        while waiting:
            found = self.connection.get_json(waiting.pop(0))
            for each in found if isinstance(found, list) else ():
                name = each.get("name") if isinstance(each, dict) else None
                if not isinstance(name, str) or name in texts:
                    continue
                group = quote(str(each.get("groupId") or "default"), safe="")
                artifact = quote(str(each.get("artifactId")), safe="")
                version = quote(str(each.get("version")), safe="")
                place = f"/groups/{group}/artifacts/{artifact}/versions/{version}"
                texts[name] = self._content(f"{place}/content")
                _check_size(texts)
                waiting.append(f"{place}/references")
        return "", texts

    def _content(self, path: str) -> str:
        try:
            return self.connection.get(path).decode("utf-8")
        except UnicodeDecodeError as error:
            raise SchemaError("it is no text in UTF-8") from error


def registered(url: str, subject: str, kind: str, text: str) -> int:
    """Return the id of a schema in the registry at an address, which gets it where it is new.

    Raises ``ConfigurationError`` and ``ConnectorError``.
    """
    try:
        config = RegistryConfig.model_validate({"url": url})
    except ValidationError as error:
        problems = "; ".join(problem["msg"] for problem in error.errors())
        raise ConfigurationError(f"{url}: {problems}") from error
    try:
        return RegistryClient(config).register(subject, kind, text)
    except (UnavailableError, NotFoundError) as error:
        raise ConnectorError(f"the schema could not be registered: {error}") from error


def _references(answer: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Yield name, subject and version of what a schema refers to."""
    found = answer.get("references")
    for each in found if isinstance(found, list) else ():
        name, subject = each.get("name"), each.get("subject")
        version = each.get("version")
        if not isinstance(name, str) or not isinstance(subject, str) or type(version) is not int:
            raise UnavailableError("the registry names a reference that makes no sense")
        yield name, subject, version


def _check_size(texts: Texts) -> None:
    if len(texts) > _MOST_REFERENCES:
        raise SchemaError(f"it refers to more than {_MOST_REFERENCES} others")
    if sum(map(len, texts.values())) > MAX_SCHEMA_BYTES:
        raise SchemaError(f"with what it refers to it is larger than {MAX_SCHEMA_BYTES} bytes")


def _text(answer: dict[str, Any], name: str, path: str) -> str:
    text = answer.get(name)
    if not isinstance(text, str):
        raise UnavailableError(f"{path} answers without a schema")
    return text


def _type_of(answer: dict[str, Any]) -> str:
    return str(answer.get("schemaType") or "AVRO")[:40].lower()


def _uuid(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def schema_of_texts(kind: str, said: str, texts: Texts) -> Schema:
    """Return the schema of texts, tried.

    Args:
        kind: the format that is expected.
        said: the format that the registry names; empty where it names none.
        texts: the schema's own first, then those that it refers to by their names.

    Raises:
        SchemaError: nothing can be read by it.
    """
    if said and said != kind and (said, kind) != ("json", "json_schema"):
        raise SchemaError(f"the registry says that it is of the format {said}, not {kind}")
    _check_size(texts)
    main, *others = texts.items()
    if kind == "json_schema":  # nothing is read by it
        return Schema(kind, (main[1],))
    if kind == "avro":
        schema = Schema(kind, (main[1], *(text for _, text in others)))
        AvroReader(list(schema.parts), {}, whole=True)
        return schema
    # A file may not import itself, whatever name its subject would give it.
    schema = compiled(_MAIN, {_MAIN: main[1], **dict(others)})
    files = ProtobufFiles(schema.parts, {}, "unix_ms", whole=True)
    files.reader(files.message_at((0,)))
    return schema
