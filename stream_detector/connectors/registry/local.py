"""Schemas that the configuration's files give."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from stream_detector.config.models.config import Config, EventConfig, LabelsConfig
from stream_detector.connectors.registry.protoc import compiled
from stream_detector.decoding.topic_decoder import LOCAL_LABELS
from stream_detector.errors import ConfigurationError
from stream_detector.formats.avro import AvroReader
from stream_detector.formats.errors import PayloadError, SchemaError
from stream_detector.formats.framing import LOCAL
from stream_detector.formats.protobuf import ProtobufFiles, last_file
from stream_detector.formats.schemas import MAX_SCHEMA_BYTES, Schema


def local_schemas(config: Config) -> dict[str, Schema]:
    """Return the schemas of ``event.schema_file`` and ``labels.schema_file`` by their keys.

    Raises ``ConfigurationError`` where a file cannot be read, or is no schema.
    """
    sections: dict[str, tuple[str, EventConfig | LabelsConfig | None]] = {
        LOCAL: ("event", config.event),
        LOCAL_LABELS: ("labels", config.labels),
    }
    found: dict[str, Schema] = {}
    for key, (name, section) in sections.items():
        if section is not None and section.schema_file is not None:
            try:
                schema = _read(section.format, Path(section.schema_file))
                _try(schema, section.message)
            except (SchemaError, PayloadError) as error:
                raise ConfigurationError(
                    f"{name}.schema_file: {section.schema_file} cannot be used: {error}"
                ) from error
            found[key] = schema
    return found


def _read(kind: str, path: Path) -> Schema:
    try:
        if path.stat().st_size > MAX_SCHEMA_BYTES:
            raise SchemaError(f"it is larger than {MAX_SCHEMA_BYTES} bytes")
        content = path.read_bytes()
        if kind == "avro":
            return Schema(kind, (content.decode("utf-8"),))
        if path.suffix == ".proto":
            return compiled(path.name, _with_imports(path, content.decode("utf-8")))
    except OSError as error:
        raise SchemaError(error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise SchemaError("it is no text in UTF-8") from error
    return Schema(kind, (last_file(content), b64encode(content).decode("ascii")))


def _with_imports(path: Path, text: str) -> dict[str, str]:
    """Return the file and all others of its directory and below, which it may import."""
    texts = {path.name: text}
    size = len(text)
    for other in sorted(path.parent.rglob("*.proto"))[:500]:
        size += other.stat().st_size
        if size > MAX_SCHEMA_BYTES:
            raise SchemaError(f"the directory holds more than {MAX_SCHEMA_BYTES} bytes of Protobuf")
        texts[other.relative_to(path.parent).as_posix()] = other.read_text(encoding="utf-8")
    return texts


def _try(schema: Schema, message: str | None) -> None:
    """Raise where nothing can be read by a schema."""
    if schema.kind == "avro":
        AvroReader(list(schema.parts), {}, whole=True)
        return
    files = ProtobufFiles(schema.parts, {}, "unix_ms", whole=True)
    files.reader(files.message_called(message) if message else files.message_at((0,)))
