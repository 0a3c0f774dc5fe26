# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads: only what proves itself, once, and kept."""

from __future__ import annotations

import datetime
import http.client
import http.server
import os
import pathlib
import threading
from collections.abc import Iterator

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.plugin_utils import _fetch, _inbox
from ansible_collections.campus.upki.tests.unit import pki

MARCH = datetime.datetime(2026, 3, 22, tzinfo=datetime.timezone.utc)
HOST = "shibbi.pki.itc.u-tokyo.ac.jp"
NAME = "www.example.ac.jp"
URL = "http://ca.example.ac.jp/inter.cer"
ROOT = pki.CA("Fetch Root")
INTER = pki.CA("Fetch Inter", ROOT)
LEAF = INTER.issue(NAME, issuer_url=URL)


class Web:
    """What lies at which address; counts the requests."""

    def __init__(self, **pages: bytes) -> None:
        self.pages = {URL: b"", **pages}
        self.requests: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.requests.append(url)
        if not self.pages.get(url):
            raise OSError("Name or service not known")
        return self.pages[url]


def source(web: Web, path: pathlib.Path) -> _fetch.Source:
    return _fetch.Source(web, path / "cache")


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "roots").mkdir()
    (tmp_path / "inbox" / "x.cer").write_text(pki.pem(LEAF))
    (tmp_path / "roots" / "x.cer").write_text(pki.pem(ROOT.certificate))
    return tmp_path


def look(folders: pathlib.Path, given: _fetch.Source | None, roots: bool = True) -> dict[str, object]:
    trusted = [str(folders / "roots")] if roots else []
    (candidate,) = _inbox.look([NAME], [str(folders / "inbox")], [], trusted, pki.NOW, given).candidates
    return candidate


def test_the_address_in_the_leaf_completes_a_chain_to_a_given_root_and_is_kept(folders: pathlib.Path) -> None:
    web = Web(**{URL: pki.der(INTER.certificate)})
    candidate = look(folders, source(web, folders))
    assert candidate["chain"] == [pki.pem(INTER.certificate)]
    assert "downloaded" in str(candidate["notices"])
    assert look(folders, source(web, folders))["error"] is None
    assert web.requests == [URL]


def test_what_lies_in_a_folder_is_taken_first_and_nothing_is_asked(folders: pathlib.Path) -> None:
    web = Web(**{URL: pki.der(INTER.certificate)})
    (folders / "inbox" / "ca.cer").write_bytes(pki.der(INTER.certificate))
    candidate = look(folders, source(web, folders))
    assert candidate["chain"] == [pki.pem(INTER.certificate)]
    assert "downloaded" not in str(candidate["notices"])
    assert web.requests == []


def test_the_folder_of_intermediates_comes_before_the_inbox(folders: pathlib.Path) -> None:
    twin = pki.CA("Fetch Inter", ROOT, label="Fetch Inter", end=pki.NOW + pki.days(300)).certificate
    (folders / "given").mkdir()
    for first, second in ((twin, INTER.certificate), (INTER.certificate, twin)):
        (folders / "given" / "ca.cer").write_bytes(pki.der(first))
        (folders / "inbox" / "ca.cer").write_bytes(pki.der(second))
        places = ([str(folders / folder)] for folder in ("inbox", "given", "roots"))
        found = _inbox.look([NAME], *places, pki.NOW)
        assert found.candidates[0]["chain"] == [pki.pem(first)]


def test_what_the_cache_has_of_the_catalogue_is_at_hand_unasked(shared: pathlib.Path, tmp_path: pathlib.Path) -> None:
    url = "https://repository.secomtrust.net/SC-Root2/tlsrsarootca2024cross-pem.cer"
    name = "secom-tls-rsa-root-ca-2024-cross-by-security-communication-rootca2.pem"
    page = (shared / "certs" / "ca" / name).read_bytes()
    web = Web(**{url: page})
    made = source(web, tmp_path)
    assert made.known() == []
    (cross,) = _x509.certificates_from_pem(page.decode())
    assert made.get(url, _x509.sha256(cross)) == [cross]
    assert source(web, tmp_path).known() == [cross]
    assert web.requests == [url]
    found = _inbox.look(["a.example.ac.jp"], [], [], [], MARCH, source(web, tmp_path))
    assert found.authorities == [_x509.pem(cross)]
    assert _inbox.look(["a.example.ac.jp"], [], [], [], MARCH, None).authorities == []


def test_without_download_nothing_is_asked(folders: pathlib.Path) -> None:
    error = look(folders, None)["error"]
    assert isinstance(error, dict)
    assert error["code"] == "intermediate_missing"
    assert URL in error["fix"]


@pytest.mark.parametrize(
    "page, words",
    [
        (b"", "inter.cer could not be downloaded: Name or service not known."),
        (b"<html>blocked</html>", "not the certificate"),
        (pki.der(pki.CA("Fetch Inter", ROOT, label="false").certificate), "another key"),
    ],
)
def test_what_does_not_prove_itself_is_not_used_and_said(folders: pathlib.Path, page: bytes, words: str) -> None:
    candidate = look(folders, source(Web(**{URL: page}), folders))
    assert candidate["chain"] == []
    assert words in str(candidate["error"])


def test_a_download_makes_no_root_trusted(folders: pathlib.Path) -> None:
    candidate = look(folders, source(Web(**{URL: pki.der(INTER.certificate)}), folders), roots=False)
    assert candidate["chain"] == []
    assert "untrusted_chain" in str(candidate["error"])


def test_g8_and_its_cross_come_from_the_catalogues_addresses(shared: pathlib.Path, tmp_path: pathlib.Path) -> None:
    ca = shared / "certs" / "ca"
    base = "https://repo1.secomtrust.net/sppca/nii/odca4/nii-odca4g8rsa-pem.cer"
    cross = "https://repository.secomtrust.net/SC-Root2/tlsrsarootca2024cross-pem.cer"
    web = Web(
        **{
            base: (ca / "nii-open-domain-ca-g8-rsa.pem").read_bytes(),
            cross: (ca / "secom-tls-rsa-root-ca-2024-cross-by-security-communication-rootca2.pem").read_bytes(),
        }
    )
    (leaf,) = (shared / "certs" / "leaf").glob("*-g8-rsa.pem")
    (candidate,) = _inbox.look([HOST], [str(leaf)], [], [], MARCH, source(web, tmp_path)).candidates
    assert len(candidate["chain"]) == 2
    assert web.requests == [base, cross]


def test_a_pinned_address_that_serves_another_certificate_is_refused(
    shared: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    base = "https://repo1.secomtrust.net/sppca/nii/odca4/nii-odca4g8rsa-pem.cer"
    wrong = (shared / "certs" / "ca" / "nii-open-domain-ca-g7-rsa.pem").read_bytes()
    (leaf,) = (shared / "certs" / "leaf").glob("*-g8-rsa.pem")
    web = Web(**{base: wrong})
    (candidate,) = _inbox.look([HOST], [str(leaf)], [], [], MARCH, source(web, tmp_path)).candidates
    assert candidate["error"]["code"] == "intermediate_missing"
    assert "not the certificate with the known SHA-256" in candidate["error"]["fix"]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ldap://ca.example.ac.jp/cn=x", "ftp://ca.example.ac.jp/x"])
def test_only_web_addresses_are_fetched(tmp_path: pathlib.Path, url: str) -> None:
    web = Web(**{url: pki.der(INTER.certificate)})
    made = source(web, tmp_path)
    assert made.get(url, "") == []
    assert web.requests == []
    assert "http" in made.problems[url]


def test_an_old_file_of_the_cache_is_asked_for_again_and_serves_where_the_address_is_silent(
    tmp_path: pathlib.Path,
) -> None:
    successor = pki.CA("Fetch Inter", ROOT, end=pki.NOW + pki.days(2900))
    web = Web(**{URL: pki.der(INTER.certificate)})
    assert source(web, tmp_path).get(URL, "") == [INTER.certificate]
    (kept,) = (tmp_path / "cache").iterdir()
    os.utime(kept, (0, 0))
    web.pages[URL] = b""
    assert source(web, tmp_path).get(URL, "") == [INTER.certificate]
    web.pages[URL] = pki.der(successor.certificate)
    assert source(web, tmp_path).get(URL, "") == [successor.certificate]
    assert source(web, tmp_path).get(URL, "") == [successor.certificate]
    assert len(web.requests) == 3


@pytest.mark.parametrize("url", ["http://[ca/x.cer", "http://127.0.0.1:port/x.cer", "http://127.0.0.1/a b.cer"])
def test_an_address_that_is_none_is_told(tmp_path: pathlib.Path, url: str) -> None:
    """A certificate may name anything as the place of its issuer."""
    made = _fetch.Source(cache=tmp_path / "cache")
    assert made.get(url, "") == []
    assert made.problems[url]


@pytest.mark.parametrize(
    "error",
    [http.client.BadStatusLine("x\n" * 500), http.client.IncompleteRead(b""), http.client.LineTooLong("header line")],
)
def test_a_broken_server_is_told_in_one_short_line(tmp_path: pathlib.Path, error: Exception) -> None:
    def opener(_url: str) -> bytes:
        raise error

    made = _fetch.Source(opener, tmp_path / "cache")
    assert made.get(URL, "") == []
    assert made.problems[URL].startswith("could not be downloaded: ")
    assert len(made.problems[URL].splitlines()) == 1
    assert len(made.problems[URL]) < 300


def test_an_address_is_asked_once_and_a_spoilt_cache_is_replaced(tmp_path: pathlib.Path) -> None:
    web = Web(**{URL: pki.der(INTER.certificate)})
    made = source(web, tmp_path)
    digest = _x509.sha256(INTER.certificate)
    assert len(made.get(URL, digest)) == len(made.get(URL, digest)) == 1
    assert web.requests == [URL]
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(b"spoilt")
    assert len(source(web, tmp_path).get(URL, digest)) == 1
    assert web.requests == [URL, URL]
    assert kept.read_bytes() == pki.der(INTER.certificate)


def test_a_cache_that_cannot_be_written_is_no_problem(tmp_path: pathlib.Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert len(source(Web(**{URL: pki.der(INTER.certificate)}), tmp_path).get(URL, "")) == 1


def test_the_cache_lies_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert _fetch.default_cache() == pathlib.Path("/somewhere/campus.upki")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert _fetch.default_cache() == pathlib.Path.home() / ".cache" / "campus.upki"


@pytest.fixture
def address() -> Iterator[str]:
    """A real web server on loopback: /good is a certificate, /endless is too large."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(pki.der(INTER.certificate) if self.path == "/good" else bytes(_fetch.MAX_BYTES + 1))

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join(5)
    server.server_close()


def test_the_real_download_is_bounded(address: str) -> None:
    assert _fetch.download(address + "/good") == pki.der(INTER.certificate)
    with pytest.raises(ValueError, match="larger"):
        _fetch.download(address + "/endless")
