"""Signed snapshots: without a key nobody makes a start believe one, and no key is shown."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import yaml
from support.streams import SETTINGS, configuration, records
from test_snapshots import summed
from test_state_command import Run, logging_as_before, run, snapshots  # noqa: F401 - fixtures

from stream_detector import Pipeline
from stream_detector.__main__ import main
from stream_detector.commits.stores import snapshot_stores
from stream_detector.daemon.recovery import open_shard
from stream_detector.errors import ConfigurationError, StateError
from stream_detector.snapshots import (
    DirectoryStore,
    SignedStore,
    SigningKey,
    Snapshot,
    decode,
    encode,
    newest_sound,
    read_keys,
    sign,
)
from stream_detector.telemetry.metrics import Metrics

OLD, NEW = b"0" * 40, b"1" * 40
KEY, OTHER = SigningKey(OLD), SigningKey(NEW)


def store(path: Path, *keys: SigningKey) -> SignedStore:
    return SignedStore(DirectoryStore(path / "state", 5), keys or [KEY])


def data(number: int = 1) -> bytes:
    return bytes(encode(Snapshot({"sequence": number}, {"number": number})))


def test_what_is_signed_comes_back(tmp_path):
    store(tmp_path).write(1, bytearray(data()))
    kept = store(tmp_path).read(1)
    assert decode(kept) == decode(data())
    assert OLD not in kept
    assert len(kept) == len(data()) + 32


@pytest.mark.parametrize("place", range(0, 200, 7))
def test_a_change_of_a_byte_with_a_checksum_that_fits_is_refused(tmp_path, place):
    signed = bytearray(sign(data(), KEY))
    body = signed[:-64]
    body[place % len(body)] ^= 1
    store(tmp_path).unverified.write(1, summed(bytes(body)) + signed[-32:])
    with pytest.raises(StateError):
        store(tmp_path).read(1)


def test_unsigned_and_wrongly_signed_ones_are_passed_over_for_an_older_one(tmp_path):
    kept = store(tmp_path)
    shard = snapshots()
    for number, each in enumerate((shard[300], shard[600], sign(shard[900], OTHER))):
        kept.unverified.write(number, bytes(sign(each, KEY) if number == 0 else each))
    (two, wrong), (one, unsigned), (zero, found) = newest_sound(kept)
    assert (two, one, zero) == (2, 1, 0)
    assert "not signed by a key" in str(wrong)
    assert "state sign --unsigned" in str(unsigned)
    assert isinstance(found, Snapshot)


def test_a_signature_moved_to_another_snapshot_is_refused(tmp_path):
    kept = store(tmp_path)
    one, two = sign(data(1), KEY), sign(data(2), KEY)
    kept.unverified.write(2, bytes(two[:-32] + one[-32:]))
    with pytest.raises(StateError, match="not signed by"):
        kept.read(2)


def test_any_key_of_the_file_is_right_and_the_first_signs(tmp_path):
    store(tmp_path, KEY).write(1, data())
    both = store(tmp_path, OTHER, KEY)
    both.read(1)
    both.write(2, data())
    store(tmp_path, OTHER).read(2)
    with pytest.raises(StateError):
        store(tmp_path, KEY).read(2)


def test_without_a_key_a_signed_snapshot_is_read_as_any(tmp_path):
    store(tmp_path).write(1, data())
    assert decode(DirectoryStore(tmp_path / "state", 5).read(1)) == decode(data())


# --- the file -------------------------------------------------------------------------------------


def key_file(path: Path, *lines: bytes, mode: int = 0o600) -> str:
    file = path / "keys"
    file.write_bytes(b"\n".join([b"# keys of the state", b"", *lines]) + b"\r\n")
    file.chmod(mode)
    return str(file)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b"short"], "key 1 is none"),
        ([OLD, b"x" * 20 + b" " + b"y" * 20], "key 2 is none"),
        ([b"\xff" * 40], "key 1 is none"),
        ([], "has 0 keys"),
        ([OLD] * 17, "has 17 keys"),
    ],
)
def test_a_file_without_sound_keys_is_refused_and_not_quoted(tmp_path, lines, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        read_keys(key_file(tmp_path, *lines))
    assert not any(line.decode("latin-1") in str(caught.value) for line in lines)


def test_a_file_that_is_none_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigurationError, match="signing_key_file"):
            read_keys(str(path))


def test_a_file_that_others_can_read_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        keys, texts = read_keys(key_file(tmp_path, OLD, NEW, mode=0o644))
    assert "chmod 600" in caplog.text
    assert texts == (OLD.decode(), NEW.decode())
    assert OLD.decode() not in f"{keys} {caplog.text}"


# --- daemon, commands, library --------------------------------------------------------------------


def write_config(path: Path, keys: str | None) -> Path:
    state = {"directory": str(path / "state"), **({"signing_key_file": keys} if keys else {})}
    file = path / "config.yaml"
    file.write_text(yaml.safe_dump({**SETTINGS, "state": state}))
    return file


def test_the_way_from_unsigned_to_signed_and_from_key_to_key(tmp_path, run, capsys):  # noqa: F811
    config = write_config(tmp_path, None)
    directory = DirectoryStore(tmp_path / "state" / "test" / "shard-0", 9)
    for position, each in snapshots().items():
        directory.write(position, each)
    before = len(directory.read(900))
    write_config(tmp_path, key_file(tmp_path, OLD))
    assert run("list", config)[1].count("not signed") == 3
    loaded = configuration(
        state={"directory": str(tmp_path / "state"), "signing_key_file": str(tmp_path / "keys")}
    )
    with pytest.raises(StateError, match="none of its 3 snapshots is sound"):
        open_shard(0, loaded, snapshot_stores(loaded, None)(0), Metrics())
    code, out, _ = run("sign", config)
    assert (code, out.count("stays as it is")) == (0, 3)
    code, out, _ = run("sign", config, "--unsigned", "--yes")
    assert (code, "3 snapshots signed" in out) == (0, True)
    assert open_shard(0, loaded, snapshot_stores(loaded, None)(0), Metrics()).sequence == 900
    key_file(tmp_path, NEW, OLD)
    assert "3 snapshots signed" in run("sign", config)[1]
    key_file(tmp_path, NEW)
    assert run("list", config)[1].count("sound") == 3
    assert len(directory.read(900)) == before + 32, "one signature, however often it is signed"
    assert main(["check", str(config)]) == 0
    assert NEW.decode() not in "".join(capsys.readouterr())


def test_an_import_needs_the_signature_that_a_start_needs(tmp_path, run):  # noqa: F811
    config = write_config(tmp_path, key_file(tmp_path, OLD))
    file = tmp_path / "given.snapshot"
    file.write_bytes(snapshots()[600])
    code, _, error = run("import", config, "--from", str(file), "--yes")
    assert (code, "not signed" in error) == (4, True)
    assert run("import", config, "--from", str(file), "--yes", "--unsigned")[0] == 0
    assert run("export", config, "--position", "600", "--to", str(tmp_path / "out"))[0] == 0
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0
    assert run("import", config, "--from", str(tmp_path / "out"), "--yes")[0] == 0


def test_a_pipeline_signs_its_bytes_and_asks_for_the_signature():
    pipeline = Pipeline(SETTINGS)
    pipeline.process([record.value for record in records(40)])
    signed = pipeline.to_bytes(key=OLD)
    assert Pipeline.from_bytes(SETTINGS, signed, key=OLD).events_scored == 40
    assert Pipeline.from_bytes(SETTINGS, signed).events_scored == 40
    for wrong in (pipeline.to_bytes(), pipeline.to_bytes(key=NEW), signed[:-1] + b"x"):
        with pytest.raises(StateError):
            Pipeline.from_bytes(SETTINGS, wrong, key=OLD)
    with pytest.raises(ValueError, match="32 bytes"):
        pipeline.to_bytes(key=b"short")
