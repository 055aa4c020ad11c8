"""``stream-detector state``: without a broker on a directory, and with one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaConsumer
from kafka_broker.clients import produce, unique_name
from support.process import DaemonProcess, wait_until
from support.streams import SETTINGS, configuration, decode, new_pipeline, records
from test_daemon import messages, topics
from test_snapshots import header_of as header
from test_snapshots import with_header

from stream_detector.__main__ import main
from stream_detector.config.derived.fingerprint import state_fingerprint, state_shape
from stream_detector.snapshots import DirectoryStore, Snapshot, encode

POSITIONS = (300, 600, 900)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Commands set logging up for a process of their own."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(action: str, config: Path, *arguments: str) -> tuple[int, str, str]:
        code = main(["state", action, str(config), *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def snapshots(shards: int = 1, **changes: Any) -> dict[int, bytes]:
    """A snapshot after each of ``POSITIONS`` events."""
    config = configuration(processing={"shards": shards}, **changes)
    pipeline = new_pipeline(config)
    stream, made, before = records(POSITIONS[-1]), {}, 0
    for position in POSITIONS:
        pipeline.process(decode(config, stream[before:position]))
        before = position
        meta = {
            "name": "test",
            "shard": shards - 1,
            "sequence": position,
            "positions": [["events", 0, position, 1_600_000_000_000]],
            "configuration": state_fingerprint(config),
            "shape": state_shape(config),
            "fingerprint": pipeline.fingerprint,
            "written_at": 1_700_000_000.0 + position,
            "journal": {"offset": position // 10, "number": position // 100},
        }
        made[position] = encode(Snapshot(meta, pipeline.state()))
    return made


@pytest.fixture(scope="module")
def made() -> dict[int, bytes]:
    return snapshots()


@pytest.fixture
def config(tmp_path: Path, made: dict[int, bytes]) -> Path:
    """A configuration whose state directory holds three snapshots."""
    path = tmp_path / "config.yaml"
    settings = {**SETTINGS, "state": {"directory": str(tmp_path / "state")}}
    path.write_text(yaml.safe_dump(settings))
    store = DirectoryStore(shard_directory(path), 5)
    for position, data in made.items():
        store.write(position, data)
    return path


def shard_directory(config: Path, group: str = "test", shard: int = 0) -> Path:
    return config.parent / "state" / group / f"shard-{shard}"


def file_of(config: Path, position: int) -> Path:
    return shard_directory(config) / f"{position:020d}.snapshot"


def files(config: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in shard_directory(config).iterdir()}


# --- looking --------------------------------------------------------------------------------------


def test_list_says_which_are_sound_and_fit(run: Run, config: Path, made: dict[int, bytes]) -> None:
    file_of(config, 600).write_bytes(made[600][:-1])
    before = files(config)
    code, out, _ = run("list", config, "--json")
    newest, damaged, oldest = json.loads(out)
    assert code == 0
    assert (newest["position"], newest["events"], newest["shard"]) == (900, 900, 0)
    assert newest["written_at"] == "2023-11-14T22:28:20+00:00"
    assert newest["size_bytes"] == len(made[900])
    assert (newest["sound"], newest["fits"], oldest["fits"]) == (True, True, True)
    assert (damaged["sound"], damaged["events"]) == (False, None)
    assert "checksum" in damaged["damage"]
    code, out, _ = run("list", config)
    assert code == 0
    assert "DAMAGED: the checksum" in out
    assert out.count("sound") == 2
    assert files(config) == before


def test_list_names_what_the_configuration_has_otherwise(run: Run, config: Path) -> None:
    settings = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**settings, "detector": {"kind": "loda"}}))
    _, out, _ = run("list", config)
    assert "another configuration" in out
    assert "detector.kind: was" in out
    code, out, _ = run("list", config, "--json")
    assert code == 0
    assert not json.loads(out)[0]["fits"]
    assert any("detector" in line for line in json.loads(out)[0]["differences"])


def test_nothing_there_is_no_mistake_and_is_not_made(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**SETTINGS, "state": {"directory": str(tmp_path / "state")}}))
    assert run("list", path)[:2] == (0, "no snapshots\n")
    code, _, err = run("show", path)
    assert (code, "no snapshots" in err) == (4, True)
    assert not (tmp_path / "state").exists()


def test_show_says_what_a_snapshot_holds(run: Run, config: Path, made: dict[int, bytes]) -> None:
    code, out, _ = run("show", config, "--position", "600", "--json")
    about = json.loads(out)
    assert code == 0
    assert about["events"] == 600
    assert about["offsets"] == {"events-0": 600}
    assert about["journal"] == {"offset": 60, "number": 6}
    assert about["differences"] == []
    assert about["threshold"] > 0
    users = about["texts"]["features.windows.user.table.keys"]
    assert 0 < users <= 64 + 2048
    sizes = about["sizes"]
    assert sizes["features"] > sizes["features.windows"] > 0
    total = sum(size for name, size in sizes.items() if "." not in name)
    assert 0.9 * len(made[600]) < total + 5000 < 1.1 * len(made[600]) + 5000
    code, out, _ = run("show", config)
    assert code == 0
    for expected in ("900", "events-0", "fingerprint", "threshold", "detector", "fits"):
        assert expected in out


def test_control_characters_of_a_snapshot_do_not_reach_the_terminal(
    run: Run, config: Path, made: dict[int, bytes]
) -> None:
    changed = header(made[900])
    changed["meta"]["positions"] = [["\x1b[2J../../x", 0, 5, 7]]
    changed["meta"]["name"] = "\ud800\x1b]0;x\x07"
    file_of(config, 900).write_bytes(with_header(made[900], changed))
    for arguments in ((), ("--json",)):
        code, out, _ = run("show", config, *arguments)
        assert code == 0
        assert "\x1b" not in out
        assert "\x07" not in out


def test_a_damaged_or_missing_snapshot_is_neither_shown_nor_copied(
    run: Run, config: Path, made: dict[int, bytes], tmp_path: Path
) -> None:
    file_of(config, 900).write_bytes(made[900][:100])
    target = tmp_path / "copy"
    for position, says in (("900", "is damaged"), ("901", "it has: 900, 600, 300")):
        for action, more in (("show", ()), ("export", ("--to", str(target)))):
            code, _, err = run(action, config, "--position", position, *more)
            assert code == 4
            assert says in err
    assert not target.exists()


def test_several_shards_are_listed_and_one_must_be_chosen_to_show(
    run: Run, config: Path, tmp_path: Path
) -> None:
    settings = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**settings, "processing": {"shards": 2}}))
    DirectoryStore(shard_directory(config, shard=1), 3).write(300, snapshots(2)[300])
    rows = json.loads(run("list", config, "--json")[1])
    assert [(row["shard"], row["fits"]) for row in rows] == [
        (0, False),
        (0, False),
        (0, False),
        (1, True),
    ]
    assert len(json.loads(run("list", config, "--json", "--shard", "1")[1])) == 1
    code, _, err = run("show", config)
    assert (code, "--shard" in err) == (2, True)
    assert run("show", config, "--shard", "1")[0] == 0
    assert run("show", config, "--shard", "2")[0] == 2
    # A snapshot in the wrong place is none of that shard.
    DirectoryStore(shard_directory(config, shard=0), 9).write(1000, snapshots(2)[300])
    row = json.loads(run("list", config, "--json", "--shard", "0")[1])[0]
    assert (row["sound"], row["damage"]) == (False, "it is of shard 1, not 0")


# --- copying and going back -----------------------------------------------------------------------


def test_export_copies_the_bytes_and_replaces_nothing(
    run: Run, config: Path, made: dict[int, bytes], tmp_path: Path
) -> None:
    target = tmp_path / "copies" / "copy.snapshot"
    code, _, err = run("export", config, "--position", "600", "--to", str(target))
    assert (code, "cannot write" in err) == (2, True)
    target.parent.mkdir()
    assert run("export", config, "--position", "600", "--to", str(target))[0] == 0
    assert target.read_bytes() == made[600]
    code, _, err = run("export", config, "--position", "300", "--to", str(target))
    assert (code, "exists already" in err) == (2, True)
    assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == {
        "copy.snapshot": made[600]
    }


def test_revert_sets_later_snapshots_aside(
    run: Run, config: Path, made: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(config)
    code, _, err = run("revert", config, "--position", "300")
    assert (code, "--yes" in err) == (2, True)
    assert run("revert", config, "--position", "301", "--yes")[0] == 4
    assert files(config) == before
    code, out, _ = run("revert", config, "--position", "300", "--yes")
    assert (code, "position 300" in out) == (0, True)
    assert DirectoryStore(shard_directory(config), 5).positions() == [300]
    aside = {name: data for name, data in files(config).items() if name.endswith(".reverted")}
    assert sorted(aside.values()) == sorted([made[600], made[900]])


def test_revert_asks_and_takes_no_for_an_answer(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        def __init__(self, answer: str) -> None:
            self.readline = lambda: answer

        def isatty(self) -> bool:
            return True

    for answer, kept in (("\n", [900, 600, 300]), ("y\n", [600, 300])):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert run("revert", config, "--position", "600")[0] == 0
        assert DirectoryStore(shard_directory(config), 5).positions() == kept


def test_revert_to_what_cannot_be_used_is_refused(
    run: Run, config: Path, made: dict[int, bytes]
) -> None:
    file_of(config, 600).write_bytes(made[600][:-1])
    code, _, err = run("revert", config, "--position", "600", "--yes")
    assert (code, "damaged" in err) == (4, True)
    settings = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**settings, "detector": {"kind": "loda"}}))
    code, _, err = run("revert", config, "--position", "300", "--yes")
    assert (code, "another configuration" in err) == (4, True)
    assert DirectoryStore(shard_directory(config), 5).positions() == [900, 600, 300]


def test_import_takes_an_export_in(
    run: Run, config: Path, made: dict[int, bytes], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    assert run("export", config, "--position", "600", "--to", str(copy))[0] == 0
    file_of(config, 600).unlink()
    assert run("import", config, "--from", str(copy))[0] == 2
    assert run("import", config, "--from", str(copy), "--yes")[0] == 0
    store = DirectoryStore(shard_directory(config), 5)
    assert store.positions() == [600, 300]
    assert store.read(600) == made[600]
    copy.write_bytes(made[900][:-1])
    assert run("import", config, "--from", str(copy), "--yes")[0] == 4
    assert run("import", config, "--from", str(tmp_path), "--yes")[0] == 2
    assert run("import", config, "--from", str(tmp_path / "none"), "--yes")[0] == 2
    assert store.positions() == [600, 300]


@contextmanager
def member_of(bootstrap: str, group: str, topic: str) -> Iterator[None]:
    """A worker of the group, as far as the broker can tell."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        metadata_max_age_ms=500,
    )
    try:

        def joined() -> bool:
            # Long: this client throws a join away that is answered between two polls.
            consumer.poll(timeout_ms=5000)
            return bool(consumer.assignment())

        wait_until(joined, "the member to join")
        yield
    finally:
        consumer.close(autocommit=False, timeout_ms=5000)


@pytest.mark.parametrize("kind", ["directory", "topic"])
def test_with_a_group_revert_waits_for_its_workers_to_stop(
    kafka: Any,
    topic_factory: Callable[..., str],
    run: Run,
    tmp_path: Path,
    made: dict[int, bytes],
    kind: str,
) -> None:
    section = {"bootstrap_servers": kafka.bootstrap, "group": unique_name("group")}
    section |= {"topics": [topic_factory("in")], "alerts": "alerts", "dead_letters": "dead"}
    state = {"store": kind, "directory": str(tmp_path / "state")}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**SETTINGS, "kafka": section, "state": state}))
    for position, data in made.items():
        copy = tmp_path / f"{position}"
        copy.write_bytes(data)
        assert run("import", config, "--from", str(copy), "--yes")[0] == 0
    with member_of(kafka.bootstrap, str(section["group"]), section["topics"][0]):
        code, _, err = run("revert", config, "--position", "600", "--yes")
        assert (code, "is active" in err) == (4, True), err
        assert len(json.loads(run("list", config, "--json")[1])) == 3
    code, _, err = run("revert", config, "--position", "600", "--yes")
    assert code == 0, err
    rows = json.loads(run("list", config, "--json")[1])
    assert [(row["position"], row["fits"]) for row in rows] == [(600, True), (300, True)]
    target = tmp_path / "copy"
    assert run("export", config, "--position", "300", "--to", str(target))[0] == 0
    assert target.read_bytes() == made[300]
    assert (tmp_path / "state").exists() == (kind == "directory")


def test_a_directory_is_looked_at_without_a_broker_and_not_changed(
    run: Run, config: Path, tmp_path: Path
) -> None:
    settings = yaml.safe_load(config.read_text())
    section = {"bootstrap_servers": "127.0.0.1:1", "topics": ["in"], "group": "test"}
    section |= {"alerts": "a", "dead_letters": "d", "request_timeout": "1s"}
    config.write_text(yaml.safe_dump({**settings, "kafka": section}))
    assert len(json.loads(run("list", config, "--json")[1])) == 3
    assert run("show", config)[0] == 0
    assert run("export", config, "--position", "900", "--to", str(tmp_path / "copy"))[0] == 0
    code, _, err = run("revert", config, "--position", "300", "--yes")
    assert (code, "cannot reach the broker" in err) == (3, True), err
    assert len(json.loads(run("list", config, "--json")[1])) == 3


def test_each_sub_command_has_a_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("list", "show", "revert", "export", "import"):
        with pytest.raises(SystemExit) as stopped:
            main(["state", action, "--help"])
        assert stopped.value.code == 0
        out = capsys.readouterr().out
        assert f"example:\n  stream-detector state {action} config/transactions.yaml" in out


def test_after_a_revert_the_daemon_goes_on_to_the_same_state(
    kafka: Any, run: Run, tmp_path: Path
) -> None:
    section = topics(kafka.bootstrap)
    settings = {**SETTINGS, "kafka": section, "metrics": {"port": 0}}
    settings["state"] = {"directory": str(tmp_path / "state"), "interval": "1h", "keep": 9}
    first, second = records(3000)[:1500], records(3000)[1500:]
    produce(kafka.bootstrap, section["topics"][0], messages(first, 1))
    with DaemonProcess(tmp_path, settings) as daemon:
        daemon.wait_ready().wait_processed(1500)
        assert daemon.stop() == 0, daemon.text()
        produce(kafka.bootstrap, section["topics"][0], messages(second, 1))
        daemon.start().wait_ready().wait_processed(1500)
        assert daemon.stop() == 0, daemon.text()
        before = json.loads(run("show", daemon.config, "--json")[1])
        assert before["events"] == 3000
        assert run("revert", daemon.config, "--position", "1500", "--yes")[0] == 0
        daemon.start().wait_ready()
        assert daemon.metric("replayed_events_total") == 1500
        assert daemon.metric("replay_mismatches_total") == 0
        assert daemon.stop() == 0, daemon.text()
    after = json.loads(run("show", daemon.config, "--json")[1])
    assert after["events"] == 3000
    assert after["fingerprint"] == before["fingerprint"]
