"""A broker with TLS, SASL and access rights: certificates, listeners, users, ACLs.

One broker has all listeners, each on a port of its own; ``PLAINTEXT`` is left to the test, whose
anonymous user may do everything. Certificates are made with the ``openssl`` command.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)

from kafka_broker.broker import HOST, Broker, free_ports
from kafka_broker.clients import admin_client

USER = "detector"
PASSWORD = "canary-Pa55,word=ünïcode-7f3a"
"""With what SCRAM, JAAS and properties files could trip over."""

KEY_PASSWORD = "canary-key-2b9c"

LISTENERS = {
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "EXPIRED": "SSL",
    "ELSEWHERE": "SSL",
    "SASLTLS": "SASL_SSL",
    "SASLPLAIN": "SASL_PLAINTEXT",
}
"""Listener: its protocol. EXPIRED shows an old certificate, ELSEWHERE that of another host."""

Right = tuple[str, str, str]
"""Operation, kind of resource and its name: ``("READ", "TOPIC", "events")``."""

_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
_PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


def why_unavailable() -> str | None:
    """Why no certificates can be made here, or None where they can."""
    return None if shutil.which("openssl") else "openssl is not installed"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key (PKCS #8), both PEM."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.certificate = directory / "ca.pem"
        self._key = directory / "ca.key"
        name = ("-subj", f"/CN=test authority {directory.name}")
        new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30")
        _openssl(*new, *name, "-keyout", self._key, "-out", self.certificate)

    def issue(self, name: str, *, names: str = f"IP:{HOST}", expired: bool = False) -> Certificate:
        """A certificate for ``CN=name`` whose alternative names are ``names``."""
        key, request = self.directory / f"{name}.key", self.directory / f"{name}.csr"
        made = Certificate(self.directory / f"{name}.pem", key)
        subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={names}")
        _openssl("req", "-newkey", "rsa:2048", "-nodes", *subject, "-keyout", key, "-out", request)
        database = self.directory / "index.txt"
        database.write_text("")
        settings = self.directory / "ca.cnf"
        settings.write_text(
            "[ca]\ndefault_ca=d\n[d]\n"
            f"database={database}\nnew_certs_dir={self.directory}\nrand_serial=yes\n"
            "default_md=sha256\npolicy=p\ncopy_extensions=copy\nunique_subject=no\n"
            "x509_extensions=e\n[p]\ncommonName=supplied\n[e]\nbasicConstraints=CA:FALSE\n"
            "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
        )
        now = time.time()
        first, last = (now - 3e6, now - 86_400) if expired else (now - 86_400, now + 2e6)
        _openssl(
            "ca",
            "-batch",
            "-notext",
            "-config",
            settings,
            "-startdate",
            _asn1_time(first),
            "-enddate",
            _asn1_time(last),
            "-cert",
            self.certificate,
            "-keyfile",
            self._key,
            "-in",
            request,
            "-out",
            made.certificate,
        )  # fmt: skip - options with their values
        return made


def encrypted(key: Path, password: str) -> Path:
    """A copy of a private key that needs a password."""
    target = key.with_suffix(".encrypted.key")
    _openssl("pkcs8", "-topk8", "-in", key, "-out", target, "-passout", f"pass:{password}")
    return target


@dataclass(frozen=True, slots=True)
class SecuredBroker:
    """A running broker, the address of each listener, and what a client needs."""

    broker: Broker
    addresses: Mapping[str, str]
    authority: Authority
    client: Certificate

    @property
    def bootstrap(self) -> str:
        """Address of the listener without security."""
        return self.broker.bootstrap

    def allow(self, rights: Iterable[Right], user: str = USER) -> None:
        """Give rights, for example ``allow([("READ", "TOPIC", "events")])``."""
        made = [
            ACL(_principal(user), "*", ACLOperation[operation], ACLPermissionType.ALLOW, pattern)
            for operation, kind, name in rights
            for pattern in [ResourcePattern(ResourceType[kind], name)]
        ]
        with admin_client(self.bootstrap) as admin:
            assert not admin.create_acls(made)["failed"]

    def withdraw(self, right: Right, user: str = USER) -> None:
        """Take a right away again."""
        operation, kind, name = right
        pattern = ResourcePattern(ResourceType[kind], name)
        which = (_principal(user), "*", ACLOperation[operation], ACLPermissionType.ALLOW, pattern)
        with admin_client(self.bootstrap) as admin:
            ((_, removed, _),) = admin.delete_acls([ACLFilter(*which)])
            assert len(removed) == 1

    def add_user(self, name: str, password: str) -> None:
        """Make a SCRAM user, or change the password of one."""
        with admin_client(self.bootstrap) as admin:
            for mechanism in _MECHANISMS[1:]:  # one a request: Kafka refuses two of one user
                credential = UserScramCredentialUpsertion(name, mechanism, password)
                answers = admin.alter_user_scram_credentials([credential])
                assert not any(answers.values()), answers


@contextlib.contextmanager
def secured_broker(directory: Path) -> Iterator[SecuredBroker]:
    """A broker with all ``LISTENERS`` and the user ``USER`` in every mechanism, without rights."""
    authority = Authority(directory / "authority")
    certificates = {
        "TLS": authority.issue("broker"),
        "EXPIRED": authority.issue("expired", expired=True),
        "ELSEWHERE": authority.issue("elsewhere", names="DNS:kafka.example.org"),
    }
    broker = Broker(directory / "broker")
    ports = free_ports(len(LISTENERS))
    addresses = {name: f"{HOST}:{port}" for name, port in zip(LISTENERS, ports, strict=True)}
    added = ",".join(f"{name}://{address}" for name, address in addresses.items())
    for key in ("listeners", "advertised.listeners"):
        broker.properties[key] = f"{broker.properties[key]},{added}"
    broker.properties |= _listener_properties(authority, certificates) | _rights()
    with broker:
        secured = SecuredBroker(broker, addresses, authority, authority.issue("client"))
        secured.add_user(USER, PASSWORD)
        yield secured


def _listener_properties(
    authority: Authority, certificates: Mapping[str, Certificate]
) -> dict[str, object]:
    protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **LISTENERS}
    made: dict[str, object] = {
        "listener.security.protocol.map": ",".join(f"{n}:{p}" for n, p in protocols.items()),
        "sasl.enabled.mechanisms": ",".join(_MECHANISMS),
        # Not all of them, so that one can be asked for in vain.
        "listener.name.saslplain.sasl.enabled.mechanisms": ",".join(_MECHANISMS[:2]),
    }
    for name, protocol in LISTENERS.items():
        prefix = f"listener.name.{name.lower()}"
        if "SSL" in protocol:
            store = _key_store(certificates.get(name, certificates["TLS"]))
            made |= {
                f"{prefix}.ssl.keystore.type": "PEM",
                f"{prefix}.ssl.keystore.location": store,
                f"{prefix}.ssl.truststore.type": "PEM",
                f"{prefix}.ssl.truststore.location": authority.certificate,
                f"{prefix}.ssl.client.auth": "required" if name == "MUTUAL" else "none",
            }
        if "SASL" in protocol:
            for mechanism in _MECHANISMS[1:]:
                made[f"{prefix}.{mechanism.lower()}.sasl.jaas.config"] = (
                    f"{_SCRAM_MODULE} required;"
                )
            made[f"{prefix}.plain.sasl.jaas.config"] = (
                f'{_PLAIN_MODULE} required user_{USER}="{_escaped(PASSWORD)}";'
            )
    return made


def _rights() -> dict[str, object]:
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # ANONYMOUS is whoever comes without SASL and client certificate, the controller too.
        "super.users": "User:ANONYMOUS;User:CN=client",
        "allow.everyone.if.no.acl.found": "false",
    }


def _principal(user: str) -> str:
    return f"User:{user}"


def _key_store(certificate: Certificate) -> Path:
    store = certificate.certificate.with_suffix(".store.pem")
    store.write_text(certificate.key.read_text() + certificate.certificate.read_text())
    return store


def _escaped(text: str) -> str:
    """As a properties file, which is Latin-1, wants it."""
    return text.encode("ascii", "backslashreplace").decode().replace("\\x", "\\u00")


def _asn1_time(seconds: float) -> str:
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(seconds))


def _openssl(*arguments: object) -> None:
    command = ["openssl", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{ran.stderr}")
