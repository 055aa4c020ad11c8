"""Requests that no browser makes: malformed, endless, slow, in masses; and guesses at secrets."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.process import wait_until

from stream_detector.config.models.config import MetricsConfig
from stream_detector.telemetry.access import Access, Verdict
from stream_detector.telemetry.back_off import (
    FREE_ATTEMPTS,
    LONGEST_PAUSE_SECONDS,
    MAX_ADDRESSES,
    MAX_HELD,
    BackOff,
    client_address,
)
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.requests import MAX_BODY_BYTES, RefusedRequestError, read_request
from stream_detector.telemetry.server import MetricsServer
from stream_detector.telemetry.status.labelling import Labelling
from stream_detector.telemetry.status.pages import StatusPages
from stream_detector.telemetry.status.recent import Recent

PASSWORD, TOKEN = "canary-password", "canary-token-0123456789"
HOST = b"Host: 127.0.0.1\r\n"


class Served:
    """A server with a login for all but labels, and what it counts."""

    def __init__(self, *, login: bool = False, deadline: float = 10.0) -> None:
        self.metrics = Metrics()
        health = HealthState()
        labelling = Labelling(
            TOKEN,
            ("fraud", "normal"),
            Recent(),
            lambda *_: None,
            BackOff("token", sleep=lambda _: None),
            self.metrics.http.add_refused,
        )
        pages = StatusPages(self.metrics, health, labelling=labelling)
        section = {"username": "u", "password": PASSWORD} if login else {}
        self.access = Access(MetricsConfig(**section))
        self.access.back_off = BackOff("password", sleep=lambda _: None)
        self.server = MetricsServer(
            self.metrics,
            health,
            "127.0.0.1",
            0,
            pages,
            access=self.access,
            deadline_seconds=deadline,
        )
        self.server.start()

    def refused(self, reason: str) -> float:
        name = "stream_detector_requests_refused_total"
        return self.metrics.registry.get_sample_value(name, {"reason": reason}) or 0.0

    def send(self, request: bytes) -> bytes:
        """Send bytes as they are, and read the answer to its end."""
        with closing(socket.create_connection(("127.0.0.1", self.server.port), 20)) as client:
            client.sendall(request)
            return read_all(client)

    def status(self, request: bytes) -> int:
        return int(self.send(request).split(b" ", 2)[1])


def read_all(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.fixture(scope="module")
def open_server() -> Iterator[Served]:
    made = Served()
    yield made
    made.server.stop()


@pytest.fixture
def guarded() -> Iterator[Served]:
    made = Served(login=True)
    yield made
    made.server.stop()


# --- malformed requests --------------------------------------------------------------------------


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /label HTTP/1.1", HOST.strip(), *headers, b"", body])


FORM = b"Content-Type: application/x-www-form-urlencoded"
MALFORMED = {
    "a length of 5,000 digits": (post(FORM, b"Content-Length: " + b"9" * 5000), 413),
    "a length that is too large": (post(FORM, b"Content-Length: 4097"), 413),
    "a negative length": (post(FORM, b"Content-Length: -1"), 400),
    "a length with a sign": (post(FORM, b"Content-Length: +1", body=b"x"), 400),
    "a length with a blank inside": (post(FORM, b"Content-Length: 1 1", body=b"x"), 400),
    "a length in other digits": (post(FORM, "Content-Length: ٣".encode(), body=b"xyz"), 400),
    "a length twice": (post(b"Content-Length: 1", b"Content-Length: 2", body=b"xy"), 400),
    "the same length twice": (post(b"Content-Length: 1", b"Content-Length: 1", body=b"x"), 400),
    "chunks": (post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "chunks beside a length": (
        post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
        400,
    ),
    "an origin whose bracket is open": (
        post(FORM, b"Origin: http://[::1", b"Content-Length: 0"),
        400,
    ),
    "no length": (post(FORM, b"Origin: http://127.0.0.1"), 411),
    "a blank before the colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "a folded header": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),
    "a header without a colon": (b"GET / HTTP/1.1\r\n" + HOST + b"X\r\n\r\n", 400),
    "a header without a name": (b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n", 400),
    "NUL in a header": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", 400),
    "a bare CR in a header": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rY: b\r\n\r\n", 400),
    "non-ASCII in a header's name": (b"GET / HTTP/1.1\r\n" + HOST + b"X\xe9: a\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "NUL in the address": (b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "an escaped NUL": (b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "an escaped line feed": (b"GET /%0d%0aX:1 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a bad escape": (b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "half an escape": (b"GET /?a=%4 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "non-ASCII in the address": (b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a blank in the address": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.12": (b"GET / HTTP/1.12\r\n" + HOST + b"\r\n", 400),
    "an address of a proxy": (b"GET http://a/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a method of brackets": (b"[] / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a handshake of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "an empty line": (b"\r\n\r\n", 400),
    "a line of 20 KB": (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 414),
    "a line without an end": (b"A" * 20_000, 414),
    "a header of 60 KB": (b"GET / HTTP/1.1\r\nX: " + b"a" * 60_000 + b"\r\n\r\n", 431),
    "a header without an end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 60_000, 431),
    "65 headers": (b"GET / HTTP/1.0\r\n" + b"X: a\r\n" * 65 + b"\r\n", 431),
    "a query of many fields": (
        b"GET /label?" + b"a=1&" * 30 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        400,
    ),
    "a form of many fields": (
        post(FORM, b"Origin: http://127.0.0.1", b"Content-Length: 44", body=b"a=1&" * 11),
        400,
    ),
    "a form that is no ASCII": (
        post(FORM, b"Origin: http://127.0.0.1", b"Content-Length: 2", body=b"\xc3\xa9"),
        400,
    ),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_request_is_refused_without_a_traceback(
    open_server: Served, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    request, expected = MALFORMED[kind]
    with caplog.at_level("WARNING"):
        answer = open_server.send(request)
    status, _, rest = answer.partition(b"\r\n")
    assert status.startswith(f"HTTP/1.0 {expected} ".encode())
    assert b"X-Content-Type-Options: nosniff" in rest
    assert rest.partition(b"\r\n\r\n")[2] != b""
    assert caplog.records == []
    assert open_server.status(b"GET /healthz HTTP/1.0\r\n\r\n") == 200


WELL_FORMED = {
    "HTTP/1.0 without a host": b"GET /healthz HTTP/1.0\r\n\r\n",
    "lines that end with a line feed": b"GET /healthz HTTP/1.1\nHost: a\n\n",
    "two requests in one": b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 2,
    "bytes beyond ASCII in a value": b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n",
    "a header twice": b"GET /healthz HTTP/1.1\r\nHost: a\r\nAccept: a\r\nAccept: b\r\n\r\n",
    "many names": b"GET /metrics?" + b"name[]=up&" * 30 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a length of nothing": b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("kind", WELL_FORMED)
def test_what_clients_do_send_is_answered_once(open_server: Served, kind: str) -> None:
    answer = open_server.send(WELL_FORMED[kind])
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert answer.count(b"HTTP/1.0 ") == 1


def test_malformed_requests_are_counted(open_server: Served) -> None:
    before = open_server.refused("malformed")
    for request in (b"GET /\r\n\r\n", b"\0\r\n\r\n"):
        open_server.send(request)
    wait_until(lambda: open_server.refused("malformed") == before + 2, "the count")


PIECES = [b"GET ", b"POST ", b"/label", b" HTTP/1.1", b"\r\n", b"\n", b"Content-Length: ", b"4"]
PIECES += [b"Host: a", b"Transfer-Encoding: chunked", b": ", b"\0", b"%", b"\xff", b" ", b"\r"]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400) | st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join))
def test_any_bytes_are_a_request_or_a_refusal(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    refusal = None
    with closing(ours), closing(theirs):
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        try:
            request = read_request(ours, time.monotonic() + 60, 30)
        except RefusedRequestError as refused:
            refusal = refused.status
        except ConnectionResetError:
            refusal = None if sent else 0
    if refusal is None:
        assert len(request.body) <= MAX_BODY_BYTES
        assert request.path.startswith("/")
        assert request.path.isprintable()
    else:
        assert refusal in {0, 400, 413, 414, 431, 505}


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nX: ", post(b"Content-Length: 9")])
def test_a_client_that_falls_silent_is_told_that_it_took_too_long(start: bytes) -> None:
    made = Served(deadline=0.2)
    try:
        assert made.send(start).startswith(b"HTTP/1.0 408 ")
    finally:
        made.server.stop()


# --- guesses -------------------------------------------------------------------------------------


def login(password: str) -> bytes:
    encoded = base64.b64encode(f"u:{password}".encode())
    return b"GET /metrics HTTP/1.0\r\nAuthorization: Basic " + encoded + b"\r\n\r\n"


def label(token: str) -> bytes:
    body = urlencode({"alert": "x", "label": "fraud", "token": token}).encode()
    length = b"Content-Length: " + str(len(body)).encode()
    known = login(PASSWORD).split(b"\r\n")[1]
    return post(FORM, b"Origin: http://127.0.0.1", known, length, body=body)


def test_the_right_password_passes_from_an_address_that_guessed(
    guarded: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        for number in range(3 * FREE_ATTEMPTS):
            assert guarded.status(login(f"canary-guess-{number}")) == 401
        assert guarded.status(login(PASSWORD)) == 200
    assert guarded.access.back_off.pause("127.0.0.1") == pytest.approx(
        LONGEST_PAUSE_SECONDS, rel=0.2
    )
    assert guarded.refused("password") == 3 * FREE_ATTEMPTS
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [
        "several wrong passwords came from one address: its requests are answered slowly"
    ]
    assert "canary" not in caplog.text
    assert guarded.status(b"GET /metrics HTTP/1.0\r\n\r\n") == 401  # a question is no guess
    assert guarded.refused("password") == 3 * FREE_ATTEMPTS


def test_the_right_token_passes_from_an_address_that_guessed(
    guarded: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        for number in range(3 * FREE_ATTEMPTS):
            assert guarded.status(label(f"canary-guess-{number}")) == 403
        assert guarded.status(label(TOKEN)) == 404  # the token is right, and the alert unknown
    assert guarded.refused("token") == 3 * FREE_ATTEMPTS
    assert "canary" not in caplog.text
    assert guarded.access.back_off.pause("127.0.0.1") == 0.0  # the password's is another


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_guesses_are_slowed_down_and_other_addresses_are_not() -> None:
    clock = Clock()
    back_off = BackOff("password", clock, clock.sleep)
    guesses = 1000
    for _ in range(guesses):
        assert back_off.admit("192.0.2.1")
        back_off.wrong("192.0.2.1")
    assert clock.now - 1000.0 > 0.8 * LONGEST_PAUSE_SECONDS * guesses
    slept = len(clock.slept)
    assert back_off.admit("192.0.2.2")
    assert len(clock.slept) == slept
    clock.now += 600.0
    assert back_off.pause("192.0.2.1") == 0.0


def test_a_right_secret_does_not_forgive_the_wrong_ones_beside_it() -> None:
    access = Access(MetricsConfig(username="u", password=PASSWORD))
    clock = Clock()
    access.back_off = BackOff("password", clock, clock.sleep)
    right = "Basic " + base64.b64encode(f"u:{PASSWORD}".encode()).decode()
    for _ in range(20):
        assert access.judge("Basic eDp4", "192.0.2.1") is Verdict.WRONG
        assert access.judge(right, "192.0.2.1") is Verdict.RIGHT
    assert clock.slept[-1] > LONGEST_PAUSE_SECONDS / 2


def assert_(condition: bool) -> None:
    assert condition


def test_a_flood_of_guesses_holds_a_part_of_the_connections_only() -> None:
    release = threading.Event()
    back_off = BackOff("password", sleep=lambda _: assert_(release.wait(20)))
    for _ in range(2 * FREE_ATTEMPTS):
        back_off.wrong("192.0.2.1")
    held = [threading.Thread(target=back_off.admit, args=("192.0.2.1",)) for _ in range(MAX_HELD)]
    for thread in held:
        thread.start()
    try:
        wait_until(lambda: back_off._held == MAX_HELD, "all of them to be held")
        assert not back_off.admit("192.0.2.1")
        assert back_off.admit("192.0.2.2")
    finally:
        release.set()
        for thread in held:
            thread.join(20)
    assert back_off.admit("192.0.2.1")


def test_the_table_of_addresses_is_bounded() -> None:
    back_off = BackOff("password", lambda: 0.0, lambda _: None)
    for number in range(MAX_ADDRESSES + 500):
        back_off.wrong(f"address-{number}")
    assert len(back_off) == MAX_ADDRESSES


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("198.51.100.1", "203.0.113.9", "198.51.100.1"),  # no proxy of ours: anybody writes that
        ("192.0.2.1", "203.0.113.9", "203.0.113.9"),
        ("192.0.2.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),  # the first is what the client said
        ("192.0.2.1", "203.0.113.9, 192.0.2.9", "203.0.113.9"),
        ("192.0.2.1", "203.0.113.9, x", "192.0.2.1"),
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "," * 5000, "192.0.2.1"),
        ("192.0.2.1", "192.0.2.2", "192.0.2.2"),
        ("::ffff:192.0.2.1", "203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", None, "2001:db8:1:2::/64"),
        ("fe80::1%eth0", None, "fe80::/64"),
    ],
)
def test_who_is_counted(peer: str, forwarded: str | None, expected: str) -> None:
    proxies = MetricsConfig(trusted_proxies=["192.0.2.0/28"]).trusted_proxies
    assert client_address(peer, forwarded, proxies) == expected


def test_a_forged_header_does_not_reset_the_brake(guarded: Served) -> None:
    for number in range(3 * FREE_ATTEMPTS):
        forged = f"X-Forwarded-For: 203.0.113.{number}\r\n\r\n".encode()
        request = login("guess").removesuffix(b"\r\n") + forged
        assert guarded.status(request) == 401
    assert len(guarded.access.back_off) == 1


# --- many connections ----------------------------------------------------------------------------


def test_two_hundred_connections_leave_room_for_a_scrape(open_server: Served) -> None:
    before = threading.active_count()
    with ExitStack() as stack:
        for _ in range(200):
            address = ("127.0.0.1", open_server.server.port)
            stack.enter_context(closing(socket.create_connection(address, 20)))
        assert open_server.status(b"GET /metrics HTTP/1.0\r\n\r\n") == 200
        assert threading.active_count() <= before + 17
