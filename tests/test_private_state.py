"""State files are their owner's alone, and nothing that somebody plants among them is believed."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest
from support.streams import configuration

from stream_detector.commits.stores import snapshot_stores
from stream_detector.errors import StateError
from stream_detector.snapshots import DirectoryStore, newest_sound, private_files
from stream_detector.snapshots import directory as directory_store

NAME = f"{7:020d}.snapshot"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_whatever_the_umask_only_the_owner_enters_and_reads(tmp_path, open_umask):
    config = configuration(state={"directory": str(tmp_path / "state")})
    snapshot_stores(config, None)(0).write(7, b"seven")
    shard = tmp_path / "state" / "test" / "shard-0"
    for directory in (tmp_path / "state", shard.parent, shard):
        assert mode(directory) == 0o700
    assert mode(shard / NAME) == 0o600


def test_what_was_open_before_is_narrowed_with_a_word(tmp_path, open_umask, caplog):
    directory = tmp_path / "shard-0"
    directory.mkdir()
    for name in (NAME, NAME.replace("snapshot", "reverted"), "notes.txt"):
        (directory / name).write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        DirectoryStore(directory, 3)
    assert mode(directory) == 0o700
    assert {mode(path) for path in directory.iterdir() if path.suffix != ".txt"} == {0o600}
    assert mode(directory / "notes.txt") == 0o666, "not ours to change"
    assert len(caplog.records) == 2
    caplog.clear()
    DirectoryStore(directory, 3)
    assert not caplog.records, "said once"


def test_a_look_without_writing_changes_nothing(tmp_path, open_umask):
    directory = tmp_path / "shard-0"
    directory.mkdir()
    DirectoryStore(directory, 3, make=False)
    assert mode(directory) == 0o777


def test_a_link_in_the_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "shard-0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="is a link"):
        DirectoryStore(tmp_path / "shard-0", 3)


def test_a_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    stranger = os.geteuid() + 1
    monkeypatch.setattr(private_files.os, "geteuid", lambda: stranger)
    monkeypatch.setattr(private_files, "_ROOT", stranger)
    seen = []
    monkeypatch.setattr(private_files, "_seen_as", lambda path: seen.append(path) or stranger)
    with pytest.raises(StateError, match="belongs to the user"):
        DirectoryStore(tmp_path, 3)
    assert seen == [tmp_path]
    monkeypatch.setattr(private_files, "_seen_as", lambda _path: tmp_path.lstat().st_uid)
    DirectoryStore(tmp_path, 3)  # a network's file system gives everything to one user


def test_a_planted_link_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"as it was")
    directory = tmp_path / "shard-0"
    store = DirectoryStore(directory, 3)
    host = directory_store._HOST
    (directory / f"{7:020d}.{host}.{os.getpid()}.partial").symlink_to(victim)
    (directory / NAME).symlink_to(victim)
    store.write(7, b"seven")
    assert victim.read_bytes() == b"as it was"
    assert store.read(7) == b"seven"


@pytest.mark.parametrize("planted", ["link", "pipe", "hard link", "directory"])
def test_what_is_planted_is_not_read_and_not_waited_for(tmp_path, planted):
    victim = tmp_path / "victim"
    victim.write_bytes(b"secret")
    store = DirectoryStore(tmp_path / "shard-0", 2)
    place = tmp_path / "shard-0" / NAME
    match planted:
        case "link":
            place.symlink_to(victim)
        case "pipe":
            os.mkfifo(place)
        case "hard link":
            os.link(victim, place)
        case "directory":
            place.mkdir()
    ((position, found),) = newest_sound(store)
    assert position == 7
    assert isinstance(found, StateError)
    assert "secret" not in str(found)
    for later in (8, 9, 10):  # the planted one is superfluous, whether or not it can be deleted
        store.write(later, b"x")
    assert store.read(10) == b"x"
    assert victim.read_bytes() == b"secret"
    assert mode(victim) & 0o077, "a file of another name keeps its mode"
