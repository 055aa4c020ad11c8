"""Protobuf: one record's bytes to JSON's values, by compiled files. Google's library decodes.

Files come compiled (a ``FileDescriptorSet``): nothing here reads text. Each schema has a pool of
its own, so that two versions of a message never meet. What a message holds beyond the wanted
fields is not looked at.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from stream_detector.formats.errors import PayloadError, SchemaError
from stream_detector.formats.values import base64_text
from stream_detector.formats.wanted import NOTHING, Wanted
from stream_detector.formats.well_known import MAX_NESTING, well_known

_MOST_FILES = 500
_LONGEST_NAME = 1024
_Get: TypeAlias = Callable[[Any], Any]

ReadColumns: TypeAlias = Callable[[Sequence[bytes], int], dict[str, list[Any]]]


class _Library(NamedTuple):
    """What is used of the library, which is an extra."""

    pool: Any
    file_set: Any
    message_class: Any
    field: Any
    errors: tuple[type[Exception], ...]


@cache
def _library() -> _Library:
    try:
        from google.protobuf import (  # noqa: PLC0415 - an extra
            descriptor,
            descriptor_pb2,
            descriptor_pool,
            message,
            message_factory,
        )
    except ImportError as error:
        raise SchemaError("it needs protobuf: pip install 'stream-detector[formats]'") from error
    return _Library(
        descriptor_pool.DescriptorPool,
        descriptor_pb2.FileDescriptorSet,
        message_factory.GetMessageClass,
        descriptor.FieldDescriptor,
        (message.DecodeError, TypeError, KeyError, ValueError, RuntimeError, UnicodeDecodeError),
    )


def last_file(compiled: bytes) -> str:
    """Return the name of the last of compiled files: the one that the compiler was asked for.

    Raises ``SchemaError`` where they are none.
    """
    library = _library()
    try:
        files = library.file_set.FromString(compiled).file
    except library.errors as error:
        raise SchemaError(f"it is no set of compiled files: {str(error)[:200]}") from error
    if not files:
        raise SchemaError("it is no set of compiled files")
    return str(files[-1].name)


class ProtobufFiles:
    """The messages of a schema. State: the readers made so far, one for each message met."""

    def __init__(
        self, parts: tuple[str, ...], wanted: Wanted, moments: str, *, whole: bool
    ) -> None:
        """Take the name of the file and the set of compiled files in base64.

        Args:
            parts: of a ``Schema``.
            wanted: fields that are read.
            moments: unit of moments.
            whole: whether all other fields are read too.

        Raises:
            SchemaError: the files do not fit together.
        """
        library = _library()
        self._wanted, self._moments, self._whole = wanted, moments, whole
        self._readers: dict[str, Callable[[bytes, int], Any]] = {}
        name, compiled = parts
        try:
            files = library.file_set.FromString(b64decode(compiled, validate=True)).file
            if len(files) > _MOST_FILES:
                raise SchemaError(f"it refers to more than {_MOST_FILES} files")
            self._pool = library.pool()
            for file in files:
                self._pool.Add(file)
            self._file = self._pool.FindFileByName(name)
        except library.errors as error:
            raise SchemaError(f"its files do not fit together: {str(error)[:200]}") from error

    def message_at(self, place: tuple[int, ...]) -> str:
        """Return the full name of the message at a place in the file. Raises ``PayloadError``."""
        # In the order of the file, which the pool's own tables need not keep.
        file, library = self._file, _library()
        proto = library.file_set().file.add()
        file.CopyToProto(proto)
        names, messages = [file.package] if file.package else [], proto.message_type
        for index in place:
            if not 0 <= index < len(messages):
                raise PayloadError("malformed", f"its schema has no message at {list(place)}")
            names.append(messages[index].name)
            messages = messages[index].nested_type
        return ".".join(names)

    def messages(self) -> Iterator[str]:
        """Yield the full names of the file's messages, nested ones behind their own."""
        waiting = list(self._file.message_types_by_name.values())
        while waiting:
            message = waiting.pop(0)
            if not message.GetOptions().map_entry:
                yield str(message.full_name)
            waiting[:0] = message.nested_types

    def message_called(self, name: str) -> str:
        """Return the full name of a message, given with or without its package."""
        for candidate in (name, f"{self._file.package}.{name}"):
            try:
                return str(self._pool.FindMessageTypeByName(candidate).full_name)
            except KeyError:
                continue
        raise PayloadError("malformed", f"its schema has no message {name[:100]!r}")

    def message_class(self, message: str) -> Any:
        """Return the class of a message by its full name."""
        return _library().message_class(self.descriptor(message))

    def descriptor(self, message: str) -> Any:
        """Return the descriptor of a message by its full name."""
        return self._pool.FindMessageTypeByName(message)

    def reader(self, message: str) -> Callable[[bytes, int], Any]:
        """Return what reads payloads of a message, given by its full name."""
        found = self._readers.get(message)
        if found is None:
            found = self._readers[message] = self._make_reader(message)
        return found

    def columns(self, message: str) -> ReadColumns:
        """Return what reads many payloads of a message field by field, each as ``reader`` does.

        It is given where the event begins in each, and raises ``PayloadError`` where one of them
        cannot be read; a field that the message does not have is in no column.
        """
        library = _library()
        descriptor = self.descriptor(message)
        parse = library.message_class(descriptor).FromString
        fields = _Messages(self._moments, whole=self._whole).getters(descriptor, self._wanted)

        def read(values: Sequence[bytes], start: int) -> dict[str, list[Any]]:
            try:
                found = [parse(value[start:]) for value in values]
                columns = {name: list(map(get, found)) for name, get in fields}
            except library.errors as error:
                raise PayloadError("malformed", "one of them is no Protobuf") from error
            blank: Iterable[int] = range(len(found))
            for column in columns.values():
                if not (blank := [row for row in blank if not column[row]]):
                    return columns
            if not all(found[row].ListFields() or len(values[row]) == start for row in blank):
                raise PayloadError("malformed", "one of them has no field of its message")
            return columns

        return read

    def _make_reader(self, message: str) -> Callable[[bytes, int], Any]:
        library = _library()
        descriptor = self.descriptor(message)
        parse = library.message_class(descriptor).FromString
        values = _Messages(self._moments, whole=self._whole).reader(descriptor, self._wanted)

        def read(data: bytes, start: int) -> Any:
            try:
                found = parse(data[start:] if start else data)
                event = values(found, 0)
            except library.errors as error:
                why = str(error)[:200]
                raise PayloadError("malformed", f"no Protobuf of its schema: {why}") from error
            if not any(event.values()) and len(data) > start and not found.ListFields():
                # Unknown fields are passed over by design: any bytes may read as only those.
                raise PayloadError("malformed", f"no field of it is one of {message}")
            return event

        return read


class _Messages:
    """Makes readers of messages. State: those made so far, by message and what is wanted."""

    def __init__(self, moments: str, *, whole: bool) -> None:
        self._moments, self._whole = moments, whole
        self._made: dict[tuple[str, int], Callable[[Any, int], Any]] = {}
        self._kept: list[Wanted] = []  # their ids are keys above: they must not be reused

    def reader(self, descriptor: Any, wanted: Wanted) -> Callable[[Any, int], Any]:
        """Return what makes a message JSON's values; called with the level that it is at."""
        if (special := well_known(descriptor, self._moments)) is not None:
            return special
        key = (descriptor.full_name, id(wanted) if wanted else 0)
        if (made := self._made.get(key)) is not None:
            return made
        self._kept.append(wanted)
        plain: list[tuple[str, str]] = []
        others: list[tuple[str, Callable[[Any, int], Any]]] = []

        def read(message: Any, level: int) -> Any:
            if level >= MAX_NESTING:
                raise PayloadError("too_deep", f"nested more than {MAX_NESTING} levels deep")
            found = dict(zip(keys, get(message), strict=True))
            for name, take in others:
                value = take(message, level)
                if value is not None:
                    found[name] = value
            return found

        self._made[key] = read  # a message may hold itself
        self._sort(descriptor, wanted, plain, others)
        keys = [name for name, _ in plain]
        get = _getter([name for _, name in plain])
        return read

    def getters(self, descriptor: Any, wanted: Wanted) -> list[tuple[str, _Get]]:
        """Return, for each field that is read of a message at the top, what takes it."""
        plain: list[tuple[str, str]] = []
        others: list[tuple[str, Callable[[Any, int], Any]]] = []
        self._sort(descriptor, wanted, plain, others)
        return [
            *((name, attrgetter(own)) for name, own in plain),
            *((name, partial(_at_the_top, take)) for name, take in others),
        ]

    def _sort(
        self,
        descriptor: Any,
        wanted: Wanted,
        plain: list[tuple[str, str]],
        others: list[tuple[str, Callable[[Any, int], Any]]],
    ) -> None:
        """Fill in what is to be read of a message: the fields that are always there, and others."""
        for field in descriptor.fields:
            name = next((n for n in (field.name, field.json_name) if n in wanted), None)
            if name is None and not self._whole:
                continue
            below = NOTHING if name is None else wanted[name]
            if self._is_plain(field):
                plain.append((name or field.name, field.name))
            else:
                others.append((name or field.name, self._field(field, below)))
        others.extend(
            (choice.name, _choice(choice.name))
            for choice in descriptor.oneofs
            if choice.name in wanted and choice.name not in descriptor.fields_by_name
        )

    @staticmethod
    def _is_plain(field: Any) -> bool:
        """Tell whether a field is always there, as JSON has it."""
        kinds = _library().field
        special = (kinds.TYPE_BYTES, kinds.TYPE_ENUM, kinds.TYPE_MESSAGE, kinds.TYPE_GROUP)
        return not (field.is_repeated or field.has_presence or field.type in special)

    def _field(self, field: Any, wanted: Wanted) -> Callable[[Any, int], Any]:
        name = field.name
        kinds = _library().field
        if field.is_repeated:
            return self._repeated(field, wanted)
        if field.type in (kinds.TYPE_MESSAGE, kinds.TYPE_GROUP):
            inner, take = self.reader(field.message_type, wanted), attrgetter(name)
            return lambda message, level: (
                inner(take(message), level + 1) if message.HasField(name) else None
            )
        get, convert = attrgetter(name), self._scalar(field)
        if not field.has_presence or field.has_default_value:
            return lambda message, _level: convert(get(message))
        return lambda message, _level: convert(get(message)) if message.HasField(name) else None

    def _repeated(self, field: Any, wanted: Wanted) -> Callable[[Any, int], Any]:
        get = attrgetter(field.name)
        kinds = _library().field
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            below: Wanted = {}
            for each in wanted.values():
                below |= each
            value = self._element(entry.fields_by_name["value"], below)
            return lambda message, level: {
                _key(each): value(one, level) for each, one in get(message).items()
            }
        if field.type in (kinds.TYPE_MESSAGE, kinds.TYPE_GROUP, kinds.TYPE_BYTES, kinds.TYPE_ENUM):
            element = self._element(field, wanted)
            return lambda message, level: [element(one, level) for one in get(message)]
        return lambda message, _level: list(get(message))

    def _element(self, field: Any, wanted: Wanted) -> Callable[[Any, int], Any]:
        if field.message_type is not None:
            inner = self.reader(field.message_type, wanted)
            return lambda value, level: inner(value, level + 1)
        convert = self._scalar(field)
        return lambda value, _level: convert(value)

    @staticmethod
    def _scalar(field: Any) -> _Get:
        kinds = _library().field
        if field.type == kinds.TYPE_BYTES:
            return base64_text
        if field.type == kinds.TYPE_ENUM:
            names = {number: each.name for number, each in field.enum_type.values_by_number.items()}
            if any(len(each) > _LONGEST_NAME for each in names.values()):
                raise PayloadError("schema_unknown", "a name in it is too long")
            return lambda number: names.get(number, number)
        return _same


def _at_the_top(take: Callable[[Any, int], Any], message: Any) -> Any:
    return take(message, 0)


def _same(value: Any) -> Any:
    return value


def _key(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _choice(name: str) -> Callable[[Any, int], Any]:
    return lambda message, _level: message.WhichOneof(name)


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads attributes of these names as a tuple."""
    if not names:
        return lambda _message: ()
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda message: (get(message),)
