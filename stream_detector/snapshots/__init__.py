"""Snapshots: a shard's state as arrays and JSON with a checksum, and where they are kept."""

from stream_detector.snapshots.directory import DirectoryStore
from stream_detector.snapshots.format import MAX_SNAPSHOT_BYTES, Snapshot, decode, encode
from stream_detector.snapshots.making import snapshot_of
from stream_detector.snapshots.meta import check_complete
from stream_detector.snapshots.signing import (
    SignedStore,
    SigningKey,
    check_signature,
    read_keys,
    sign,
)
from stream_detector.snapshots.store import SnapshotStore, newest_sound

__all__ = [
    "MAX_SNAPSHOT_BYTES",
    "DirectoryStore",
    "SignedStore",
    "SigningKey",
    "Snapshot",
    "SnapshotStore",
    "check_complete",
    "check_signature",
    "decode",
    "encode",
    "newest_sound",
    "read_keys",
    "sign",
    "snapshot_of",
]
