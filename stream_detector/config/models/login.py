"""Who asks by HTTP, and by which certificate: what sections that connect somewhere have alike."""

from __future__ import annotations

from typing import Protocol

from pydantic import SecretStr


class Login(Protocol):
    """Settings that say who asks: a name and its password, or a token."""

    @property
    def username(self) -> str | None:
        """User name."""

    @property
    def password(self) -> SecretStr | None:
        """Password for it."""

    @property
    def password_file(self) -> str | None:
        """A file that holds it."""

    @property
    def token(self) -> SecretStr | None:
        """Bearer token."""

    @property
    def token_file(self) -> str | None:
        """A file that holds it."""


def check_login(section: Login) -> None:
    """Raise ``ValueError`` where a login lacks a part, or there are two."""
    passwords = sum(each is not None for each in (section.password, section.password_file))
    if passwords != (0 if section.username is None else 1):
        raise ValueError("a login needs username and one of password and password_file")
    tokens = sum(each is not None for each in (section.token, section.token_file))
    if tokens > 1 or (tokens and section.username is not None):
        raise ValueError("give one of username, token and token_file")


def check_mutual_tls(certificate_file: str | None, key_file: str | None) -> None:
    """Raise ``ValueError`` where a client certificate has no key, or a key no certificate."""
    if (certificate_file is None) != (key_file is None):
        raise ValueError("mutual TLS needs both certificate_file and key_file")
