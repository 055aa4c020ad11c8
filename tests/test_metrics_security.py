"""The metrics server behind TLS and a password, asked by real clients; and clients that stall."""

from __future__ import annotations

import base64
import http.client
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.security import Authority, encrypted, why_unavailable
from pydantic import ValidationError
from support.process import wait_until

from stream_detector.config.models.config import MetricsConfig
from stream_detector.errors import ConfigurationError
from stream_detector.telemetry import connections
from stream_detector.telemetry.access import Access
from stream_detector.telemetry.connections import MAX_CONNECTIONS
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.server import HealthState, MetricsServer

PASSWORD = "canary-µ:Pa55-31cd"
LOGIN = {"username": "prometheus", "password": PASSWORD}

needs_openssl = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> dict[str, str]:
    made = authority.issue("metrics")
    return {"certificate_file": str(made.certificate), "key_file": str(made.key)}


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Starts servers with a section ``metrics`` and gives their port; stops them at the end."""
    with ExitStack() as stack:

        def start(deadline_seconds: float = 10.0, **section: Any) -> int:
            access = Access(MetricsConfig(**section))
            made = MetricsServer(
                Metrics(),
                HealthState(),
                "127.0.0.1",
                0,
                access=access,
                deadline_seconds=deadline_seconds,
            )
            made.start()
            stack.callback(made.stop)
            return made.port

        yield start


def trusting(authority: Authority, client: dict[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if client is not None:
        context.load_cert_chain(client["certificate_file"], client["key_file"])
    return context


def get(
    port: int, path: str, *, context: ssl.SSLContext | None = None, login: str | None = None
) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers."""
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    headers = {} if login is None else {"Authorization": login}
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())
    finally:
        connection.close()


def basic(username: str = "prometheus", password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


# --- the password --------------------------------------------------------------------------------


def test_metrics_need_the_password_and_health_does_not(serve: Callable[..., int]) -> None:
    port = serve(**LOGIN)
    status, body, _ = get(port, "/metrics", login=basic())
    assert status == 200
    assert "stream_detector_ready" in body
    assert get(port, "/", login=basic())[0] == 200
    assert get(port, "/nowhere", login=basic())[0] == 404
    for path in ("/metrics", "/", "/nowhere", "/healthz/../metrics"):
        status, body, headers = get(port, path)
        assert status == 401, path
        assert headers["WWW-Authenticate"].startswith("Basic realm=")
        assert "stream_detector" not in body
    assert get(port, "/healthz")[1] == "ok\n"
    assert get(port, "/readyz")[0] == 503  # not ready yet, but not forbidden


@pytest.mark.parametrize(
    "login",
    [
        basic(password="wrong"),
        basic(password=PASSWORD[:-1]),
        basic(password=PASSWORD + "x"),
        basic(username="other"),
        basic(username="", password=""),
        "Basic",
        "Basic !!!",
        "Basic " + "A" * 5000,
        "Bearer " + PASSWORD,
        PASSWORD,
        "",
    ],
)
def test_a_wrong_login_is_refused(serve: Callable[..., int], login: str) -> None:
    port = serve(**LOGIN)
    status, body, headers = get(port, "/metrics", login=login)
    assert status == 401
    assert PASSWORD not in body + str(headers)


def test_the_password_may_come_from_a_file(serve: Callable[..., int], tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n", encoding="utf-8")
    port = serve(username="prometheus", password_file=str(path))
    assert get(port, "/metrics", login=basic())[0] == 200
    assert get(port, "/metrics", login=basic(password="wrong"))[0] == 401


def test_without_a_section_everybody_on_this_machine_may_see_them(
    serve: Callable[..., int],
) -> None:
    assert MetricsConfig().host == "127.0.0.1"
    assert get(serve(), "/metrics")[0] == 200


def test_the_password_shows_in_no_text_of_the_section() -> None:
    section = MetricsConfig(**LOGIN)
    assert PASSWORD not in f"{section!r} {section} {section.model_dump_json()}"


# --- TLS -----------------------------------------------------------------------------------------


@needs_openssl
def test_over_tls_with_password(
    serve: Callable[..., int], authority: Authority, certificate: dict[str, str]
) -> None:
    port = serve(**certificate, **LOGIN)
    context = trusting(authority)
    status, body, _ = get(port, "/metrics", context=context, login=basic())
    assert status == 200
    assert "stream_detector_ready" in body
    assert get(port, "/metrics", context=context)[0] == 401
    assert get(port, "/healthz", context=context)[0] == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        get(port, "/metrics", context=ssl.create_default_context())
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        get(port, "/metrics")
    old = trusting(authority)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert get(port, "/healthz", context=old)[0] == 200


@needs_openssl
def test_over_mutual_tls_only_a_known_client_is_let_in(
    serve: Callable[..., int], authority: Authority, certificate: dict[str, str], tmp_path: Path
) -> None:
    port = serve(**certificate, client_ca_file=str(authority.certificate))
    made = authority.issue("client")
    client = {"certificate_file": str(made.certificate), "key_file": str(made.key)}
    assert get(port, "/metrics", context=trusting(authority, client))[0] == 200
    foreign = Authority(tmp_path / "foreign").issue("client")
    stranger = {"certificate_file": str(foreign.certificate), "key_file": str(foreign.key)}
    for unknown in (None, stranger):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            get(port, "/healthz", context=trusting(authority, unknown))
    assert get(port, "/metrics", context=trusting(authority, client))[0] == 200


@needs_openssl
def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(
    serve: Callable[..., int], authority: Authority, certificate: dict[str, str], tmp_path: Path
) -> None:
    used = {name: str(tmp_path / name) for name in certificate}
    for name, path in used.items():
        shutil.copyfile(certificate[name], path)
    port = serve(**used)
    context = trusting(authority)
    moments = iter(range(1, 10))

    def put(certificate_file: Path, key_file: Path) -> None:
        for name, path in (("certificate_file", certificate_file), ("key_file", key_file)):
            shutil.copyfile(path, used[name])
            os.utime(used[name], (next(moments), 0))

    def shown() -> str:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
        ):
            subject: Any = (encrypted.getpeercert() or {})["subject"]
            return str(subject[0][0][1])

    assert shown() == "metrics"
    renewed = authority.issue("renewed")
    put(renewed.certificate, renewed.key)
    assert shown() == "renewed"
    put(renewed.certificate, authority.issue("other").key)
    assert shown() == "renewed"


WRONG_FILES = {
    "certificate_file": ["missing", "directory", "empty", "key"],
    "key_file": ["missing", "directory", "empty", "certificate", "encrypted", "other"],
    "client_ca_file": ["missing", "directory", "empty", "key"],
    "password_file": ["missing", "directory", "empty", "binary"],
}


@needs_openssl
@pytest.mark.parametrize("setting", WRONG_FILES)
def test_a_wrong_file_is_a_mistake_of_the_configuration_with_its_setting(
    authority: Authority, certificate: dict[str, str], tmp_path: Path, setting: str
) -> None:
    key = Path(certificate["key_file"])
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    files = {
        "missing": tmp_path / "missing",
        "directory": tmp_path,
        "empty": tmp_path / "empty",
        "binary": tmp_path / "binary",
        "key": key,
        "certificate": Path(certificate["certificate_file"]),
        "encrypted": encrypted(key, PASSWORD),
        "other": authority.issue("someone").key,
    }
    whole = {**certificate, "client_ca_file": str(authority.certificate)}
    for kind in WRONG_FILES[setting]:
        given = {"username": "p"} if setting == "password_file" else whole
        section = MetricsConfig(**{**given, setting: str(files[kind])})
        with pytest.raises(ConfigurationError, match=rf"metrics\.{setting}: ") as failure:
            Access(section)
        assert str(files[kind]) in str(failure.value)
        assert "canary" not in str(failure.value)


@pytest.mark.parametrize(
    "given",
    [
        {"certificate_file": "a"},
        {"key_file": "a"},
        {"client_ca_file": "a"},
        {"username": "a"},
        {"username": "a:b", "password": PASSWORD},
        {"username": "", "password": PASSWORD},
        {"username": "a", "password": ""},
        {"password": PASSWORD},
        {"password_file": "a"},
        {**LOGIN, "password_file": "a"},
    ],
)
def test_settings_that_do_not_go_together_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as failure:
        MetricsConfig(**given)
    assert PASSWORD not in str(failure.value)


# --- clients that stall --------------------------------------------------------------------------


def stalled(port: int, start: bytes, context: ssl.SSLContext | None = None) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 10)
    if context is not None:
        connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
    connection.sendall(start)
    return connection


@needs_openssl
@pytest.mark.parametrize("stage", ["plain request", "handshake", "request over TLS"])
def test_clients_that_stall_neither_block_a_scrape_nor_pile_up(
    serve: Callable[..., int], authority: Authority, certificate: dict[str, str], stage: str
) -> None:
    tls = stage != "plain request"
    context = trusting(authority) if tls else None
    port = serve(2.0, **(certificate if tls else {}), **LOGIN)
    before = threading.active_count()
    start = b"\x16\x03\x01" if stage == "handshake" else b"GET /metrics HTTP/1.1\r\nX-Slow: "
    with ExitStack() as stack:
        for _ in range(3 * MAX_CONNECTIONS):
            wrapped = context if stage == "request over TLS" else None
            stack.enter_context(stalled(port, start, wrapped))
        for _ in range(3):
            assert get(port, "/metrics", context=context, login=basic())[0] == 200
        assert threading.active_count() <= before + MAX_CONNECTIONS + 1
        # The deadline of each passes, though none of them has closed.
        wait_until(lambda: threading.active_count() <= before, "the stalled threads to end")
    assert get(port, "/metrics", context=context, login=basic())[0] == 200


@needs_openssl
def test_a_client_that_drips_is_cut_by_the_deadline(
    serve: Callable[..., int], authority: Authority, certificate: dict[str, str]
) -> None:
    port = serve(1.0, **certificate)
    with stalled(port, b"GET /metrics HTTP/1.1\r\n", trusting(authority)) as connection:

        def cut() -> bool:
            try:
                connection.sendall(b"X-A: b\r\n")
            except OSError:
                return True
            return False

        wait_until(cut, "the end of the connection", every=0.1)
    assert connections.SOCKET_TIMEOUT_SECONDS > 1.0  # it was not the socket's timeout
    assert get(port, "/metrics", context=trusting(authority))[0] == 200
