"""TLS and SASL as Spark's reader of Kafka wants them, from the section ``kafka.security``."""

from __future__ import annotations

from stream_detector.config.models.config import KafkaSecurityConfig
from stream_detector.connectors.kafka.connection.settings import read_setting, security_settings
from stream_detector.errors import ConfigurationError

REDACTED = "(?i)secret|password|token|access[.]?key|jaas|keystore|ssl[.]key"
"""Names of settings whose values Spark is to show nowhere: what it hides by itself, and ours."""

_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})
_KEY = "-----BEGIN PRIVATE KEY-----"


def reader_options(security: KafkaSecurityConfig) -> dict[str, str]:
    """Options of the source. Certificates go by their content: executors may lack the files.

    Raises ``ConfigurationError`` where a file cannot be used.
    """
    settings = security_settings(security)  # reads and checks all files, as for the daemon
    options: dict[str, str] = {"security.protocol": security.protocol}
    if security.protocol in ("SSL", "SASL_SSL"):
        options |= _tls(security)
    if security.protocol.startswith("SASL"):
        name, password = settings["sasl_plain_username"], settings["sasl_plain_password"]
        options["sasl.mechanism"] = str(security.mechanism)
        options["sasl.jaas.config"] = (
            f"{_MODULES[str(security.mechanism)]} required "
            f"username={_quoted(name)} password={_quoted(password)};"
        )
    return {f"kafka.{name}": value for name, value in options.items()}


def _tls(security: KafkaSecurityConfig) -> dict[str, str]:
    options = {}
    if not security.check_hostname:
        options["ssl.endpoint.identification.algorithm"] = ""
    if security.ca_file is not None:
        options["ssl.truststore.type"] = "PEM"
        options["ssl.truststore.certificates"] = _text("ca_file", security.ca_file)
    if security.certificate_file is not None and security.key_file is not None:
        key = _text("key_file", security.key_file)
        if _KEY not in key:
            raise ConfigurationError(
                f"kafka.security.key_file: {security.key_file} is not in PKCS #8 without a "
                "password, which Spark's reader of Kafka needs: openssl pkcs8 -topk8 -nocrypt "
                "makes it so"
            )
        certificates = _text("certificate_file", security.certificate_file)
        options["ssl.keystore.type"] = "PEM"
        options["ssl.keystore.certificate.chain"] = certificates
        options["ssl.keystore.key"] = key
    return options


def _text(setting: str, path: str) -> str:
    return read_setting(setting, path).decode("ascii", "replace")


def _quoted(value: str) -> str:
    """As JAAS reads what stands between quotes."""
    return f'"{value.translate(_ESCAPED)}"'
