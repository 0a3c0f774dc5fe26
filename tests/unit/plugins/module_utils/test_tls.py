# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real connections to real servers on loopback, well-behaved and hostile."""

import contextlib
import errno
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _tls
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import pki, tls_zoo

NAME = "www.example.ac.jp"
ROOT = pki.CA("Root", start=pki.NOW - pki.days(3000))
SUB = pki.CA("Sub", issuer=ROOT)
LEAF = SUB.issue(NAME, start=pki.NOW - pki.days(900), end=pki.NOW + pki.days(2900))
KEY = pki.key("leaf " + NAME)
CHAIN = [LEAF, SUB.certificate]
WHOLE = sys.version_info >= (3, 10) or shutil.which("openssl") is not None


@pytest.fixture(scope="module")
def trust(tmp_path_factory):
    path = tmp_path_factory.mktemp("trust") / "roots.pem"
    path.write_text(pki.pem(ROOT.certificate), encoding="ascii")
    return _tls.Trust(str(path))


def look(port, trust, timeout=5, **endpoint):
    return _tls.probe(dict({"host": "127.0.0.1", "port": port, "server_name": NAME}, **endpoint), trust, timeout)


def test_a_trusted_chain(trust):
    with tls_zoo.tls(CHAIN, KEY) as port:
        seen = look(port, trust)
    assert seen["error"] is None and seen["trusted"] is True
    assert seen["address"] == "127.0.0.1" and seen["version"].startswith("TLSv1.") and seen["cipher"]
    assert seen["whole_chain"] is WHOLE
    assert seen["chain"] == [pki.der(one) for one in (CHAIN if WHOLE else CHAIN[:1])]
    assert seen["verified"] == (
        [pki.der(one) for one in CHAIN + [ROOT.certificate]] if sys.version_info >= (3, 10) else []
    )


@pytest.mark.skipif(not WHOLE, reason="neither this Python nor openssl shows the chain")
def test_the_chain_is_shown_as_it_was_sent(trust):
    sent = [LEAF, ROOT.certificate, SUB.certificate, SUB.certificate]
    with tls_zoo.tls(sent, KEY) as port:
        assert look(port, trust)["chain"] == [pki.der(one) for one in sent]


def test_a_refused_chain_is_brought_home_all_the_same(trust):
    with tls_zoo.tls([LEAF], KEY) as port:
        seen = look(port, trust)
    assert seen["trusted"] is False
    assert ("issuer" if sys.version_info >= (3, 7) else "verify failed") in seen["verify_text"]
    assert seen["error"] is None and seen["chain"] == [pki.der(LEAF)] and seen["verified"] == []


def test_the_server_name_is_sent(trust):
    asked = []

    def configure(context):
        context.set_servername_callback(lambda _socket, name, _context: asked.append(name))

    with tls_zoo.tls(CHAIN, KEY, configure) as port:
        look(port, trust)
    assert set(asked) == {NAME}


def test_a_server_that_prefers_anonymous_suites_shows_its_certificate(trust):
    """As postfix with tls_preempt_cipherlist may."""

    def configure(context):
        context.set_ciphers("AECDH-AES256-SHA:ALL:@SECLEVEL=0")
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | getattr(ssl, "OP_NO_TLSv1_3", 0)

    with tls_zoo.tls(CHAIN, KEY, configure) as port:
        seen = look(port, trust)
    assert (seen["error"], seen["chain"][:1]) == (None, [pki.der(LEAF)])


# --- what goes wrong -----------------------------------------------------------------------------------------


def outcome(port, trust, timeout=5, **endpoint):
    seen = look(port, trust, timeout, **endpoint)
    assert seen["chain"] == [] and seen["trusted"] is None
    return seen["error"]["code"]


def test_connection_refused(trust):
    assert outcome(tls_zoo.refusing_port(), trust) == "connection_refused"


def test_name_not_resolved(trust):
    assert outcome(443, trust, host="name.invalid") == "name_not_resolved"


@pytest.fixture
def silent_resolver(monkeypatch):
    """Asked, it says nothing until the test is over."""
    stop, asked = threading.Event(), []

    def addresses(host, _port):
        asked.append(host)
        stop.wait(tls_zoo.PATIENCE)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(_tls, "addresses", addresses)
    yield asked
    stop.set()


@pytest.mark.parametrize("limits, seconds", [({}, 1), ({"resolution": 0.3}, 0.3)])
def test_a_resolver_without_an_answer_does_not_hold_the_run_up(trust, silent_resolver, limits, seconds):
    started = time.time()
    seen = look(443, trust, timeout=1, host="www.example.ac.jp", limits=limits)
    assert time.time() - started < seconds + 1
    assert silent_resolver == ["www.example.ac.jp"]
    assert (seen["error"]["code"], seen["error"]["phase"]) == ("name_not_resolved", "name resolution")
    assert seen["error"]["variant"] == "slow" and seen["seconds"] == seconds


def test_an_address_asks_no_resolver(trust, silent_resolver):
    with tls_zoo.tls(CHAIN, KEY) as port:
        assert look(port, trust)["trusted"] is True
    assert silent_resolver == []


@pytest.mark.parametrize("phase, code", [("connection", "timeout"), ("starttls", "timeout"), ("handshake", "timeout")])
def test_each_phase_has_a_time_of_its_own(trust, phase, code):
    """The server accepts and is silent, or does not even accept; the other phases have all the time."""
    stop, started = threading.Event(), time.time()
    more = {"starttls": "smtp"} if phase == "starttls" else {}
    with tls_zoo.silent(stop) as port, contextlib.ExitStack() as stack:
        port = stack.enter_context(full()) if phase == "connection" else port
        seen = look(port, trust, timeout=8, limits={phase: 0.4}, **more)
        stop.set()
    assert time.time() - started < 4
    assert seen["error"]["code"] == code and seen["error"]["phase"] == _tls.PHASES[phase] and seen["seconds"] == 0.4


@contextlib.contextmanager
def full():
    """A port whose queue is full, so that further connections are not answered."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _number in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        time.sleep(0.2)
        yield listener.getsockname()[1]


def test_a_silent_address_leaves_time_for_the_next(trust, monkeypatch):
    """As where IPv6 leads nowhere: the first of two addresses does not answer at all."""
    with tls_zoo.tls(CHAIN, KEY) as port, full() as silent:
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", number)) for number in (silent, port)]
        monkeypatch.setattr(_tls, "addresses", lambda host, port: rows)
        seen = look(port, trust, timeout=2, host="www.example.ac.jp")
    assert seen["error"] is None and seen["trusted"] is True


@pytest.mark.parametrize("host", ["a..example", "x" * 70 + ".example"], ids=["empty label", "long label"])
def test_impossible_names(trust, host):
    assert outcome(443, trust, host=host) == "name_not_resolved"


@pytest.mark.parametrize(
    "piece",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail.example.ac.jp ESMTP\r\n", b"SSH-2.0-x\r\n", b"\0" * 400],
    ids=["http", "smtp", "ssh", "zeros"],
)
def test_not_tls(trust, piece):
    with tls_zoo.says(piece) as port:
        assert outcome(port, trust) == "not_tls"


def test_a_silent_server_ends_in_a_timeout(trust):
    stop = threading.Event()
    with tls_zoo.silent(stop) as port:
        seen = look(port, trust, timeout=0.3)
        stop.set()
    assert seen["error"] == {"code": "timeout", "text": "timed out", "phase": "TLS handshake"}


def test_hanging_up_after_the_hello(trust):
    with tls_zoo.hangs_up() as port:
        assert outcome(port, trust) == "connection_closed"


def test_an_alert(trust):
    with tls_zoo.says(b"\x15\x03\x03\x00\x02\x02\x28") as port:
        assert outcome(port, trust) == "handshake_failed"


def test_an_alert_about_the_version(trust):
    with tls_zoo.says(b"\x15\x03\x03\x00\x02\x02\x46") as port:
        assert outcome(port, trust) == "old_protocol"


def bounded(port, trust, seconds):
    started = time.time()
    code = outcome(port, trust, timeout=seconds)
    assert time.time() - started < seconds + 3
    return code


def test_an_endless_banner(trust):
    def serve(connection):
        while True:
            connection.sendall(b"220-and so on\r\n" * 100)

    with tls_zoo.listening(serve) as port:
        assert bounded(port, trust, 2) == "not_tls"


def test_one_byte_at_a_time_ends_in_a_timeout(trust):
    def serve(connection):
        connection.sendall(b"\x16\x03\x03\x3f\xff")
        while True:
            connection.sendall(b"\x02")
            time.sleep(0.05)

    with tls_zoo.listening(serve) as port:
        assert bounded(port, trust, 1) in ("timeout", "handshake_failed")


def test_endless_empty_records_end(trust):
    def serve(connection):
        while True:
            connection.sendall(b"\x16\x03\x03\x00\x00" * 100)

    with tls_zoo.listening(serve) as port:
        assert bounded(port, trust, 2) in ("handshake_failed", "not_tls")


def test_a_server_that_stops_midway(trust):
    with tls_zoo.says(b"\x16\x03\x03\x10\x00\x02\x00\x0f\xfc\x03\x03") as port:
        assert outcome(port, trust, timeout=1) in ("connection_closed", "timeout")


@pytest.mark.parametrize("length", [20 * 1024 * 1024, 0xFFFFFF])
def test_a_giant_server_hello_is_refused_early(trust, length):
    """Its header announces megabytes."""

    def serve(connection):
        connection.recv(4096)
        connection.sendall(b"\x16\x03\x03\x40\x00\x02" + (length & 0xFFFFFF).to_bytes(3, "big") + b"\0" * 16380)
        connection.recv(4096)

    with tls_zoo.listening(serve) as port:
        assert bounded(port, trust, 2) in ("handshake_failed", "connection_closed")


MEGABYTE = 1024 * 1024


def filler(size):
    """Whole certificates, many times one, that fill a Certificate message up to a size."""
    der = pki.der(SUB.certificate)
    return [der] * (size // (len(der) + 3))


def test_a_certificate_message_within_openssl_s_limit_is_read():
    """So that the next tests show a limit, and not a fault of the hand-made server."""
    with tls_zoo.hand_made(tls_zoo.certificate_message([pki.der(LEAF)] + filler(60 * 1024))) as port:
        seen = {"host": "127.0.0.1", "port": port, "server_name": NAME, "chain": []}
        _tls.attempt(seen, _tls.new_context(), 5)
    assert seen["error"]["code"] == "connection_closed"


WATCHED = """
import json, resource, sys, time
from ansible_collections.campus.upki.plugins.module_utils import _tls
port, roots = int(sys.argv[1]), sys.argv[2]
trust = _tls.Trust(roots)
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.time()
seen = _tls.probe({"host": "127.0.0.1", "port": port, "server_name": "www.example.ac.jp"}, trust, 10)
seconds, peak = time.time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([seen["error"], len(seen["chain"]), seconds, (peak - before) / 1024.0]))
"""


def watched(port, roots):
    """(error, certificates seen, seconds, MiB that the peak of memory grew by) of a look from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(port), roots],
        stdout=subprocess.PIPE,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout.decode("ascii"))


@pytest.mark.parametrize("version", ["TLS 1.2 by hand", "TLS 1.2", "TLS 1.3"])
def test_a_certificate_message_of_ten_megabytes(trust, version):
    """Whole certificates up to 10 MiB. OpenSSL gives up at its header; neither time nor memory follow its size."""
    if version == "TLS 1.2 by hand":
        server = tls_zoo.hand_made(tls_zoo.certificate_message([pki.der(LEAF)] + filler(10 * MEGABYTE)))
    else:
        names = ["n{0}.example.ac.jp".format(number) for number in range(5000)]
        large = SUB.issue("large.example.ac.jp", names=names)
        count = 10 * MEGABYTE // len(pki.der(large)) + 1
        wanted = getattr(getattr(ssl, "TLSVersion", None), version.replace(" ", "v").replace(".", "_"), None)
        if wanted is None:
            pytest.skip("this Python cannot choose the version")

        def configure(context):
            context.minimum_version = context.maximum_version = wanted

        server = tls_zoo.tls([LEAF] + [large] * count, KEY, configure)
    with server as port:
        error, count, seconds, growth = watched(port, trust.path)
    assert error["code"] == "handshake_failed" and "excessive message size" in error["text"]
    assert count == 0 and seconds < 5
    assert growth < 4, "{0:.1f} MiB".format(growth)


@pytest.mark.skipif(not WHOLE, reason="neither this Python nor openssl shows the chain")
def test_the_largest_chain_that_openssl_reads_is_read(trust):
    """Some 90 kB of certificates are a chain like any other, however foolish."""
    others = [pki.CA("Other {0}".format(number), issuer=ROOT).certificate for number in range(150)]
    with tls_zoo.tls([LEAF, SUB.certificate] + others, KEY) as port:
        error, count, seconds, growth = watched(port, trust.path)
    assert error is None and count == 152 and seconds < 5
    assert growth < 8, "{0:.1f} MiB".format(growth)


# --- explaining ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, code",
    [
        (OSError(errno.EHOSTUNREACH, "No route to host"), "host_unreachable"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "host_unreachable"),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), "timeout"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "connection_closed"),
        (BrokenPipeError(errno.EPIPE, "broken"), "connection_closed"),
        (socket.gaierror(-2, "Name or service not known"), "name_not_resolved"),
        (UnicodeError("label too long"), "name_not_resolved"),
        (ssl.SSLEOFError(8, "EOF"), "connection_closed"),
        (OSError(errno.EMFILE, "Too many open files"), "handshake_failed"),
    ],
)
def test_explain(error, code):
    assert _tls.explain(error)["code"] == code


# --- trust stores --------------------------------------------------------------------------------------------


def test_a_folder_is_a_trust_store(tmp_path):
    (tmp_path / "a.pem").write_text(pki.pem(ROOT.certificate), encoding="ascii")
    (tmp_path / "b.crt").write_text("# Wurzel: größer\n" + pki.pem(SUB.certificate), encoding="utf-8")
    (tmp_path / "readme.txt").write_text("no certificate", encoding="ascii")
    trust = _tls.Trust(str(tmp_path))
    assert trust.name == str(tmp_path)
    assert trust.pem.count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("content, code", [(None, "ca_file_missing"), ("nothing here", "ca_file_broken")])
def test_trust_stores_that_do_not_serve(tmp_path, content, code):
    path = tmp_path / "roots.pem"
    if content is not None:
        path.write_text(content, encoding="ascii")
    with pytest.raises(UpkiError) as caught:
        _tls.Trust(str(path))
    assert caught.value.code == code and str(path) in caught.value.message and caught.value.fix


def test_no_system_store(monkeypatch):
    monkeypatch.setattr(_tls, "SYSTEM_STORES", ("/nonexistent/roots.pem",))
    monkeypatch.setattr(_tls.os.path, "isfile", lambda path: False)
    with pytest.raises(UpkiError) as caught:
        _tls.system_store()
    assert caught.value.code == "ca_file_missing" and "ca-certificates" in caught.value.fix


# --- attempts ------------------------------------------------------------------------------------------------


@pytest.fixture
def attempts(monkeypatch):
    """A list that takes the place of the servers: what each attempt ends with, None for an answer."""
    rows = []

    def probe(endpoint, _trust, _timeout):
        code = rows.pop(0)
        return dict(endpoint, error=code and {"code": code, "phase": "connection", "text": "x"})

    monkeypatch.setattr(_tls, "probe", probe)
    monkeypatch.setattr(_tls, "PAUSE", 0)
    return rows


@pytest.mark.parametrize(
    "codes, retries, earlier, left",
    [
        ([None], 0, [], 0),
        (["timeout", None], 0, [], 1),
        (["timeout", "connection_refused", None], 2, ["timeout", "connection_refused"], 0),
        (["timeout", "timeout", None], 1, ["timeout"], 1),
        (["not_tls", None], 3, [], 1),  # which no second attempt mends
    ],
)
def test_patience(attempts, codes, retries, earlier, left):
    attempts.extend(codes)
    seen = _tls.patient({"host": "h"}, None, 1, retries)
    assert (seen["earlier"], seen["attempts"], len(attempts)) == (earlier, len(earlier) + 1, left)
