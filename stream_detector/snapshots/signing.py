"""Signatures of snapshots: a keyed BLAKE2b, so that only who holds the key can write one.

The key file has a key on each line: text of at least 32 bytes without spaces, as `openssl rand
-hex 32` writes it. Lines that begin with # and empty ones are passed over. The first key signs;
a signature by any of them is right, so that keys can be changed one after the other.

A signature says that a holder of the key wrote this snapshot, and not that it is the newest: old
ones stay right (docs/security.md).
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest
from pathlib import Path

from stream_detector.errors import ConfigurationError, StateError
from stream_detector.log_fields import fields
from stream_detector.snapshots.format import as_signed, signed_part
from stream_detector.snapshots.store import SnapshotStore

log = logging.getLogger(__name__)

LEAST_KEY_BYTES = 32
MOST_KEYS = 16
_MOST_FILE_BYTES = 64 * 1024
_SIGNATURE_BYTES = 32
_OTHERS = 0o077


class SigningKey:
    """A key; it shows itself nowhere."""

    __slots__ = ("_key",)

    def __init__(self, secret: bytes) -> None:
        """``secret``: at least 32 bytes. Raises ``ValueError`` where it is shorter."""
        if not isinstance(secret, bytes) or len(secret) < LEAST_KEY_BYTES:
            raise ValueError(f"a signing key is at least {LEAST_KEY_BYTES} bytes")
        self._key = blake2b(secret, digest_size=64, person=b"sd-signing-key").digest()

    def signature(self, body: bytes | bytearray | memoryview) -> bytes:
        """Signature of bytes."""
        made = blake2b(body, digest_size=_SIGNATURE_BYTES, key=self._key, person=b"sd-snapshot")
        return made.digest()

    def __repr__(self) -> str:
        return "<SigningKey>"


def read_keys(path: str) -> tuple[tuple[SigningKey, ...], tuple[str, ...]]:
    """The keys of a file, and their texts, to be hidden from logs.

    Raises ``ConfigurationError`` where it cannot be read or holds a key that is none.
    """
    where = f"state.signing_key_file {path}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_size > _MOST_FILE_BYTES:
                raise ConfigurationError(f"{where} is not a file of keys")
            content = file.read(_MOST_FILE_BYTES)
    except OSError as error:
        raise ConfigurationError(f"{where} cannot be read: {error.strerror}") from error
    lines = [line.strip() for line in content.splitlines()]
    secrets = [line for line in lines if line and not line.startswith(b"#")]
    if not secrets or len(secrets) > MOST_KEYS:
        raise ConfigurationError(f"{where} has {len(secrets)} keys; expected 1 to {MOST_KEYS}")
    for number, secret in enumerate(secrets, start=1):
        if len(secret) < LEAST_KEY_BYTES or not secret.isascii() or len(secret.split()) > 1:
            raise ConfigurationError(
                f"{where}: key {number} is none: one a line, at least {LEAST_KEY_BYTES} characters "
                "without spaces, as `openssl rand -hex 32` writes it"
            )
    if stat.S_IMODE(about.st_mode) & _OTHERS:
        log.warning(
            "%s can be read by others: chmod 600 %s",
            where,
            Path(path),
            extra=fields("signing-key-open", stage="snapshot"),
        )
    return tuple(map(SigningKey, secrets)), tuple(secret.decode() for secret in secrets)


def sign(data: bytes | bytearray, key: SigningKey) -> bytearray:
    """A snapshot with a signature, in place of the one that it may have had.

    Raises ``StateError`` where ``data`` is no snapshot. A ``bytearray`` is changed in place.
    """
    body = as_signed(data)
    body += key.signature(body)
    return body


def check_signature(data: bytes | bytearray, keys: Sequence[SigningKey]) -> None:
    """Raise ``StateError`` where a snapshot is not signed by one of the keys."""
    body, signature = signed_part(data)
    if not signature:
        raise StateError(
            "it is not signed, and there is a key (state.signing_key_file) that should have signed "
            "it; `stream-detector state sign --unsigned` signs what you trust"
        )
    with memoryview(body) as content:
        if not any(compare_digest(key.signature(content), signature) for key in keys):
            raise StateError("it is not signed by a key that is known (state.signing_key_file)")


class SignedStore:
    """A store that signs what is written, and gives nothing out without a signature that is right.

    State: that of the store behind it.

    Attributes:
        unverified: the store behind it, for who is to sign what lies there.
        keys: the first signs.
    """

    def __init__(self, store: SnapshotStore, keys: Sequence[SigningKey]) -> None:
        self.unverified = store
        self.keys = tuple(keys)

    def write(self, position: int, data: bytes | bytearray) -> None:
        """Sign and keep a snapshot. Raises as the store behind it does."""
        self.unverified.write(position, sign(data, self.keys[0]))

    def positions(self) -> list[int]:
        """Positions kept, newest first, of those that are not signed too."""
        return self.unverified.positions()

    def read(self, position: int) -> bytes:
        """Bytes of one that is signed. Raises ``StateError`` where it is not."""
        data = self.unverified.read(position)
        check_signature(data, self.keys)
        return data

    def set_aside(self, position: int) -> None:
        """As the store behind it does."""
        self.unverified.set_aside(position)

    def delete_all(self) -> None:
        """As the store behind it does."""
        self.unverified.delete_all()
