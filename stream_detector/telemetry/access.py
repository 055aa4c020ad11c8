"""Access to the metrics: TLS with or without client certificates, and a password."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import ssl
from enum import Enum, auto
from pathlib import Path

from stream_detector.config.models.config import MetricsConfig
from stream_detector.errors import ConfigurationError
from stream_detector.telemetry.back_off import BackOff
from stream_detector.telemetry.logs import fields, register_secret

log = logging.getLogger(__name__)


class Verdict(Enum):
    """Answer to a login."""

    RIGHT = auto()
    MISSING = auto()
    WRONG = auto()
    LATER = auto()  # too many that guessed are being held back: it was not looked at


class Access:
    """Requirements of the section ``metrics`` on a client.

    State: the TLS context, and when its files were last changed: a certificate that is renewed is
    taken up without a restart; who has guessed (``BackOff``).
    """

    def __init__(self, section: MetricsConfig) -> None:
        """Read the files. Raises ``ConfigurationError`` naming the setting of a wrong one."""
        self._section = section
        self.proxies = tuple(section.trusted_proxies)
        self.back_off = BackOff("password")
        self._expected = _expected(section)
        self._context: ssl.SSLContext | None = None
        self._changed: tuple[int, ...] = ()
        if section.certificate_file is not None:
            self._changed = self._times()
            self._context = _context(section)

    @property
    def scheme(self) -> str:
        """``https`` or ``http``."""
        return "http" if self._context is None else "https"

    @property
    def context(self) -> ssl.SSLContext | None:
        """For the next connection; None where it is to be a plain one."""
        if self._context is not None and (times := self._times()) != self._changed:
            self._changed = times
            try:
                self._context = _context(self._section)
            except ConfigurationError as error:  # half-written, perhaps: the next change counts
                log.warning(
                    "the old certificate stays in use: %s",
                    error,
                    extra=fields("certificate-unusable", stage="http"),
                )
            else:
                log.info("the changed certificate of the metrics server is in use")
        return self._context

    def allows(self, authorization: str | None) -> bool:
        """Tell whether a request with this ``Authorization`` header may see the metrics."""
        if self._expected is None:
            return True
        scheme, _, encoded = (authorization or "").strip().partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        # Of digests: the comparison then tells not even the length.
        return hmac.compare_digest(hashlib.sha256(given).digest(), self._expected)

    def judge(self, authorization: str | None, client: str) -> Verdict:
        """Tell whether a request may see the metrics; one of an address that guessed, in a while.

        Args:
            authorization: the header.
            client: the address that the request is counted under.
        """
        if self._expected is None:
            return Verdict.RIGHT
        if not authorization:
            return Verdict.MISSING
        if not self.back_off.admit(client):
            return Verdict.LATER
        if self.allows(authorization):
            return Verdict.RIGHT
        self.back_off.wrong(client)
        return Verdict.WRONG

    def _times(self) -> tuple[int, ...]:
        section, times = self._section, []
        for path in (section.certificate_file, section.key_file, section.client_ca_file):
            try:
                times.append(Path(path).stat().st_mtime_ns if path is not None else 0)
            except OSError:
                times.append(-1)
        return tuple(times)


def _expected(section: MetricsConfig) -> bytes | None:
    """Digest of the right ``user:password``; None where nobody is asked."""
    if section.username is None:
        return None
    if section.password is not None:
        password = section.password.get_secret_value()
    else:
        path = str(section.password_file)  # the model has checked that there is one
        try:
            password = _read("password_file", path).decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            # Not the error itself: it carries the bytes.
            raise ConfigurationError(f"metrics.password_file: {path} is not UTF-8") from None
        if not password:
            raise ConfigurationError(f"metrics.password_file: {path} holds no password")
        register_secret(password)
    return hashlib.sha256(f"{section.username}:{password}".encode()).digest()


def _context(section: MetricsConfig) -> ssl.SSLContext:
    """A context for the server. Raises ``ConfigurationError`` where a file cannot be used."""
    certificate_file, key_file = str(section.certificate_file), str(section.key_file)
    certificate = _read("certificate_file", certificate_file)
    key = _read("key_file", key_file)
    if b"-----BEGIN CERTIFICATE-----" not in certificate:
        raise ConfigurationError(
            f"metrics.certificate_file: {certificate_file} holds no certificate in PEM form"
        )
    if b"PRIVATE KEY-----" not in key:
        raise ConfigurationError(f"metrics.key_file: {key_file} holds no private key in PEM form")
    if b"ENCRYPTED" in key:
        raise ConfigurationError(f"metrics.key_file: {key_file} is encrypted; give a plain one")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate_file, key_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = str(getattr(error, "reason", None) or error).replace("_", " ").lower()
        raise ConfigurationError(
            f"metrics.certificate_file, metrics.key_file: {certificate_file}, {key_file}: {reason}"
        ) from error
    if section.client_ca_file is not None:
        _read("client_ca_file", section.client_ca_file)
        try:
            context.load_verify_locations(section.client_ca_file)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"metrics.client_ca_file: {section.client_ca_file} holds no certificate in PEM form"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _read(setting: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"metrics.{setting}: {path}: {reason}") from error
