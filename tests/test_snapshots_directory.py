"""Snapshots as files: whole or not there, whoever else writes and wherever the process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.streams import configuration

from stream_detector.commits.stores import snapshot_stores
from stream_detector.config.models.config import KafkaConfig
from stream_detector.errors import ConfigurationError, StateError
from stream_detector.snapshots import DirectoryStore, directory

WRITER = """
import sys
from pathlib import Path
from stream_detector.snapshots import DirectoryStore
store = DirectoryStore(Path(sys.argv[1]), 3)
store.write(1, b"one")
store.write(2, b"two")
print("written")
"""


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


def write_killed_at(path: Path, point: str) -> None:
    """Write two snapshots in a process that dies at ``point`` of the second."""
    environment = {**os.environ, "FAILPOINT": f"{point}:2"}
    ran = subprocess.run(
        [sys.executable, "-c", WRITER, str(path)], env=environment, check=False, timeout=240
    )
    assert ran.returncode == -signal.SIGKILL


def test_the_last_ones_are_kept_newest_first(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, 2)
    for position in (5, 100, 20, 1000):
        store.write(position, str(position).encode())
    assert store.positions() == [1000, 100]
    assert store.read(100) == b"100"
    assert len(names(tmp_path)) == 2
    store.write(100, b"again")
    assert store.read(100) == b"again"


def test_what_was_just_written_stays_even_where_there_are_later_ones(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, 1)
    store.write(10, b"ten")
    store.write(5, b"five")
    assert store.positions() == [10, 5]


def test_a_process_that_dies_before_the_rename_leaves_the_one_before(tmp_path: Path) -> None:
    write_killed_at(tmp_path, "snap_tmp")
    assert DirectoryStore(tmp_path, 3).positions() == [1]
    (left,) = [name for name in names(tmp_path) if name.endswith(".partial")]
    DirectoryStore(tmp_path, 3).write(3, b"three")
    assert left not in names(tmp_path)
    assert DirectoryStore(tmp_path, 3).positions() == [3, 1]


def test_a_process_that_dies_after_the_rename_has_written(tmp_path: Path) -> None:
    write_killed_at(tmp_path, "snap_renamed")
    store = DirectoryStore(tmp_path, 3)
    assert store.positions() == [2, 1]
    assert store.read(2) == b"two"


def test_processes_that_write_one_position_do_not_write_into_one_file(tmp_path: Path) -> None:
    environment = {**os.environ, "FAILPOINT": "snap_tmp:1:pause=600"}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    waiting = subprocess.Popen(command, env=environment)
    try:
        deadline = 600
        while not (tmp_path.exists() and any(n.endswith(".partial") for n in names(tmp_path))):
            deadline -= 1
            assert deadline > 0
            try:
                waiting.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        (theirs,) = names(tmp_path)
        store = DirectoryStore(tmp_path, 3)
        store.write(1, b"ours")
        assert theirs in names(tmp_path), "its writer lives"
        assert (tmp_path / theirs).read_bytes() == b"one"
        assert store.read(1) == b"ours"
    finally:
        waiting.kill()
        waiting.wait(10)
    store.write(4, b"four")
    assert theirs not in names(tmp_path)


def test_unfinished_files_go_when_they_are_nobodys(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, 3)
    old, new, own = "other.12", "other.13", f"{directory._HOST}.{os.getpid()}"
    before = f"{1:020d}.partial"  # as an earlier release named them
    for middle in (old, new, own):
        (tmp_path / f"{7:020d}.{middle}.partial").write_bytes(b"x")
    (tmp_path / before).write_bytes(b"x")
    for stale in (f"{7:020d}.{old}.partial", before):
        os.utime(tmp_path / stale, (1.0, 1.0))
    (tmp_path / "notes.partial").write_bytes(b"somebody's")
    os.utime(tmp_path / "notes.partial", (1.0, 1.0))
    store.write(9, b"nine")
    assert names(tmp_path) == sorted(
        [f"{7:020d}.{new}.partial", f"{9:020d}.snapshot", "notes.partial"]
    )


def test_a_store_that_cannot_be_written_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match="cannot make"):
        DirectoryStore(tmp_path / "file" / "state", 3)
    store = DirectoryStore(tmp_path / "state", 3)
    store.write(1, b"one")
    (tmp_path / "state" / f"{2:020d}.snapshot").mkdir()
    with pytest.raises(StateError, match="cannot write"):
        store.write(2, b"two")
    assert names(tmp_path / "state") == [f"{1:020d}.snapshot", f"{2:020d}.snapshot"]
    with pytest.raises(StateError, match="not a file"):
        store.read(2)
    assert store.read(1) == b"one"
    with pytest.raises(StateError, match="cannot read"):
        store.read(3)


def test_what_waits_for_a_writer_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"{1:020d}.snapshot")
    with pytest.raises(StateError, match="not a file"):
        DirectoryStore(tmp_path, 3).read(1)


def test_set_aside_and_delete_all(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, 3)
    for position in (1, 2, 3):
        store.write(position, b"x")
    store.set_aside(3)
    assert store.positions() == [2, 1]
    assert f"{3:020d}.reverted" in names(tmp_path)
    with pytest.raises(StateError, match="aside"):
        store.set_aside(3)
    (tmp_path / "notes").write_bytes(b"somebody's")
    store.delete_all()
    assert names(tmp_path) == ["notes"]


def test_looking_makes_no_directory(tmp_path: Path) -> None:
    config = configuration(state={"directory": str(tmp_path / "state")})
    store = snapshot_stores(config, None, make=False)(0)
    assert store.positions() == []
    store.delete_all()
    assert names(tmp_path) == []


def section(**changes: object) -> KafkaConfig:
    values = {"topics": ["in"], "group": "g", "alerts": "a", "dead_letters": "d", **changes}
    return KafkaConfig(bootstrap_servers="localhost:1", **values)


@pytest.mark.parametrize("group", ["../../up", "/abs", "..", ".", "a/../../b", "nul\0", "größe x"])
def test_a_group_of_any_name_stays_below_the_state_directory(tmp_path: Path, group: str) -> None:
    state = tmp_path / "deep" / "state"
    config = configuration(state={"directory": str(state)})
    snapshot_stores(config, section(group=group))(0).write(1, b"x")
    (found,) = tmp_path.rglob("*.snapshot")
    assert found.parents[2] == state
    assert names(tmp_path) == ["deep"]
    assert names(tmp_path / "deep") == ["state"]


def test_groups_have_their_own_directories(tmp_path: Path) -> None:
    config = configuration(state={"directory": str(tmp_path)})
    for group in ("a/b", "a%2Fb", "..", "%2E%2E", "plain"):
        snapshot_stores(config, section(group=group))(0)
    assert len(names(tmp_path)) == 5
    assert "plain" in names(tmp_path)


@pytest.mark.parametrize(
    ("state", "kafka", "says"),
    [
        ({"store": "topic"}, None, "needs the section"),
        ({"store": "topic"}, section(group="with space"), "cannot be the name"),
        ({"store": "topic", "topic": "in"}, section(), "another purpose"),
        ({"store": "topic", "topic": "g-journal"}, section(), "another purpose"),
    ],
)
def test_a_topic_that_cannot_be_is_a_mistake(
    state: dict, kafka: KafkaConfig | None, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        snapshot_stores(configuration(state=state), kafka)
