"""The deployment files fit each other and the programme: compose, Dockerfile, Prometheus."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kafka_broker.broker import KAFKA_VERSION
from schema_registry.registry import VERSION
from support.prometheus import require

from dashboards.parts import RUNBOOK
from stream_detector.config.loading.load import parse

REPOSITORY = Path(__file__).resolve().parents[1]
COMPOSE = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OWN = {name: service for name, service in SERVICES.items() if "build" in service}
DETECTOR = SERVICES["detector"]
PROMETHEUS = REPOSITORY / "deploy" / "prometheus"


def configuration_text() -> str:
    in_image = Path(DETECTOR["command"][1])
    return (REPOSITORY / in_image.relative_to("/app")).read_text()


def test_the_compose_file_fits_the_specification():
    command = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]
    ran = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("name", OWN)
def test_the_command_line_of_each_service_of_ours_is_one_that_the_programme_takes(name):
    from stream_detector.cli import build_parser  # noqa: PLC0415 - the other tests need no package

    build_parser().parse_args(OWN[name]["command"])


def test_configurations_named_in_commands_are_in_the_image():
    words = (word for service in OWN.values() for word in service["command"])
    named = {word for word in words if "/" in word and "://" not in word}
    assert named
    for word in named:
        assert (REPOSITORY / Path(word).relative_to("/app")).is_file(), word


def test_the_detector_of_avro_reads_what_its_simulator_writes():
    given = [w.removeprefix("--set=") for w in SERVICES["detector-avro"]["command"][2:]]
    config = parse(
        configuration_text(), "it", {}, dict(each.split("=", 1) for each in given)
    ).config
    written = dict(
        w.removeprefix("--").split("=", 1) for w in SERVICES["simulator-avro"]["command"][2:]
    )
    assert config.kafka is not None
    assert config.registry is not None
    assert config.kafka.topics == [written["topic"]]
    assert config.registry.url == written["registry"]
    assert config.event.format == written["format"]
    topics = SERVICES["topics-avro"]["environment"]["TOPICS"].split()
    made = {pair.split(":")[0] for pair in topics}
    assert {written["topic"], config.kafka.alerts, config.kafka.dead_letters} == made
    profiled = [name for name, service in SERVICES.items() if service.get("profiles") == ["avro"]]
    assert SERVICES["registry"]["image"] == f"apicurio/apicurio-registry:{VERSION}"
    assert sorted(profiled) == ["detector-avro", "registry", "simulator-avro", "topics-avro"]


def test_every_setting_given_to_the_detector_is_one_that_its_configuration_reads():
    text = configuration_text()
    unread = [name for name in DETECTOR["environment"] if f"${{{name}" not in text]
    assert unread == []


def test_every_topic_of_the_configuration_is_created_before_the_detector_starts():
    kafka = yaml.safe_load(configuration_text())["kafka"]
    created = {pair.split(":")[0] for pair in SERVICES["topics"]["environment"]["TOPICS"].split()}
    assert {*kafka["topics"], kafka["alerts"], kafka["dead_letters"]} <= created
    assert DETECTOR["depends_on"]["topics"]["condition"] == "service_completed_successfully"


def test_every_image_but_our_own_is_pinned_to_a_version():
    for name, service in SERVICES.items():
        if name not in OWN:
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), service["image"]


def test_compose_runs_the_version_of_kafka_that_the_tests_run():
    assert {SERVICES[name]["image"] for name in ("kafka", "topics")} == {
        f"apache/kafka:{KAFKA_VERSION}"
    }


def test_every_mount_is_a_file_of_the_repository_or_a_declared_volume():
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (REPOSITORY / source).exists(), mount
                assert mount.endswith(":ro"), mount
            else:
                assert source in COMPOSE["volumes"], mount


def test_what_others_wait_for_to_be_healthy_has_a_health_check():
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name], name


@pytest.mark.parametrize("name", OWN)
def test_our_containers_run_unprivileged_on_a_read_only_root(name):
    service = OWN[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert f"USER {service['user']}\n" in (REPOSITORY / "Dockerfile").read_text()


def test_published_ports_are_reachable_from_this_machine_only():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_state_volume_is_where_the_detector_writes_and_owned_by_its_user():
    directory = DETECTOR["environment"]["STATE_DIRECTORY"]
    assert [mount.split(":")[1] for mount in DETECTOR["volumes"]] == [directory]
    assert re.search(
        rf"install --directory --owner=10001 .*{directory}", (REPOSITORY / "Dockerfile").read_text()
    )


def test_the_image_is_given_every_file_that_it_copies():
    sources = [
        word
        for line in (REPOSITORY / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    sent = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert sources
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert f"!{source}" in sent, f"{source} is kept back by .dockerignore"
    assert not any(fnmatch.fnmatch(".venv", line.lstrip("!")) for line in sent[2:])


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    require("promtool")
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", PROMETHEUS / "prometheus.yml"),
        ("check", "rules", PROMETHEUS / "rules.yml"),
        ("test", "rules", PROMETHEUS / "rules.test.yml"),
        ("test", "rules", PROMETHEUS / "rules.days.test.yml"),
    ],
    ids=lambda arguments: " ".join(map(str, arguments[:2])),
)
def test_promtool_finds_nothing_wrong(arguments):
    ran = promtool(*arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_prometheus_scrapes_the_port_that_the_detector_publishes():
    prometheus = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in SERVICES
    assert SERVICES[host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f":{port}/readyz" in SERVICES[host]["healthcheck"]["test"][-1]
    assert f"EXPOSE {port}\n" in (REPOSITORY / "Dockerfile").read_text()


def test_grafana_finds_its_data_source_and_dashboards_where_they_are_mounted():
    provisioning = REPOSITORY / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    assert re.fullmatch(r"http://(\w+):9090", source["url"]).group(1) in SERVICES
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "stream-detector.yml").read_text())[
        "providers"
    ]
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
    targets = {target: source for source, target in mounts.items()}
    directory = REPOSITORY / targets[provider["options"]["path"]]
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.parent == Path(provider["options"]["path"])
    assert (directory / home.name).is_file()


def test_grafana_serves_the_runbook_where_the_panels_look_for_it():
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
    # What lies below this directory Grafana serves under /public.
    assert mounts["./docs/runbook.md"] == f"/usr/share/grafana{RUNBOOK}"
