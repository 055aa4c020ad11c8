"""The job on Spark at a broker with TLS, SASL and access rights; no secret where Spark shows."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.clients import Message, produce, unique_name
from kafka_broker.security import USER, SecuredBroker
from support.streams import SETTINGS, spoilt
from test_batches import LABELLED
from test_kafka_security import (  # noqa: F401 - fixtures
    assert_no_secret,
    client_certificate,
    prepare,
    sasl,
    secured,
    tls,
)
from test_spark import Place, jars  # noqa: F401 - a fixture

from stream_detector.config.models.kafka import KafkaSecurityConfig
from stream_detector.errors import ConfigurationError
from stream_detector.spark.security import reader_options

PEM = "-----BEGIN {0}-----\nAAAA\n-----END {0}-----\n"


def test_a_login_is_quoted_as_jaas_reads_it() -> None:
    given = {"mechanism": "PLAIN", "username": 'a"b', "password": 'x\\y"z; password="'}
    found = reader_options(KafkaSecurityConfig(protocol="SASL_PLAINTEXT", **given))
    assert found == {
        "kafka.security.protocol": "SASL_PLAINTEXT",
        "kafka.sasl.mechanism": "PLAIN",
        "kafka.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule "
        'required username="a\\"b" password="x\\\\y\\"z; password=\\"";',
    }


def test_without_security_nothing_but_the_protocol_is_said() -> None:
    assert reader_options(KafkaSecurityConfig()) == {"kafka.security.protocol": "PLAINTEXT"}


def test_a_key_that_java_cannot_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    certificate.write_text(PEM.format("CERTIFICATE"))
    monkeypatch.setattr("stream_detector.spark.security.security_settings", lambda _: {})
    security = KafkaSecurityConfig(
        protocol="SSL", certificate_file=str(certificate), key_file=str(key)
    )
    for form in ("RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"):
        key.write_text(PEM.format(form))
        with pytest.raises(ConfigurationError, match=r"key\.pem is not in PKCS #8 without"):
            reader_options(security)
    key.write_text(PEM.format("PRIVATE KEY"))
    assert reader_options(security)["kafka.ssl.keystore.key"] == key.read_text()


def logins(broker: SecuredBroker) -> dict[str, dict[str, Any]]:
    return {
        "SCRAM over TLS": sasl(broker, "SCRAM-SHA-512"),
        "client certificate": tls(broker, "MUTUAL", **client_certificate(broker)),
    }


@pytest.mark.kafka
@pytest.mark.timeout(1800)
@pytest.mark.skipif(find_spec("pyspark") is None, reason="make spark installs pyspark")
def test_the_job_reads_with_tls_and_login_and_shows_no_secret(
    secured: SecuredBroker,  # noqa: F811
    jars: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    some = spoilt(600)
    accepted = len(some) - len(range(50, 600, 97))
    found = {}
    for name, login in logins(secured).items():
        directory = tmp_path / unique_name("job")
        for own in ("events", "conf"):
            (directory / own).mkdir(parents=True)
        (directory / "conf" / "spark-defaults.conf").write_text(
            f"spark.eventLog.enabled true\nspark.eventLog.dir file:{directory}/events\n"
            "spark.eventLog.compress false\n"
        )
        section = prepare(secured, USER)
        sent = [Message(one.value, 0, b"k", one.timestamp) for one in some]
        produce(secured.bootstrap, section["topics"][0], sent)
        document = {
            **SETTINGS,
            **LABELLED,
            "threshold": {"budget": "3 %", "burn_in": 64},
            "kafka": {**section, **login, "start": "earliest"},
            "state": {"directory": str(directory / "state")},
            "metrics": {"enabled": False},
            "logging": {"level": "debug"},
        }
        document["event"] = {**document["event"], "max_ahead": "3650d"}
        here = Place(secured.bootstrap, directory, document, jars)
        with here.job("local[2,4]", 4, 200, SPARK_CONF_DIR=str(directory / "conf")) as process:
            assert here.wait_for(accepted, process), here.log()
        # But for the names of the topics, which are each run's own.
        found[name] = [json.loads(one)["score"] for one in here.alerts()]
        written = [each for each in directory.rglob("*") if each.is_file()]
        shown = [each for each in written if each.name != "config.json"]
        plans = (directory / "events").rglob("*")
        assert any(b"physicalPlan" in each.read_bytes() for each in plans if each.is_file())
        assert_no_secret(*(each.read_bytes().decode("utf-8", "replace") for each in shown))
        keys = secured.client.key.read_text().splitlines()[1:3]
        assert not [each for each in shown for key in keys if key.encode() in each.read_bytes()]
    alerts = list(found.values())
    assert alerts[0] == alerts[1]
    assert alerts[0]
