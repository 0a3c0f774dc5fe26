# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CA certificates that are not at hand: from the cache, else from where the CA publishes them.

What comes from a network proves nothing by itself. A certificate of the catalogue is taken only with its SHA-256, any
other only as part of a chain that ends at a given root; `_chain` decides that as it does for a file in a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import pathlib
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from ansible.module_utils.urls import ConnectionError as UrlConnectionError
from ansible.module_utils.urls import open_url
from ansible_collections.campus.upki.plugins.module_utils import _catalogue, _containers, _x509

TIMEOUT = 10  # seconds for one download
MAX_BYTES = 1024 * 1024
# Seconds for which a file is taken from the cache unasked when no SHA-256 says what it must be: a CA may put its
# certificate's successor at the same address.
FRESH = 24 * 3600

Opener = Callable[[str], bytes]


def download(url: str) -> bytes:
    """The bytes behind an http or https address."""
    with open_url(url, timeout=TIMEOUT, http_agent="campus.upki") as answer:
        data: bytes = answer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError("larger than any CA certificate")
    return data


def default_cache() -> pathlib.Path:
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "campus.upki"


class Source:
    """The cache and the network, asked once for each address."""

    def __init__(self, opener: Opener = download, cache: pathlib.Path | None = None) -> None:
        self.opener, self.cache = opener, cache or default_cache()
        self.problems: dict[str, str] = {}
        self.asked: dict[str, list[Any]] = {}

    def get(self, url: str, sha256: str) -> list[Any]:
        """Certificates from an address; only the one with this SHA-256 where one is given. [] with a problem noted."""
        if not url:
            return []
        if url not in self.asked:
            self.asked[url] = self._get(url, sha256)
        return self.asked[url]

    def known(self) -> list[Any]:
        """Certificates of the catalogue that lie in the cache; nothing is asked."""
        places = [(str(row["url"]), str(row["sha256"])) for row in _catalogue.ROWS if row["url"]]
        return [one for url, sha256 in places for one in _cached(self._kept(url), url, sha256)]

    def _kept(self, url: str) -> pathlib.Path:
        return self.cache / hashlib.sha256(url.encode()).hexdigest()

    def _get(self, url: str, sha256: str) -> list[Any]:
        if _scheme(url) not in ("http", "https"):
            self.problems[url] = "only http and https are fetched"
            return []
        kept = self._kept(url)
        found = _cached(kept, url, sha256)
        if found and (sha256 or _age(kept) < FRESH):
            return found
        return self._download(url, sha256, kept) or found

    def _download(self, url: str, sha256: str, kept: pathlib.Path) -> list[Any]:
        try:
            data = self.opener(url)
        except (OSError, ValueError, UrlConnectionError, http.client.HTTPException) as error:
            self.problems[url] = f"could not be downloaded: {_why(error)}"
            return []
        found = _wanted(data, url, sha256)
        if not found:
            self.problems[url] = "was downloaded, but is not the certificate with the known SHA-256"
            return []
        self._keep(kept, data)
        return found

    def _keep(self, path: pathlib.Path, data: bytes) -> None:
        """Into the cache; a cache that cannot be written is no problem."""
        with contextlib.suppress(OSError):
            self.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, temporary = tempfile.mkstemp(dir=self.cache)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
            os.replace(temporary, path)


def _scheme(url: str) -> str:
    """The scheme of an address; '' for what is none. A certificate may name anything."""
    try:
        return urllib.parse.urlsplit(url).scheme
    except ValueError:
        return ""


def _why(error: Exception) -> str:
    """One line of an error; what a broken server sent is shortened."""
    reason = getattr(error, "reason", None) or error
    text = (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(error).__name__
    return " ".join(text.split())[:200].rstrip(".")


def _cached(path: pathlib.Path, url: str, sha256: str) -> list[Any]:
    """What the cache has of an address; [] for nothing that serves."""
    with contextlib.suppress(OSError):
        return _wanted(path.read_bytes(), url, sha256)
    return []


def _age(path: pathlib.Path) -> float:
    """Seconds since the file was written."""
    return time.time() - path.stat().st_mtime


def _wanted(data: bytes, url: str, sha256: str) -> list[Any]:
    contents = _containers.Contents()
    _containers.read(data, url, contents)
    found = [one.certificate for one in contents.certificates]
    return [one for one in found if _x509.sha256(one) == sha256] if sha256 else found
