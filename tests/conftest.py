"""Fixtures that every test module shares: the real broker, topics, the public data sets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before NumPy is imported anywhere, as `python -m stream_detector` does: one BLAS thread, so that
# what is computed here has the bits of what the daemon computes.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import pytest  # noqa: E402 - see above
from hypothesis import HealthCheck, settings  # noqa: E402 - see above
from kafka_broker.broker import Broker, why_unavailable  # noqa: E402 - see above
from kafka_broker.clients import create_topic, unique_name  # noqa: E402 - see above
from kafka_broker.cluster import Cluster  # noqa: E402 - see above
from schema_registry.registry import Registry  # noqa: E402 - see above

pytest_plugins = ["support.limits"]

# An example takes as long as the machine needs: 200 ms (the default) are soon over on a busy one.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

REPOSITORY = Path(__file__).resolve().parents[1]
NO_BROKER = "no Kafka broker: "
KAFKA_FIXTURES = {"kafka", "broker_factory", "topic_factory", "cluster", "registry"}


@dataclass(frozen=True, slots=True)
class Kafka:
    """The broker of the session. Tests share it: stop or pause one from ``broker_factory``."""

    bootstrap: str


LONGEST_FIRST = (
    "test_faults",
    "test_field_vanishing",
    "test_ticks",
    "test_alert_avro_daemon",
    "test_field_commits",
    "test_public_data",
    "test_faults_input",
    "test_daemon",
    "test_chaos",
    "test_formats_daemon",
    "test_tune",
    "test_field_replay",
    "test_documented_commands",
    "test_foreign_detectors",
    "test_drift",
    "test_detectors",
    "test_field_output",
    "test_field_assignment",
    "test_labels_topic",
    "test_rebalance",
    "test_limits",
    "test_docs",
    "test_kafka_security",
    "test_challenger",
    "test_state_verify",
    "test_formats_commands",
    "test_registry",
    "test_broker",
    "test_client_contract_consumer",
    "test_prometheus",
    "test_label_command",
    "test_comparison",
    "test_cli",
    "test_state_command",
    "test_release",
    "test_site",
    "test_report_browser",
)
"""Files of minutes: a process that begins with one of them last keeps all others waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the fixtures below, so that ``-m "not kafka"`` needs no care in the tests."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        if used & KAFKA_FIXTURES:
            item.add_marker(pytest.mark.kafka)
        if "data_directory" in used:
            item.add_marker(pytest.mark.data)
    place = {name: index for index, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))  # stable: else as before


def _require_java() -> None:
    reason = why_unavailable()
    if reason is None:
        return
    if os.environ.get("REQUIRE_KAFKA") == "1":
        pytest.fail(f"REQUIRE_KAFKA=1, but {reason}", pytrace=False)
    pytest.skip(NO_BROKER + reason)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A running broker: that of KAFKA_BOOTSTRAP_SERVERS, else one started for the session."""
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield Kafka(given)
        return
    _require_java()
    with Broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield Kafka(broker.bootstrap)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A schema registry for the session. Tests share it: each has subjects of its own."""
    _require_java()
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def broker_factory(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Starts brokers that belong to one test, which may kill and pause them.

    ``broker_factory(port=None, properties={...})``; all are killed when the test ends.
    """
    _require_java()
    with ExitStack() as stack:

        def start(**arguments: Any) -> Broker:
            broker = Broker(tmp_path / unique_name("broker"), **arguments)
            stack.callback(broker.kill)
            return broker.start()

        yield start


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three brokers of one module, which may kill them and move their leaders."""
    _require_java()
    with Cluster(tmp_path_factory.mktemp("cluster")) as brokers:
        yield brokers


@pytest.fixture
def topic_factory(kafka: Kafka) -> Callable[..., str]:
    """Creates topics on the session's broker: ``topic_factory("events", partitions=4)``.

    Returns the topic's name, which begins as asked and is unique.
    """

    def create(prefix: str = "events", partitions: int = 1, **configs: str) -> str:
        settings = {name.replace("_", "."): value for name, value in configs.items()}
        return create_topic(kafka.bootstrap, unique_name(prefix), partitions, settings)

    return create


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """The public data sets: STREAM_DETECTOR_DATA, else ``../shared/data`` of the repository."""
    given = os.environ.get("STREAM_DETECTOR_DATA")
    directory = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not directory.is_dir():
        pytest.skip("no public data sets: set STREAM_DETECTOR_DATA to their directory")
    return directory


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any) -> Iterator[None]:
    """Say loudly, as the last lines before the totals, what did not run and why."""
    yield
    skipped = [
        report.longrepr[2]
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    ]
    for reason in sorted({each for each in skipped if " NOT " in each}):
        terminalreporter.write_line(reason.removeprefix("Skipped: "), yellow=True)
    reasons = [each.split(NO_BROKER, 1)[1] for each in skipped if NO_BROKER in each]
    if reasons:
        terminalreporter.write_line(
            f"{len(reasons)} tests with a real broker were SKIPPED: {reasons[0]}", yellow=True
        )
