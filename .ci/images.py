"""Base images by digest: what a tag names today, and files that name it for good.

A tag may be another image tomorrow; a digest is the hash of one. ``make release`` asks the
registries what each tag in Dockerfile and docker-compose.yml is now, and writes both files with
``@sha256:...`` behind the tags into dist/. It speaks the registries' own HTTP API (OCI
distribution), with the standard library.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_REGISTRY = "docker.io"
_HOSTS = {"docker.io": "registry-1.docker.io"}
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LARGEST_ANSWER = 4 * 2**20
_SECONDS = 30.0
FILES = ("Dockerfile", "docker-compose.yml")
_NAMED = re.compile(
    r"^(?P<before>\s*(?:FROM\s+|image:\s*))(?P<image>[^\s@]+)(?P<digest>@sha256:\w+)?", re.MULTILINE
)
OWN = "stream-detector:"
"""What docker-compose.yml builds itself."""


class NotResolvedError(Exception):
    """A registry was not reached, or does not know the image."""


@dataclass(frozen=True)
class Image:
    """An image by its tag."""

    registry: str
    name: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Image:
        """Read ``python:3.12`` or ``registry.example:5000/team/image:tag``, as Docker does."""
        first, slash, rest = text.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            registry, name = first, rest
        else:
            registry, name = DEFAULT_REGISTRY, text
        name, _, tag = name.partition(":")
        if registry == DEFAULT_REGISTRY and "/" not in name:
            name = f"library/{name}"
        return cls(registry, name, tag or "latest")


def images_of(text: str) -> list[str]:
    """Name the images that a Dockerfile or compose file begins from, each once."""
    found = (match["image"] for match in _NAMED.finditer(text))
    return list(dict.fromkeys(image for image in found if not image.startswith(OWN)))


def pinned(text: str, digests: Mapping[str, str]) -> str:
    """Give a Dockerfile's or compose file's text with the digests behind the tags."""

    def put(match: re.Match[str]) -> str:
        digest = digests.get(match["image"])
        return match[0] if digest is None else f"{match['before']}{match['image']}@{digest}"

    return _NAMED.sub(put, text)


def resolve(image: Image, registry: str | None = None) -> str:
    """Ask a registry for the digest of an image's tag.

    Args:
        image: by its tag.
        registry: address of a mirror to ask instead, ``http://host:port``.

    Raises:
        NotResolvedError: it is not reached, knows no such image, or says what is not true.
    """
    base = registry or f"https://{_HOSTS.get(image.registry, image.registry)}"
    address = f"{base}/v2/{image.name}/manifests/{image.tag}"
    headers = {"Accept": ", ".join(_MANIFESTS)}
    try:
        try:
            body, said = _get(address, headers)
        except urllib.error.HTTPError as error:
            if error.code != 401:  # noqa: PLR2004 - it asks for a token, as most do
                raise
            token = _token(error.headers.get("WWW-Authenticate", ""))
            body, said = _get(address, {**headers, "Authorization": f"Bearer {token}"})
    except (OSError, ValueError) as error:  # URLError is an OSError
        raise NotResolvedError(f"{image.name}:{image.tag}: {base} said: {error}") from error
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if said is not None and said != digest:
        raise NotResolvedError(
            f"{image.name}:{image.tag}: {base} says {said}, and its manifest is {digest}"
        )
    return digest


def _token(challenge: str) -> str:
    """Get an anonymous token from where ``WWW-Authenticate`` says."""
    parameters = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = parameters.pop("realm", "")
    if not challenge.lower().startswith("bearer ") or not realm.startswith(("https://", "http://")):
        raise ValueError(f"it asks for a login of another kind: {challenge[:100]!r}")
    body, _ = _get(f"{realm}?{urllib.parse.urlencode(parameters)}", {})
    answer: Any = json.loads(body)
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str):
        raise ValueError("its token service gave no token")  # noqa: TRY004 - one kind of error
    return token


def _get(address: str, headers: Mapping[str, str]) -> tuple[bytes, str | None]:
    """Give the body and the digest in the headers, where there is one."""
    request = urllib.request.Request(address, headers=dict(headers))  # noqa: S310 - http(s) alone
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
        body = answer.read(_LARGEST_ANSWER + 1)
        digest = answer.headers.get("Docker-Content-Digest")
    if len(body) > _LARGEST_ANSWER:
        raise ValueError("its answer is too large")
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise ValueError(f"it gives a digest of another kind: {digest[:100]!r}")
    return body, digest


def write_pinned(root: Path, output: Path, registry: str | None = None) -> dict[str, str]:
    """Write the files with digests into a directory, and give the digests by image."""
    texts = {name: (root / name).read_text("utf-8") for name in FILES}
    named = dict.fromkeys(image for text in texts.values() for image in images_of(text))
    digests = {image: resolve(Image.parse(image), registry) for image in named}
    for name, text in texts.items():
        (output / name).write_text(pinned(text, digests), "utf-8")
    (output / "images.json").write_text(json.dumps(digests, indent=2) + "\n", "utf-8")
    return digests
