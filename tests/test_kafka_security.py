"""TLS, SASL and access rights on a real broker: what is wrong is said at once, and no secret."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import conftest
import pytest
import yaml
from kafka_broker import security
from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from kafka_broker.security import KEY_PASSWORD, PASSWORD, USER, Authority, SecuredBroker, encrypted
from support.process import DaemonProcess, wait_until
from support.streams import SETTINGS, records

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.connection.admin import partition_counts, rights_of_daemon
from stream_detector.connectors.kafka.connection.probe import probe
from stream_detector.errors import ConfigurationError, ConnectorError, RefusedError

pytestmark = pytest.mark.kafka

WRONG = "canary-wrong-91ab"
CANARIES = (PASSWORD, KEY_PASSWORD, WRONG)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    conftest._require_java()
    if reason := security.why_unavailable():
        pytest.skip(reason)
    with security.secured_broker(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that the broker knows nothing of."""
    return Authority(tmp_path_factory.mktemp("stranger") / "ca")


@pytest.fixture(scope="module")
def prepared(secured: SecuredBroker) -> dict[str, Any]:
    """Topics and group of the user ``USER``, who may do with them what the daemon does."""
    return prepare(secured, USER)


def prepare(secured: SecuredBroker, user: str, *, without: str = "") -> dict[str, Any]:
    """Fresh topics and group as a section ``kafka``, and rights for ``user`` but for one."""
    section = {
        "topics": [create_topic(secured.bootstrap, unique_name("in"))],
        "alerts": create_topic(secured.bootstrap, unique_name("alerts")),
        "dead_letters": create_topic(secured.bootstrap, unique_name("dead")),
        "group": unique_name("group"),
        "request_timeout": "10s",
        "wait_for_input": "30s",
    }
    rights = rights_on(section)
    secured.allow([right for name, right in rights.items() if name != without], user)
    return section


def rights_on(section: dict[str, Any]) -> dict[str, security.Right]:
    journal = f"{section['group']}-journal"
    return {
        "input": ("READ", "TOPIC", section["topics"][0]),
        "alerts": ("WRITE", "TOPIC", section["alerts"]),
        "dead_letters": ("WRITE", "TOPIC", section["dead_letters"]),
        "group": ("READ", "GROUP", section["group"]),
        "transactional_id": ("WRITE", "TRANSACTIONAL_ID", f"{section['group']}-shard-0"),
        "journal_make": ("CREATE", "TOPIC", journal),
        "journal_write": ("WRITE", "TOPIC", journal),
        "journal_read": ("READ", "TOPIC", journal),
    }


def tls(secured: SecuredBroker, listener: str = "TLS", **changes: Any) -> dict[str, Any]:
    """Address and security of a TLS listener."""
    given = {"protocol": "SSL", "ca_file": str(secured.authority.certificate), **changes}
    return {"bootstrap_servers": secured.addresses[listener], "security": given}


def sasl(secured: SecuredBroker, mechanism: str, **changes: Any) -> dict[str, Any]:
    """Address and security of the listener with TLS and a login."""
    login = {"mechanism": mechanism, "username": USER, "password": PASSWORD}
    return tls(secured, "SASLTLS", **{"protocol": "SASL_SSL", **login, **changes})


def client_certificate(secured: SecuredBroker) -> dict[str, str]:
    made = secured.client
    return {"certificate_file": str(made.certificate), "key_file": str(made.key)}


def settings(section: dict[str, Any], directory: Path) -> dict[str, Any]:
    return {
        **SETTINGS,
        "detector": {"kind": "half_space_forest", "trees": 30},
        "kafka": section,
        "state": {"directory": str(directory / "state")},
        "metrics": {"port": 0},
        "logging": {"level": "debug"},
    }


def section_for(bootstrap: str, **given: Any) -> KafkaConfig:
    """A section for the probe alone, which asks for no topic."""
    topics = {"topics": ["in"], "group": "g", "alerts": "alerts", "dead_letters": "dead"}
    return KafkaConfig(bootstrap_servers=bootstrap, request_timeout="5s", **topics, **given)


def assert_no_secret(*texts: str) -> None:
    for text in texts:
        assert "canary" not in text.lower()
        for secret in CANARIES:
            for form in (secret, json.dumps(secret)[1:-1], repr(secret.encode())[2:-1]):
                assert form not in text
            assert base64.b64encode(secret.encode()).decode().rstrip("=") not in text


class Counter:
    """Passes connections on to a port and counts them."""

    def __init__(self, target: str) -> None:
        host, port = target.split(":")
        self._target = (host, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                inner, _ = self._listening.accept()
                self.connections += 1
                outer = socket.create_connection(self._target, 10)
                for pair in ((inner, outer), (outer, inner)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listening.close()


# --- what works ----------------------------------------------------------------------------------


def connections(secured: SecuredBroker, directory: Path) -> dict[str, dict[str, Any]]:
    """Every way in that is sound."""
    password_file = directory / "password"
    password_file.write_text(PASSWORD + "\n")
    key = encrypted(secured.client.key, KEY_PASSWORD)
    mutual = {**client_certificate(secured), "key_file": str(key), "key_password": KEY_PASSWORD}
    plain = {"protocol": "SASL_PLAINTEXT", "username": USER, "password": PASSWORD}
    return {
        "TLS": tls(secured),
        "mutual TLS": tls(secured, "MUTUAL", **mutual),
        "another host, not checked": tls(secured, "ELSEWHERE", check_hostname=False),
        "PLAIN": sasl(secured, "PLAIN"),
        "SCRAM-SHA-256": sasl(
            secured, "SCRAM-SHA-256", password=None, password_file=str(password_file)
        ),
        "SCRAM-SHA-512": sasl(secured, "SCRAM-SHA-512"),
        "SCRAM without TLS": {
            "bootstrap_servers": secured.addresses["SASLPLAIN"],
            "security": {**plain, "mechanism": "SCRAM-SHA-256"},
        },
    }


def test_the_probe_is_silent_where_the_client_gets_in(
    secured: SecuredBroker, prepared: dict[str, Any], tmp_path: Path
) -> None:
    for way, given in connections(secured, tmp_path).items():
        kafka = KafkaConfig.model_validate({**prepared, **given})
        probe(kafka)
        login = way not in ("TLS", "another host, not checked")  # those are anonymous, a super user
        rights = rights_of_daemon(kafka) if login else None
        counts = partition_counts(kafka, prepared["topics"], rights)
        assert counts == {prepared["topics"][0]: 1}, way


@pytest.mark.parametrize("way", ["mutual TLS", "SCRAM-SHA-256"])
def test_the_daemon_works_and_shows_no_secret_at_level_debug(
    secured: SecuredBroker, tmp_path: Path, way: str
) -> None:
    section = {**prepare(secured, USER), **connections(secured, tmp_path)[way]}
    bad = Message(b"{", 0, b"bad")
    stream = [Message(r.value, 0, b"k", r.timestamp) for r in records(1500)]
    produce(secured.bootstrap, section["topics"][0], [*stream, bad])
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready().wait_processed(1501)
        pages = [daemon.get(path)[1] for path in ("/metrics", "/readyz", "/healthz", "/")]
        assert daemon.stop() == 0, daemon.text()
        assert "DEBUG" in daemon.text()
        assert_no_secret(daemon.text(), *pages)
    letters = consume_all(secured.bootstrap, section["dead_letters"])
    assert len(letters) == 1
    alerts = consume_all(secured.bootstrap, section["alerts"])
    assert alerts
    assert_no_secret(*(repr(record) for record in [*letters, *alerts]))


def test_check_names_topics_and_shows_no_secret(
    secured: SecuredBroker, prepared: dict[str, Any], tmp_path: Path
) -> None:
    section = {**prepared, **sasl(secured, "SCRAM-SHA-512")}
    sound = command(tmp_path, section, "check", "--connect")
    assert sound.returncode == 0, sound.stderr
    assert f"{section['topics'][0]}" in sound.stdout
    section["security"]["password"] = WRONG
    refused = command(tmp_path, section, "check", "--connect")
    assert refused.returncode == 3
    assert "wrong password of the user detector" in refused.stderr
    assert_no_secret(sound.stdout, sound.stderr, refused.stdout, refused.stderr)


MISSING_RIGHTS = {
    "journal_make": "the daemon may not make it",
    "journal_write": "kafka.journal: the user detector is not authorised to write to",
    "transactional_id": "kafka.delivery: the user detector is not authorised for the",
    "group": "kafka.group: the user detector is not authorised to use",
    "alerts": "kafka.alerts: the user detector is not authorised to write to",
}


def test_check_names_every_missing_right_at_once_and_what_it_was_not_told(
    secured: SecuredBroker, prepared: dict[str, Any], tmp_path: Path
) -> None:
    section = {**prepared, **sasl(secured, "SCRAM-SHA-512")}
    sound = command(tmp_path, section, "check", "--connect", "--strict")
    assert sound.returncode == 3
    assert "0 errors" in sound.stderr
    for words in ("limits of broker 1", "the transactional id", "grant DescribeConfigs", "quotas"):
        assert re.search(f"^not checked: .*{words}", sound.stdout, re.MULTILINE), sound.stdout
    for name in MISSING_RIGHTS:
        secured.withdraw(rights_on(section)[name])
    refused = command(tmp_path, section, "check", "--connect")
    assert refused.returncode == 3
    for words in MISSING_RIGHTS.values():
        assert re.search(f"^error: .*{words}", refused.stdout, re.MULTILINE), refused.stdout


def command(
    directory: Path, section: dict[str, Any], name: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings(section, directory)))
    return subprocess.run(
        [sys.executable, "-m", "stream_detector", name, str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- the login and the certificates --------------------------------------------------------------

REFUSED = {
    "wrong password": "authentication failed: wrong password of the user detector",
    "unknown authority": "its certificate is of an authority unknown to",
    "expired certificate": "its certificate has expired",
    "certificate of another host": "its certificate is for another host",
    "no client certificate": "it demands a client certificate",
}


def refused(case: str, secured: SecuredBroker, stranger: Authority) -> dict[str, Any]:
    """Address and security of a case in ``REFUSED``."""
    if case == "wrong password":
        return sasl(secured, "SCRAM-SHA-256", password=WRONG)
    if case == "unknown authority":
        return tls(secured, ca_file=str(stranger.certificate))
    listeners = {"expired certificate": "EXPIRED", "no client certificate": "MUTUAL"}
    return tls(secured, listeners.get(case, "ELSEWHERE"))


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_ends_the_daemon_at_once_with_its_cause(
    secured: SecuredBroker, prepared: dict[str, Any], stranger: Authority, tmp_path: Path, case: str
) -> None:
    section = {**prepared, **refused(case, secured, stranger)}
    counter = Counter(section["bootstrap_servers"])
    section["bootstrap_servers"] = counter.address
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        assert daemon.wait() == 3, daemon.text()
    counter.close()
    text = daemon.text()
    said = [line for line in text.splitlines() if line.startswith("stream-detector: ")]
    assert len(said) == 1, text
    assert said[0].startswith(f"stream-detector: cannot reach the broker at {counter.address}: ")
    assert REFUSED[case] in said[0]
    assert "Traceback" not in text
    assert 1 <= counter.connections <= 2, "a storm of attempts, or none"
    assert_no_secret(text)


@pytest.mark.parametrize(
    ("listener", "given", "said"),
    [
        ("SASLPLAIN", {"mechanism": "SCRAM-SHA-512"}, "does not offer the mechanism SCRAM-SHA-512"),
        ("SASLPLAIN", {"username": "nobody"}, "wrong password of the user nobody, or no such user"),
        ("SASLPLAIN", {"protocol": "SASL_SSL"}, "set the protocol SASL_PLAINTEXT"),
        ("SASLTLS", {}, "this port speaks TLS: set the protocol SASL_SSL"),
        ("TLS", {"protocol": "SASL_SSL"}, "this port takes no login"),
        ("PLAINTEXT", {}, "this port takes no login"),
    ],
)
def test_the_probe_tells_a_wrong_login(
    secured: SecuredBroker, listener: str, given: dict[str, str], said: str
) -> None:
    login = {"mechanism": "SCRAM-SHA-256", "username": USER, "password": PASSWORD}
    security_section = {"protocol": "SASL_PLAINTEXT", **login, **given}
    if security_section["protocol"] == "SASL_SSL":
        security_section["ca_file"] = str(secured.authority.certificate)
    address = secured.addresses.get(listener, secured.bootstrap)
    with pytest.raises(RefusedError, match=said) as failure:
        probe(section_for(address, security=security_section))
    assert_no_secret(str(failure.value))


@pytest.mark.parametrize(("listener", "protocol"), [("SASLPLAIN", "PLAINTEXT"), ("SASLTLS", "SSL")])
def test_the_probe_tells_that_a_login_is_wanted(
    secured: SecuredBroker, listener: str, protocol: str
) -> None:
    authority = {"ca_file": str(secured.authority.certificate)} if protocol == "SSL" else {}
    given = section_for(secured.addresses[listener], security={"protocol": protocol, **authority})
    with pytest.raises(RefusedError, match=f"demands a login: set the protocol SASL_{protocol}"):
        probe(given)


def test_the_probe_tells_a_wrong_password_of_every_mechanism(secured: SecuredBroker) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        given = sasl(secured, mechanism, password=WRONG)
        section = section_for(given["bootstrap_servers"], security=given["security"])
        with pytest.raises(RefusedError, match="wrong password of the user detector") as failure:
            probe(section)
        assert_no_secret(str(failure.value))


def test_the_probe_tells_the_wrong_port_and_the_wrong_client_certificate(
    secured: SecuredBroker, stranger: Authority
) -> None:
    made = stranger.issue("stranger")
    files = {"certificate_file": str(made.certificate), "key_file": str(made.key)}
    mutual, over_tls = tls(secured, "MUTUAL", **files), tls(secured)
    for address, given, said in (
        (mutual["bootstrap_servers"], mutual["security"], "it refuses the client certificate"),
        (over_tls["bootstrap_servers"], {}, "this port speaks TLS: set the protocol SSL"),
        (secured.bootstrap, over_tls["security"], "this port speaks without TLS"),
    ):
        with pytest.raises(RefusedError, match=said):
            probe(section_for(address, security=given))


def test_one_server_that_lets_us_in_is_enough(secured: SecuredBroker) -> None:
    probe(section_for(f"127.0.0.1:1,{secured.bootstrap}"))


# --- what waiting can cure -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "127.0.0.1:1: connection refused"),
        ("no-such-host.invalid:9092", "the name no-such-host.invalid cannot be resolved"),
        ("127.0.0.1:1,127.0.0.1:2", "127.0.0.1:1: connection refused; 127.0.0.1:2: connection"),
    ],
)
def test_a_broker_that_is_not_there_is_told_but_no_refusal(address: str, said: str) -> None:
    with pytest.raises(ConnectorError, match=said) as failure:
        probe(section_for(address))
    assert not isinstance(failure.value, RefusedError)


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_a_port_that_says_nothing_is_given_up_in_time(protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        section = section_for(
            f"127.0.0.1:{silent.getsockname()[1]}", security={"protocol": protocol}
        ).model_copy(update={"request_timeout": 0.5})
        with pytest.raises(ConnectorError, match="no answer in time"):
            probe(section)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\5\0\0\0\1x", b""])
def test_what_is_no_broker_is_said_to_be_none(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        login = {"mechanism": "PLAIN", "username": USER, "password": PASSWORD}
        section = section_for(
            f"127.0.0.1:{listening.getsockname()[1]}",
            security={"protocol": "SASL_PLAINTEXT", **login},
        )
        with pytest.raises(ConnectorError, match=r"no Kafka broker|closed the connection"):
            probe(section)


@pytest.mark.parametrize("address", ["a:b", "a:"])
def test_an_address_that_is_none_is_a_mistake_of_the_configuration(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"kafka\.bootstrap_servers"):
        probe(section_for(address))


# --- rights --------------------------------------------------------------------------------------

MISSING = {
    "input": "is not authorised to read the topic in-",
    "alerts": "is not authorised to write to the topic alerts-",
    "dead_letters": "is not authorised to write to the topic dead-",
    "group": "is not authorised to use the group group-",
    "transactional_id": "not authorised for the transactional id group-",
}


@pytest.mark.parametrize("missing", MISSING)
def test_a_missing_right_ends_the_daemon_at_once_and_is_named(
    secured: SecuredBroker, tmp_path: Path, missing: str
) -> None:
    user = unique_name("user")
    secured.add_user(user, PASSWORD)
    section = {
        **prepare(secured, user, without=missing),
        **sasl(secured, "SCRAM-SHA-256", username=user),
    }
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        assert daemon.wait() == 3, daemon.text()
    said = [line for line in daemon.text().splitlines() if line.startswith("stream-detector: ")]
    assert len(said) == 1
    assert MISSING[missing] in said[0]
    assert rights_on(section)[missing][2] in said[0]
    assert "missing topics" not in daemon.text()
    assert "Traceback" not in said[0]
    assert_no_secret(daemon.text())


def test_the_right_to_see_a_topic_is_not_the_right_to_read_it(
    secured: SecuredBroker, tmp_path: Path
) -> None:
    user = unique_name("user")
    secured.add_user(user, PASSWORD)
    section = prepare(secured, user, without="input")
    secured.allow([("DESCRIBE", "TOPIC", section["topics"][0])], user)
    given = {**section, **sasl(secured, "SCRAM-SHA-256", username=user)}
    kafka = KafkaConfig.model_validate(given)
    topics = list(rights_of_daemon(kafka))

    def seen() -> bool:
        with contextlib.suppress(RefusedError):
            return len(partition_counts(kafka, topics)) == 3
        return False

    wait_until(seen, "the rights to be there")
    with pytest.raises(RefusedError, match=f"{user} is not authorised to read the topic in-"):
        partition_counts(kafka, topics, rights_of_daemon(kafka))


@pytest.mark.parametrize("withdrawn", ["input", "alerts"])
def test_a_right_withdrawn_while_the_daemon_runs_ends_it_and_is_named(
    secured: SecuredBroker, tmp_path: Path, withdrawn: str
) -> None:
    user = unique_name("user")
    secured.add_user(user, PASSWORD)
    section = {**prepare(secured, user), **sasl(secured, "SCRAM-SHA-256", username=user)}
    stream = [Message(r.value, 0, b"k", r.timestamp) for r in records(3000)]
    topic = section["topics"][0]
    produce(secured.bootstrap, topic, stream[:500])
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready().wait_processed(500)
        secured.withdraw(rights_on(section)[withdrawn], user)
        produce(secured.bootstrap, topic, stream[500:])
        assert daemon.wait() == 3, daemon.text()
    said = [line for line in daemon.text().splitlines() if line.startswith("stream-detector: ")]
    assert len(said) == 1
    assert "authori" in said[0].lower()
    assert rights_on(section)[withdrawn][2] in said[0]
    assert_no_secret(daemon.text())
