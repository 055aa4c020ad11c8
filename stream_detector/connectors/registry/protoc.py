"""Compiles texts of Protobuf by Google's own compiler, in a process of its own.

A registry's text comes from others, and the compiler is written in C++: it gets a directory of its
own, a deadline, and names that lead nowhere else.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from stream_detector.errors import ConfigurationError
from stream_detector.formats.errors import SchemaError
from stream_detector.formats.schemas import MAX_SCHEMA_BYTES, Schema

_DEADLINE_SECONDS = 30.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}){0,15}")
_OWN = "google/protobuf/"
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_NOISE = re.compile(r"WARNING: All log messages before|[WI]\d{4} \d\d:")
"""Lines of the compiler's that do not say what is wrong."""

# Serializers of Confluent know these files by themselves; no registry has them.
_KNOWN = {
    "google/type/date.proto": """
        syntax = "proto3";
        package google.type;
        message Date {
          int32 year = 1;
          int32 month = 2;
          int32 day = 3;
        }
        """,
    "google/type/timeofday.proto": """
        syntax = "proto3";
        package google.type;
        message TimeOfDay {
          int32 hours = 1;
          int32 minutes = 2;
          int32 seconds = 3;
          int32 nanos = 4;
        }
        """,
    "confluent/type/decimal.proto": """
        syntax = "proto3";
        package confluent.type;
        message Decimal {
          bytes value = 1;
          uint32 precision = 2;
          int32 scale = 3;
        }
        """,
    "confluent/meta.proto": """
        syntax = "proto3";
        package confluent;
        import "google/protobuf/descriptor.proto";
        message Meta {
          string doc = 1;
          map<string, string> params = 2;
          repeated string tags = 3;
        }
        extend google.protobuf.FileOptions { Meta file_meta = 1088; }
        extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
        extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
        extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
        extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
        """,
}


def compiled(name: str, texts: Mapping[str, str]) -> Schema:
    """Return a schema of compiled files.

    Args:
        name: of the file that is meant.
        texts: it and those that it imports, by the names that the imports have; some serializers
            (Confluent's for Python) register a file compiled already, in base64.

    Raises:
        SchemaError: they cannot be compiled.
        ConfigurationError: there is no compiler.
    """
    if find_spec("grpc_tools") is None or find_spec("google.protobuf") is None:
        raise ConfigurationError("Protobuf needs more: pip install 'stream-detector[formats]'")
    known = {each: text for each, text in _KNOWN.items() if each not in texts}
    described: list[bytes] = []
    with tempfile.TemporaryDirectory(prefix="stream-detector-") as place:
        directory = Path(place)
        (directory / "in").mkdir()
        for each, text in {**known, **texts}.items():
            if not _NAME.fullmatch(each):
                raise SchemaError(f"{each[:100]!r} is no name of a file of Protobuf")
            if each.startswith(_OWN):
                continue  # the compiler has its own
            if (file_set := set_of(each, text)) is not None:
                described.append(file_set)
                continue
            file = directory / "in" / each
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        (directory / "set").write_bytes(b"".join(described))  # sets in a row are a set
        return Schema("protobuf", (name, _run(directory, name)))


def set_of(name: str, text: str) -> bytes | None:
    """Return a file that comes compiled as a set of one, under a name; None for a text."""
    if not _BASE64.fullmatch(text):  # no text of Protobuf is without a brace or a semicolon
        return None
    from google.protobuf import descriptor_pb2, message  # noqa: PLC0415 - an extra

    try:
        file = descriptor_pb2.FileDescriptorProto.FromString(b64decode(text))
    except (ValueError, message.DecodeError):
        return None
    file.name = name
    return bytes(descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString())


def _run(directory: Path, name: str) -> str:
    out = directory / "out"
    command = [
        sys.executable,
        *("-I", "-m", "grpc_tools.protoc"),
        f"-I{directory / 'in'}",
        f"--descriptor_set_in={directory / 'set'}",  # for what no directory has
        "--include_imports",
        f"--descriptor_set_out={out}",
        name,
    ]
    try:
        ran = subprocess.run(  # noqa: S603 - no shell, and the name is checked
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SchemaError(f"it was not compiled within {_DEADLINE_SECONDS:g} s") from error
    if ran.returncode or not out.exists():
        said = ran.stderr.decode("utf-8", "replace").replace(f"{directory}/in/", "")
        said = "\n".join(line for line in said.splitlines() if not _NOISE.match(line))
        raise SchemaError(f"it cannot be compiled: {said.strip()[:300]}")
    files = out.read_bytes()
    if len(files) > MAX_SCHEMA_BYTES:
        raise SchemaError(f"compiled it has {len(files)} bytes, the limit is {MAX_SCHEMA_BYTES}")
    return b64encode(files).decode("ascii")
