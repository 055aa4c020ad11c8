"""Faults of the input and of the disk, for real; the numbers are those of docs/reliability.md."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
import snappy
import zstandard
from kafka import KafkaProducer, TopicPartition
from kafka.errors import CorruptRecordError, KafkaError, TopicAlreadyExistsError
from kafka_broker.broker import Broker
from kafka_broker.clients import (
    Message,
    admin_client,
    consume_all,
    create_topic,
    produce,
    unique_name,
)
from support.process import DaemonProcess, alerts_in, wait_until
from support.streams import records
from test_daemon import keyed, messages, settings, topics

from stream_detector.connectors.kafka.client import codecs


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0  # it has just ended


@pytest.mark.parametrize("lost", ["stop", "continue"])
def test_input_deleted_before_it_was_read_is_said_and_counted(
    kafka, tmp_path: Path, lost: str
) -> None:
    """16: retention has overtaken the daemon while it was away."""
    section = {**topics(kafka.bootstrap), "lost_input": lost}
    topic = section["topics"][0]
    stream = messages(records(3000), 1)
    produce(kafka.bootstrap, topic, stream[:1000])
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready().wait_processed(1000)
        assert daemon.stop() == 0
        produce(kafka.bootstrap, topic, stream[1000:])
        with admin_client(kafka.bootstrap) as admin:
            admin.delete_records({TopicPartition(topic, 0): 1600}, timeout_ms=10_000)
        daemon.start()
        if lost == "stop":
            assert daemon.wait() == 4
            assert f"{topic}-0 from 1000 to 1600" in daemon.text()
            assert "kafka.lost_input" in daemon.text()
            return
        daemon.wait_ready().wait_processed(1400)
        assert daemon.metric("lost_records_total") == 600
        assert daemon.stop() == 0


def test_a_topic_made_anew_is_refused_by_its_id(kafka, tmp_path: Path) -> None:
    """17: the offsets exist there as well, but mean other records."""
    section = topics(kafka.bootstrap)
    topic = section["topics"][0]
    produce(kafka.bootstrap, topic, messages(records(500), 1))
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready().wait_processed(500)
        assert daemon.stop() == 0
        with admin_client(kafka.bootstrap) as admin:
            admin.delete_topics([topic], timeout_ms=10_000)

        def made() -> bool:
            try:
                create_topic(kafka.bootstrap, topic, 1, {"retention.ms": "-1"})
            except TopicAlreadyExistsError:  # it is still being deleted
                return False
            return True

        wait_until(made, "the topic to be made anew")
        produce(kafka.bootstrap, topic, messages(records(800), 1))
        daemon.start()
        assert daemon.wait() == 4
        assert "made anew" in daemon.text()


def test_a_schema_that_drifts_shifts_no_feature(kafka, tmp_path: Path) -> None:
    """20: further fields are passed over, another order is no matter; a renamed one is rejected."""
    found = []
    for drifting in (False, True):
        section = topics(kafka.bootstrap)
        stream = messages(records(3000), 1)
        mixed: list[Message] = []
        for number, message in enumerate(stream):
            event = json.loads(message.value or b"")
            if drifting and number >= 1500:
                more = {"further": {"deep": [1, "x"]}, **dict(reversed(event.items())), "z": None}
                mixed.append(
                    Message(json.dumps(more).encode(), 0, message.key, message.timestamp_ms)
                )
                if number % 50 == 0:
                    event["Amount"] = event.pop("amount")
                    renamed = json.dumps(event).encode()
                    mixed.append(Message(renamed, 0, message.key, message.timestamp_ms))
            else:
                mixed.append(message)
        produce(kafka.bootstrap, section["topics"][0], mixed)
        directory = tmp_path / str(drifting)
        with DaemonProcess(directory, settings(section, directory)) as daemon:
            daemon.wait_ready().wait_processed(len(mixed))
            assert daemon.metric("rejected_total", reason="missing_field") == len(mixed) - 3000
            assert daemon.stop() == 0
        found.append(keyed(alerts_in(kafka.bootstrap, section["alerts"])))
    assert len(found[0]) > 20
    assert found[0] == found[1]


def test_an_alert_too_large_for_the_broker_is_cut_and_not_stuck(kafka, tmp_path: Path) -> None:
    """21: the event fits into a message, and with the reasons beside it no more."""
    section = topics(kafka.bootstrap)
    stream = messages(records(1500), 1)
    event = json.loads(stream[-1].value or b"") | {"amount": 1e9, "id": "huge"}
    event["unread"] = "x" * 900_000
    large = Message(json.dumps(event).encode(), 0, b"k", stream[-1].timestamp_ms)
    produce(kafka.bootstrap, section["topics"][0], [*stream, large])
    config = settings(section, tmp_path)
    config["event"] = {**config["event"], "max_bytes": "1000000 B"}
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(1501).wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    last = alerts_in(kafka.bootstrap, section["alerts"])[-1]
    assert last["event_id"] == "huge"
    assert len(json.dumps(last)) < 1_048_576


def test_a_corrupt_batch_stops_the_daemon_at_once_with_its_place(
    broker_factory, tmp_path: Path
) -> None:
    """22: the bare client would spin for ever (defect D)."""
    broker: Broker = broker_factory()
    section = topics(broker.bootstrap)
    topic = section["topics"][0]
    stream = messages(records(900), 1)
    for start in range(0, 900, 300):
        produce(broker.bootstrap, topic, stream[start : start + 300])
    broker.stop()
    (log,) = (broker.data_directory / f"{topic}-0").glob("*.log")
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0xFF
    log.write_bytes(bytes(data))
    broker.start()
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        assert daemon.wait(60) == 3
        place = rf"cannot read topic {topic}, partition 0, offsets (\d+) to (\d+): its checksum"
        found = re.search(place, daemon.text())
        assert found is not None
        assert 0 < int(found[1]) < int(found[2]) < 899
        assert "kafka-delete-records" in daemon.text()
        assert "Traceback" not in daemon.text()
        # What lay before it is committed, and so the next start stands right before it.
        assert committed_offset(broker.bootstrap, section["group"], topic) == int(found[1])


def committed_offset(bootstrap: str, group: str, topic: str) -> int:
    with admin_client(bootstrap) as admin:
        offsets = admin.list_group_offsets(group)[group]
    return int(offsets[TopicPartition(topic, 0)].offset)


def test_an_unreadable_batch_becomes_a_dead_letter_where_that_is_the_policy(
    broker_factory, tmp_path: Path
) -> None:
    """22: with its place and its first bytes; what comes after it is processed."""
    broker: Broker = broker_factory()
    section = {**topics(broker.bootstrap), "unreadable": "dead_letter"}
    topic = section["topics"][0]
    stream = messages(records(900), 1)
    for start in range(0, 900, 300):
        produce(broker.bootstrap, topic, stream[start : start + 300])
    broker.stop()
    (log,) = (broker.data_directory / f"{topic}-0").glob("*.log")
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0xFF
    log.write_bytes(bytes(data))
    broker.start()
    config = settings(section, tmp_path)
    config["state"] = {**config["state"], "interval": "1h"}
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(1).wait_worked_off()
        assert daemon.metric("rejected_total", reason="unreadable") == 1
        taken = daemon.metric("events_total")
        daemon.kill()
        # The replay reads it again, and gives what the journal says.
        daemon.start().wait_ready().wait_worked_off()
        assert daemon.metric("replay_mismatches_total") == 0
        assert daemon.stop() == 0
    (letter,) = consume_all(broker.bootstrap, section["dead_letters"])
    said = dict(letter.headers)["__connect.errors.exception.message"].decode()
    found = re.match(r"offsets (\d+) to (\d+) cannot be read: its checksum is wrong", said)
    assert found is not None
    assert taken == 900 - (int(found[2]) - int(found[1]))  # one stands for all of the batch
    assert letter.value.startswith(int(found[1]).to_bytes(8, "big"))


BOMB_BYTES = 400 * 1024 * 1024


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_decompression_bomb_is_refused_within_bounded_memory(
    kafka, tmp_path: Path, name: str
) -> None:
    """23: a record of 400 MiB of zeros in a batch of some hundred kilobytes."""
    section = topics(kafka.bootstrap)
    produce(kafka.bootstrap, section["topics"][0], messages(records(300), 1))
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        compression_type=name,
        max_request_size=BOMB_BYTES + 100_000,
    )
    try:
        producer.send(section["topics"][0], bytes(BOMB_BYTES)).get(timeout=60)
    finally:
        producer.close(timeout=5)
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        most = 0
        while daemon.running():
            most = max(most, resident_bytes(daemon.pid))
            time.sleep(0.05)
        assert daemon.wait(60) == 3
        assert "is not unpacked" in daemon.text()
        assert 0 < most < BOMB_BYTES + 50 * 1024 * 1024


PACKED = {
    codecs.GZIP: gzip.compress,
    codecs.ZSTD: zstandard.compress,
    codecs.LZ4: lz4.frame.compress,
    codecs.SNAPPY: snappy.compress,
}


@pytest.mark.parametrize("codec", PACKED)
def test_each_codec_is_bounded_and_gives_back_what_was_packed(
    codec: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = PACKED[codec]
    data = b"an event, and another one " * 2000
    assert codecs.unpack(codec, pack(data)) == data
    monkeypatch.setattr(codecs, "MAX_BATCH_BYTES", len(data))
    assert codecs.unpack(codec, pack(data)) == data
    with pytest.raises(CorruptRecordError, match="not unpacked"):
        codecs.unpack(codec, pack(data + b"!"))


def test_snappy_in_blocks_is_bounded_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from kafka.codec import snappy_encode  # noqa: PLC0415 - the client's own framing

    data = bytes(200_000)
    packed = snappy_encode(data)
    assert codecs.unpack(codecs.SNAPPY, packed) == data
    monkeypatch.setattr(codecs, "MAX_BATCH_BYTES", 199_999)
    with pytest.raises(CorruptRecordError, match="not unpacked"):
        codecs.unpack(codecs.SNAPPY, packed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    if ran.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {ran.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=240)


def test_a_full_disk_keeps_the_older_snapshot_and_detection_goes_on(
    kafka, tmp_path: Path, small_disk: Path
) -> None:
    """26: said, counted, and snapshots are written again once there is room."""
    section = topics(kafka.bootstrap)
    topic = section["topics"][0]
    stream = messages(records(4000), 1)
    produce(kafka.bootstrap, topic, stream[:2000])
    config = settings(section, tmp_path)
    config["state"] = {"directory": str(small_disk / "state"), "interval": "1s"}
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(2000)
        wait_until(lambda: daemon.metric("snapshots_total", result="ok") >= 2, "a snapshot")
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):  # noqa: PT012
            while True:
                file.write(bytes(4096))
        kept = set(small_disk.rglob("*.snapshot"))
        produce(kafka.bootstrap, topic, stream[2000:])
        daemon.wait_processed(4000)
        wait_until(lambda: daemon.metric("snapshots_total", result="failed") >= 1, "a failure")
        assert kept <= set(small_disk.rglob("*.snapshot"))
        assert daemon.get("/healthz")[0] == 200
        filler.unlink()
        before = daemon.metric("snapshots_total", result="ok")
        wait_until(lambda: daemon.metric("snapshots_total", result="ok") > before, "room again")
        daemon.wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    assert len(alerts_in(kafka.bootstrap, section["alerts"])) > 20


def test_new_partitions_are_read_from_their_beginning(kafka, tmp_path: Path) -> None:
    """33: said in the log and by a metric; what was written before they were seen is read."""
    section = {**topics(kafka.bootstrap, 2), "consumer": {"metadata_max_age_ms": 1000}}
    topic = section["topics"][0]
    produce(kafka.bootstrap, topic, messages(records(1000), 2))
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready().wait_processed(1000)
        with admin_client(kafka.bootstrap) as admin:
            admin.create_partitions({topic: 4}, timeout_ms=10_000)
        producer_side = messages(records(2000, seed=4), 4)

        def produced() -> bool:
            try:
                produce(kafka.bootstrap, topic, producer_side[:4])
            except (KafkaError, AssertionError):  # the partitions are still being made
                return False
            return True

        wait_until(produced, "the partitions to be there")
        produce(kafka.bootstrap, topic, producer_side[4:])
        wait_until(lambda: daemon.metric("partitions_assigned") == 4, "the new partitions")
        daemon.wait_processed(3000).wait_worked_off()
        assert daemon.metric("events_total") == 3000
        assert daemon.metric("broker_errors_total", kind="partitions_added") >= 1
        assert "new partitions" in daemon.text()
        assert daemon.stop() == 0, daemon.text()


def test_aborted_transactions_and_control_records_in_the_input_are_passed(
    kafka, tmp_path: Path
) -> None:
    """43: offsets jump, the last one is a control record, and the lag still comes to nothing."""
    section = topics(kafka.bootstrap)
    topic = section["topics"][0]
    stream = messages(records(2000), 1)
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=unique_name("input")
    )
    try:
        producer.init_transactions()
        for number in range(0, 2000, 100):
            for aborted in (True, False):
                producer.begin_transaction()
                for message in stream[number : number + 100]:
                    producer.send(topic, message.value, timestamp_ms=message.timestamp_ms)
                if aborted:
                    producer.flush(timeout=20)
                    producer.abort_transaction()
                else:
                    producer.commit_transaction()
    finally:
        producer.close(timeout=5)
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready().wait_processed(2000).wait_worked_off()
        assert daemon.metric("events_total") == 2000
        assert daemon.stop() == 0
        daemon.start().wait_ready().wait_worked_off()
        assert daemon.stop() == 0
    assert len(alerts_in(kafka.bootstrap, section["alerts"])) > 10


def test_keys_without_end_are_held_within_the_limit(kafka, tmp_path: Path) -> None:
    """25: 60,000 users, 64 kept."""
    section = topics(kafka.bootstrap)
    stream = messages(records(1000), 1)
    flood = []
    for number in range(60_000):
        event = json.loads(stream[number % 1000].value or b"") | {"user": f"flood{number}"}
        event["time"] = stream[-1].timestamp_ms + number
        flood.append(Message(json.dumps(event).encode(), 0, None, event["time"]))
    with DaemonProcess(tmp_path, settings(section, tmp_path), interpreter=True) as daemon:
        produce(kafka.bootstrap, section["topics"][0], [*stream, *flood[:20_000]])
        daemon.wait_ready().wait_processed(21_000)
        before = resident_bytes(daemon.pid)
        produce(kafka.bootstrap, section["topics"][0], flood[20_000:])
        daemon.wait_processed(61_000)
        wait_until(lambda: daemon.metric("keys_held") > 0, "the keys to be counted")
        assert daemon.metric("keys_held") <= 64 + 512  # a chunk's more, until it ends
        assert resident_bytes(daemon.pid) - before < 60 * 1024 * 1024
        assert daemon.stop() == 0


def test_descriptors_of_a_worker_do_not_grow_with_restarts_of_its_output(
    broker_factory, tmp_path: Path
) -> None:
    """42, in short (`make soak` is the long form): three crashes of the broker."""
    broker: Broker = broker_factory()
    section: dict[str, Any] = {**topics(broker.bootstrap), "request_timeout": "2s"}
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:

        def descriptors() -> int:
            return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))

        first = 0
        for turn in range(3):
            stream = messages(records(400, seed=turn), 1)
            produce(broker.bootstrap, section["topics"][0], stream)
            daemon.wait_ready().wait_processed(400 * (turn + 1)).wait_worked_off()
            first = first or descriptors()
            broker.restart(crash=True)
        daemon.wait_ready().wait_worked_off()
        # The client leaves sockets in cycles of objects; the daemon collects them every minute.
        wait_until(lambda: descriptors() <= first + 3, "the sockets to be closed", timeout=100)
        assert daemon.stop() == 0, daemon.text()
