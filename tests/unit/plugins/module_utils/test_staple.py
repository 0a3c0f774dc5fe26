# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stapled OCSP answers, sent by real servers and in made-up records of the handshake."""

import contextlib
import datetime
import shutil
import socket
import subprocess
import time

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _cards, _s_client, _staple, _tls, _verify
from ansible_collections.campus.upki.tests.unit import pki, tls_zoo
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

NAME = "www.example.ac.jp"
NOW = datetime.datetime.now(pki.UTC).replace(microsecond=0)
ROOT = pki.CA("Root", start=NOW - pki.days(900), end=NOW + pki.days(900))
SUB = pki.CA("Sub", issuer=ROOT, start=NOW - pki.days(900), end=NOW + pki.days(900))
OTHER = pki.CA("Other", issuer=ROOT)
KEY = pki.key("leaf " + NAME)
LEAF = SUB.issue(NAME, start=NOW - pki.days(1), end=NOW + pki.days(197))
PAIRS = [(_cards.card(LEAF), _cards.card(SUB.certificate))]
SEEN = {"host": "h", "port": 443, "address": "127.0.0.1", "server_name": NAME, "starttls": None}

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl is not installed")


def naive(moment):
    return moment.replace(tzinfo=None)


def answer(leaf=LEAF, issuer=SUB, signer=SUB, revoked=False, end=None):
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=leaf,
        issuer=issuer.certificate,
        algorithm=hashes.SHA1(),
        cert_status=ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD,
        this_update=naive(NOW - pki.days(2)),
        next_update=naive(end or NOW + pki.days(6)),
        revocation_time=naive(NOW - pki.days(3)) if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def demanding():
    """A leaf that demands a stapled answer."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(pki.name(NAME))
        .issuer_name(SUB.subject)
        .public_key(KEY.public_key())
        .serial_number(78)
        .not_valid_before(naive(NOW - pki.days(1)))
        .not_valid_after(naive(NOW + pki.days(197)))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
    )
    return builder.sign(SUB.key, hashes.SHA256(), default_backend())


@contextlib.contextmanager
def stapling(folder, data, leaf=LEAF, version="-tls1_3"):
    """`openssl s_server` that staples these bytes, or nothing; gives the port."""
    (folder / "leaf.pem").write_text(pki.pem(leaf), encoding="ascii")
    (folder / "chain.pem").write_text(pki.pem(SUB.certificate), encoding="ascii")
    (folder / "key.pem").write_bytes(pki.key_pem(KEY))
    port = tls_zoo.refusing_port()
    command = ["openssl", "s_server", "-accept", "127.0.0.1:{0}".format(port), "-quiet", version]
    command += ["-cert", str(folder / "leaf.pem"), "-key", str(folder / "key.pem")]
    command += ["-cert_chain", str(folder / "chain.pem")]
    if data is not None:
        (folder / "answer.der").write_bytes(data)
        command += ["-status_file", str(folder / "answer.der")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _attempt in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)
        process.stdin.close()


def look(port, pairs=None):
    seen = dict(SEEN, port=port)
    findings, verdicts = _staple.check(PAIRS if pairs is None else pairs, seen, 5, NOW)
    return [(row["code"], row["message"]) for row in findings], verdicts


@needs_openssl
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_good_revoked_and_none(tmp_path, version):
    with stapling(tmp_path, answer(), version=version) as port:
        assert look(port) == ([], [("good", "OCSP of {0:%Y-%m-%d} (stapled)".format(NOW - pki.days(2)))])
    with stapling(tmp_path, answer(revoked=True), version=version) as port:
        findings, ((status, text),) = look(port)
        assert findings == [] and status == "revoked" and "keyCompromise" in text
    with stapling(tmp_path, None, version=version) as port:
        assert look(port) == ([], [])


BAD = {
    "stale": (answer(end=NOW - pki.days(1)), "not of this time"),
    "another certificate": (answer(leaf=SUB.issue("b.example")), "another certificate"),
    "another CA": (answer(signer=OTHER), "not signed"),
}


@needs_openssl
@pytest.mark.parametrize("case", sorted(BAD))
def test_a_staple_that_clients_refuse(tmp_path, case):
    data, word = BAD[case]
    with stapling(tmp_path, data) as port:
        (((code, message),), verdicts) = look(port)
    assert code == "staple_invalid" and word in message and verdicts == []


@needs_openssl
def test_a_certificate_that_demands_a_staple(tmp_path):
    leaf = demanding()
    pairs = [(_cards.card(leaf), _cards.card(SUB.certificate))]
    with stapling(tmp_path, None, leaf) as port:
        ((code, message),) = look(port, pairs)[0]
    assert code == "staple_invalid" and "must-staple" in message
    with stapling(tmp_path, answer(leaf), leaf) as port:
        assert look(port, pairs)[0] == []


@needs_openssl
def test_the_whole_run(tmp_path):
    """A good staple answers for the certificate although it names no responder; a revoked one is an error."""
    (tmp_path / "root.pem").write_text(pki.pem(ROOT.certificate), encoding="ascii")
    trust = _tls.Trust(str(tmp_path / "root.pem"))
    around = _verify.surroundings(trust, [], NOW, _verify.parse_warn_before("1/3"))

    def codes(port):
        rows = _verify.endpoints_of([{"host": "127.0.0.1", "port": port, "server_name": NAME}])
        (result,) = _verify.run(rows, trust, around, 5, 1, _verify.Extras("ocsp"))
        # the intermediate names no CRL, which is not what this is about
        return [row["code"] for row in result["findings"] if "'Sub'" not in row["message"]]

    with stapling(tmp_path, answer()) as port:
        assert codes(port) == []
    with stapling(tmp_path, answer(revoked=True)) as port:
        assert codes(port) == ["revoked"]
    with stapling(tmp_path, None) as port:
        assert codes(port) == ["revocation_unknown"]


def test_without_the_issuer_nothing_is_said_of_the_staple(monkeypatch):
    monkeypatch.setattr(_staple, "read", lambda _seen, _timeout: (answer(), ""))
    assert [code for code, _message in look(443, [])[0]] == ["staple_unseen"]
    monkeypatch.setattr(_staple, "read", lambda _seen, _timeout: (b"", ""))
    assert look(443, []) == ([], [])


def test_without_the_program(monkeypatch):
    monkeypatch.setattr(_s_client, "PROGRAM", "openssl-that-is-not-there")
    (((code, message),), verdicts) = look(443)
    assert code == "staple_unseen" and "not there" in message and verdicts == []


@needs_openssl
def test_a_server_that_does_not_answer():
    ((code, message),) = look(tls_zoo.refusing_port())[0]
    assert code == "staple_unseen" and "no certificate message" in message


# --- records of the handshake --------------------------------------------------------------------------------


def size(number):
    return number.to_bytes(3, "big")


def tls13(extensions, context=b"\x00"):
    entry = size(2) + b"\x30\x00" + len(extensions).to_bytes(2, "big") + extensions
    body = context + size(len(entry)) + entry
    return b"\x0b" + size(len(body)) + body


def extension(number, value):
    return number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


STATUS = b"\x01" + size(3) + b"abc"


@pytest.mark.parametrize(
    "name, message, found",
    [
        ("CertificateStatus", b"\x16" + size(len(STATUS)) + STATUS, b"abc"),
        ("CertificateStatus", b"\x16" + size(7) + b"\x02" + STATUS[1:], b""),
        ("Certificate", tls13(extension(5, STATUS)), b"abc"),
        ("Certificate", tls13(extension(18, b"x") + extension(5, STATUS)), b"abc"),
        ("Certificate", tls13(b""), b""),
        ("Certificate", tls13(b"", context=b"\x05"), b""),
        ("Certificate", b"\x0b" + size(8) + size(5) + size(2) + b"\x30\x00", b""),
    ],
)
def test_messages(name, message, found):
    assert _staple._answer(name, message) == found


@pytest.mark.parametrize("cut", range(1, len(tls13(extension(5, STATUS)))))
def test_messages_that_are_cut_off_end_in_no_traceback(monkeypatch, cut):
    text = "<<< TLS 1.3, Handshake [length 0000], Certificate\n    {0}\n".format(
        tls13(extension(5, STATUS))[:cut].hex()
    )
    done = subprocess.CompletedProcess([], 0, text.encode("ascii"))
    monkeypatch.setattr(_staple.subprocess, "run", lambda *_words, **_more: done)
    data, problem = _staple.read(SEEN, 5)
    assert data is None and "cannot be read" in problem
