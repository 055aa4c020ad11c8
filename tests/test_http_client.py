"""The client of webhooks: what servers do to connections, and what no message may show."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.security import Authority
from support.endpoint import Endpoint

from stream_detector.config.models.forward import HttpConfig
from stream_detector.connectors.http_client import HttpClient, NoAnswerError
from stream_detector.errors import ConfigurationError
from stream_detector.forwarding.outcome import judged, no_answer

TOKEN = "s3cr3t-t0ken-that-nobody-sees"


def client(url: str, **more: Any) -> HttpClient:
    given = {"url": url, "request_timeout": "500ms", **more}
    return HttpClient("forward.targets[0]", HttpConfig.model_validate(given))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as running:
        yield running


def outcome(one: HttpClient, body: bytes = b"{}") -> str:
    try:
        return judged(one.host, one.request("POST", body, {})).kind
    except NoAnswerError as error:
        return f"{no_answer(error).kind} {error.kind}"


def test_a_connection_is_used_again_and_one_that_has_gone_is_replaced_at_once(
    endpoint: Endpoint,
) -> None:
    one = client(endpoint.url)
    assert [outcome(one) for _ in range(3)] == ["sent"] * 3
    assert endpoint.connections == 1
    endpoint.script = lambda _: "close"
    assert [outcome(one) for _ in range(3)] == ["sent"] * 3
    assert len(endpoint.taken) == 6
    one.close()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("200", "sent"),
        ("204", "sent"),
        ("drip", "sent"),  # the status was heard
        ("timeout", "away timeout"),
        ("reset", "away unreachable"),
        ("cut", "away unreachable"),
        ("garbage", "away unreachable"),
        ("500", "away"),
        ("502", "away"),
        ("429", "away"),
        ("409", "away"),
        ("302", "denied"),
        ("redirect", "denied"),
        ("401", "denied"),
        ("404", "denied"),
        ("410", "denied"),
        ("400", "refused"),
        ("422", "refused"),
        ("418", "refused"),
    ],
)
def test_what_an_answer_means(endpoint: Endpoint, mode: str, expected: str) -> None:
    endpoint.script = lambda _: mode
    one = client(endpoint.url)
    assert outcome(one) == expected
    endpoint.script = lambda _: "200"
    assert outcome(one) == "sent"
    one.close()


def test_who_hangs_up_before_it_has_heard_all_is_heard(endpoint: Endpoint) -> None:
    endpoint.script = lambda _: "413 unread"
    assert outcome(client(endpoint.url), b"x" * 20_000_000) == "refused"


def raw_server(answer: bytes) -> Iterator[int]:
    """Serve one answer of bytes to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(2)
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        over.set()
        thread.join(5)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK", "away unreachable"),
        (b"HTTP/1.1 200 OK\r\n", "away unreachable"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n", "away unreachable"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "sent"),
        (b"HTTP/1.0 200 OK\n\nok", "sent"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", "sent"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "sent"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08", "sent"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "sent"),
        (b"HTTP/1.1 999 What\r\n\r\n", "away"),
        (b"HTTP/1.1 abc\r\n\r\n", "away unreachable"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n", "away unreachable"),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\n\xff\xfe\x1b", "refused"),
        (b"", "away unreachable"),
    ],
)
def test_answers_of_bytes_as_servers_and_middleboxes_give_them(
    answer: bytes, expected: str
) -> None:
    for port in raw_server(answer):
        assert outcome(client(f"http://127.0.0.1:{port}/")) == expected


def test_nobody_there_and_no_such_name_are_away() -> None:
    assert outcome(client("http://127.0.0.1:1/")) == "away unreachable"
    assert outcome(client("http://nowhere.invalid/")) == "away unreachable"


def test_an_answer_without_an_end_is_read_to_its_beginning() -> None:
    for port in raw_server(b"HTTP/1.1 500 No\r\n\r\n" + b"x" * 300_000):
        answer = client(f"http://127.0.0.1:{port}/").request("POST", b"", {})
        assert 64 * 1024 <= len(answer.body) <= 72 * 1024
        said = judged("h", answer).said
        assert len(said) < 400


def test_login_headers_and_token_files_that_are_renewed(endpoint: Endpoint, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    seen: list[str] = []
    config = HttpConfig.model_validate({"url": endpoint.url, "token_file": str(file)})
    one = HttpClient("t", config, seen.append)
    endpoint.script = lambda number: "401" if number == 0 else "200"
    file.write_text("new\n")
    assert outcome(one) == "sent"
    assert endpoint.taken[0].headers["authorization"] == "Bearer new"
    assert {"old", "new"} <= set(seen)
    with_password = client(endpoint.url, username="u", password="p")
    assert outcome(with_password) == "sent"
    assert endpoint.taken[1].headers["authorization"] == "Basic dTpw"


def test_no_message_shows_more_of_an_address_than_its_host(endpoint: Endpoint) -> None:
    endpoint.stop()
    one = client(f"http://127.0.0.1:{endpoint.port}/services/{TOKEN}?key={TOKEN}", token=TOKEN)
    with pytest.raises(NoAnswerError) as raised:
        one.request("POST", b"{}", {})
    assert TOKEN not in str(raised.value)
    assert TOKEN not in repr(HttpConfig.model_validate({"url": f"http://h/{TOKEN}"}))


def test_tls_is_checked_and_mutual_tls_given(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ours")
    server_certificate = authority.issue("localhost")
    other = Authority(tmp_path / "other")
    own = authority.issue("me")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_certificate.certificate, server_certificate.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            self.send_response(204)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        url = f"https://localhost:{server.server_port}/"
        files = {"certificate_file": str(own.certificate), "key_file": str(own.key)}
        trusted = {"ca_file": str(authority.certificate)}
        assert outcome(client(url, request_timeout="5s", **trusted, **files)) == "sent"
        assert outcome(client(url, request_timeout="5s", **files)) == "away unreachable"
        wrong = {"ca_file": str(other.certificate)}
        assert outcome(client(url, request_timeout="5s", **wrong, **files)) == "away unreachable"
        assert outcome(client(url, request_timeout="5s", **trusted)) == "away unreachable"
    finally:
        server.shutdown()
        server.server_close()


def test_a_proxy_is_gone_through(endpoint: Endpoint) -> None:
    one = client("http://nowhere.invalid/hook", proxy=f"http://127.0.0.1:{endpoint.port}")
    assert outcome(one) == "sent"
    assert endpoint.taken[0].path == "http://nowhere.invalid/hook"
    refusing = client("https://nowhere.invalid/hook", proxy=f"http://127.0.0.1:{endpoint.port}")
    assert outcome(refusing) == "away unreachable"  # it knows no CONNECT


def test_a_file_that_cannot_be_used_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"targets\[0\]: /no/ca.pem cannot be used"):
        client("https://h/", ca_file="/no/ca.pem")
    file = tmp_path / "url"
    file.write_text("ftp://x")
    config = HttpConfig.model_validate({"url_file": str(file)})
    with pytest.raises(ConfigurationError, match="begins with http") as raised:
        HttpClient("s", config)
    assert "ftp" not in str(raised.value)
