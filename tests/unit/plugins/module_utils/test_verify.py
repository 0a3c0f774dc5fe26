# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to look at, what is known, and the summary."""

import datetime
import threading
import time

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _probe, _tls, _verify, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import pki, tls_zoo

NAME = "www.example.ac.jp"
ROOT = pki.CA("Root", start=pki.NOW - pki.days(3000))
SUB = pki.CA("Sub", issuer=ROOT)
LEAF = SUB.issue(NAME, start=pki.NOW - pki.days(900), end=pki.NOW + pki.days(2900))
KEY = pki.key("leaf " + NAME)


# --- endpoints -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host, port, expected",
    [
        ("www.example.ac.jp", None, ("www.example.ac.jp", 443)),
        ("www.example.ac.jp", 8443, ("www.example.ac.jp", 8443)),
        ("www.example.ac.jp:8443", None, ("www.example.ac.jp", 8443)),
        ("192.0.2.7:8443", None, ("192.0.2.7", 8443)),
        ("2001:db8::1", None, ("2001:db8::1", 443)),
        ("[2001:db8::1]:8443", None, ("2001:db8::1", 8443)),
        ("[2001:db8::1]", 636, ("2001:db8::1", 636)),
        ("fe80::1%eth0", None, ("fe80::1%eth0", 443)),
    ],
)
def test_hosts_and_ports(host, port, expected):
    (endpoint,) = _verify.endpoints_of([{"host": host, "port": port}])
    assert (endpoint["host"], endpoint["port"]) == expected
    assert endpoint["server_name"] == expected[0]


def test_a_fingerprint_in_any_spelling():
    digest = "AB" * 32
    colons = ":".join(["ab"] * 32)
    rows = [{"host": "a", "certificate_sha256": text} for text in (digest, colons, None, "")]
    assert [one["certificate_sha256"] for one in _verify.endpoints_of(rows)] == ["ab" * 32, "ab" * 32, None, None]


@pytest.mark.parametrize(
    "row, word",
    [
        ({"host": ""}, "host ''"),
        ({"host": "a b"}, "host 'a b'"),
        ({"host": "a/b"}, "host 'a/b'"),
        ({"host": "localhost:abc"}, "host 'localhost:abc'"),
        ({"host": "localhost:"}, "host 'localhost:'"),
        ({"host": "a:443:444"}, "host 'a:443:444'"),
        ({"host": "[a]:443"}, "host '[a]:443'"),
        ({"host": "[::1:443"}, "host '[::1:443'"),
        ({"host": "::1%/"}, "host '::1%/'"),
        ({"host": "a", "port": 0}, "port 0"),
        ({"host": "a", "port": 65536}, "port 65536"),
        ({"host": "a:99999"}, "port 99999"),
        ({"host": "a", "server_name": "-a.example"}, "server_name '-a.example'"),
        ({"host": "a", "server_name": "a..b"}, "server_name 'a..b'"),
        ({"host": "a", "server_name": "x" * 64}, "server_name"),
        ({"host": "a", "certificate_sha256": "abc"}, "certificate_sha256 'abc'"),
        ({"host": "a", "certificate_sha256": "z" * 64}, "certificate_sha256"),
    ],
)
def test_faults_of_endpoints(row, word):
    with pytest.raises(UpkiError) as caught:
        _verify.endpoints_of([{"host": "good.example"}, row])
    assert caught.value.code == "endpoint_invalid"
    assert "endpoint 2: " in caught.value.message and word in caught.value.message
    assert "endpoint 1" not in caught.value.message


def test_all_faults_are_told_at_once():
    with pytest.raises(UpkiError) as caught:
        _verify.endpoints_of([{"host": "a b", "port": 0}, {"host": "c d"}])
    assert caught.value.message.count("endpoint") == 3


def rows_of(certificates, loopback="as_written", expected=None):
    return [
        (row["host"], row["port"], row["server_name"], row["certificate_sha256"])
        for row in _verify.endpoints_of_certificates(certificates, loopback, expected)
    ]


def test_endpoints_of_certificates():
    certificates = [
        {"name": "a.example", "key_type": "p384"},
        {"name": "b.example", "endpoint": "127.0.0.1:8443"},
        {"name": "c.example", "endpoint": ""},
        {"name": "d.example", "endpoint": "127.0.0.1:1", "public_endpoint": "d.example:8443"},
    ]
    assert rows_of(certificates) == [
        ("a.example", None, "a.example", None),
        ("127.0.0.1", 8443, "b.example", None),
        ("d.example", 8443, "d.example", None),
    ]
    assert rows_of(certificates, "by_name")[1] == ("b.example", 8443, "b.example", None)


@pytest.mark.parametrize(
    ("endpoint", "starttls", "spoken"),
    [("a:25", None, "smtp"), ("a:587", None, "smtp"), ("a:389", None, "ldap"), ("a:25", "none", ""),
     ("a:443", None, ""),
     ("a:8443", None, ""), ("a:8143", "imap", "imap")],
)  # fmt: skip
def test_the_port_says_which_words_come_before_tls(endpoint, starttls, spoken):
    certificate = {"name": "a.example", "endpoint": endpoint, "starttls": starttls}
    assert _verify.endpoints_of_certificates([certificate], "as_written")[0]["starttls"] == spoken


def test_the_store_s_live_certificate_is_expected():
    stored = [{"name": "a.example", "live": {"sha256": "ab" * 32}}, {"name": "b.example", "live": None}]
    found = rows_of([{"name": "a.example"}, {"name": "b.example"}], "as_written", stored)
    assert [row[3] for row in found] == ["ab" * 32, None]


def test_a_certificate_without_a_name():
    with pytest.raises(UpkiError) as caught:
        rows_of([{"endpoint": "a:1"}])
    assert caught.value.code == "certificate_name_missing"


def test_a_certificate_at_several_places_is_an_endpoint_for_each():
    certificate = {"name": "a.example", "endpoint": ["127.0.0.1:993", "127.0.0.1:143", "", "[::1]:993", "h:1=smtp"]}
    rows = _verify.endpoints_of_certificates([certificate], "by_name")
    assert [(row["host"], row["port"], row["starttls"]) for row in rows] == [
        ("a.example", 993, ""),
        ("a.example", 143, "imap"),
        ("h", 1, "smtp"),
    ]
    assert len(_verify.endpoints_of_certificates([certificate], "as_written")) == 4
    assert _verify.endpoints_of_certificates([{"name": "a.example", "endpoint": []}], "by_name") == []


@pytest.mark.parametrize("key", ["endpoint", "public_endpoint"])
@pytest.mark.parametrize("text", ["localhost", "localhost:abc", "localhost:0", "::1", "a b:443"])
def test_an_endpoint_is_written_as_where_it_is_deployed(key, text):
    """The words are those of campus.upki.install, with the certificate's name before them."""
    with pytest.raises(UpkiError) as caught:
        rows_of([{"name": "a.example", key: text}])
    with pytest.raises(UpkiError) as theirs:
        _probe.parse_endpoint(text)
    assert caught.value.code == theirs.value.code == "endpoint_invalid" and caught.value.fix == theirs.value.fix
    assert caught.value.message == "a.example: " + theirs.value.message


@pytest.mark.parametrize(
    "limits, timeout, good",
    [
        ({}, 1, True),
        ({"connection": 1}, 1, True),
        (None, 1, True),
        ({"connection": 2}, 1, False),
        ({"handshake": 0}, 1, False),
    ],
)
def test_a_phase_has_no_more_time_than_all_together(limits, timeout, good):
    if good:
        return _verify.check_bounds(timeout, 1, 0, limits)
    with pytest.raises(UpkiError) as caught:
        _verify.check_bounds(timeout, 1, 0, limits)
    assert caught.value.code == "timeout_invalid" and "timeouts." + list(limits)[0] in caught.value.message


def test_warn_before_is_named_in_its_error():
    with pytest.raises(UpkiError) as caught:
        _verify.parse_warn_before("soon")
    assert caught.value.code == "warn_before_invalid" and "warn_before 'soon'" in caught.value.message


# --- what is known -------------------------------------------------------------------------------------------


def test_known_certificates_from_files_and_folders(tmp_path):
    (tmp_path / "a.pem").write_text(pki.pem(SUB.certificate), encoding="ascii")
    (tmp_path / "b.cer").write_bytes(pki.der(ROOT.certificate))
    (tmp_path / "notes.txt").write_text("nothing", encoding="ascii")
    rows = [row for row in _verify.known_cards([str(tmp_path), str(tmp_path / "absent")]) if row["file"]]
    assert [row["sha256"] for row in rows] == [_x509.sha256(SUB.certificate), _x509.sha256(ROOT.certificate)]
    assert rows[0]["file"] == str(tmp_path / "a.pem")


def test_anchors_by_subject():
    anchors = _verify.Anchors(pki.pem(ROOT.certificate, SUB.certificate))
    (row,) = anchors.get(_x509.name_text(ROOT.certificate.subject))
    assert row["sha256"] == _x509.sha256(ROOT.certificate)
    assert anchors.get("CN=nobody") == ()


def test_the_system_s_store_can_be_read():
    try:
        path = _tls.system_store()
    except UpkiError as error:
        pytest.skip("no system trust store here: {0}".format(error))
    anchors = _verify.Anchors(_tls.Trust(path).pem)
    assert anchors.get("CN=nobody") == ()


# --- the run -------------------------------------------------------------------------------------------------


@pytest.fixture
def trust(tmp_path):
    path = tmp_path / "roots.pem"
    path.write_text(pki.pem(ROOT.certificate), encoding="ascii")
    return _tls.Trust(str(path))


def run(rows, trust, **options):
    now = datetime.datetime.now(datetime.timezone.utc)
    settings = dict({"timeout": 5, "parallel": 8}, **options)
    around = _verify.surroundings(trust, [], now, _verify.parse_warn_before("1/3"))
    return _verify.run(_verify.endpoints_of(rows), trust, around, **settings)


def test_many_endpoints_at_once_in_their_order(trust):
    def slow(connection):
        time.sleep(0.4)
        connection.close()

    with tls_zoo.tls([LEAF, SUB.certificate], KEY) as good, tls_zoo.listening(slow) as bad:
        rows = [{"host": "127.0.0.1", "port": port, "server_name": NAME} for port in [bad] * 8 + [good]]
        started = time.time()
        results = run(rows, trust, parallel=9)
        assert time.time() - started < 2.5
    assert [row["port"] for row in results] == [bad] * 8 + [good]
    assert {row["findings"][0]["code"] for row in results[:8]} == {"connection_closed"}
    assert results[8]["trusted"] is True


def test_no_endpoint_is_no_crash(trust):
    assert run([], trust) == []
    assert _verify.summary([]) == ["No endpoint was looked at."]


def test_each_address_of_a_name(trust, monkeypatch):
    rows = [(2, 1, 6, "", ("127.0.0.1", 0)), (2, 1, 6, "", ("127.0.0.1", 0)), (2, 1, 6, "", ("127.0.0.2", 0))]
    monkeypatch.setattr(_tls, "addresses", lambda host, port: rows)
    (first, second) = _verify.each_address(_verify.endpoints_of([{"host": NAME}]), 1, 8)
    assert (first["connect"], second["connect"], second["host"]) == ("127.0.0.1", "127.0.0.2", NAME)


def test_a_name_without_an_address_stays(trust):
    endpoints = _verify.endpoints_of([{"host": "name.invalid"}])
    assert _verify.each_address(endpoints, 5, 8) == endpoints


def test_each_address_of_names_that_nobody_resolves(trust, monkeypatch):
    """Twenty names, a resolver that does not answer: the time of one, not of twenty, and a finding for each."""
    stop = threading.Event()
    monkeypatch.setattr(_tls, "addresses", lambda host, port: stop.wait(10))
    endpoints = _verify.endpoints_of([{"host": "h{0}.example".format(number)} for number in range(20)])
    started = time.time()
    try:
        assert _verify.each_address(endpoints, 0.3, 20) == endpoints
        assert time.time() - started < 2
    finally:
        stop.set()


# --- the summary ---------------------------------------------------------------------------------------------


def result(server_name, *findings, **changes):
    made = {
        "host": "192.0.2.7",
        "port": 443,
        "server_name": server_name,
        "ok": not findings,
        "days_left": 90,
        "certificate": {"not_after": "2027-01-01T00:00:00Z"},
        "chain": [1, 2],
        "tls_version": "TLSv1.3",
        "findings": [{"severity": severity, "code": code, "message": "M.", "fix": "F."} for severity, code in findings],
    }
    return dict(made, **changes)


def test_all_is_well_in_the_last_line():
    lines = _verify.summary([result("a"), result("b")])
    assert lines[-1] == "All is well: 2 endpoints looked at, nothing to do."
    assert lines[0] == "a (192.0.2.7:443): well, 90 days left, until 2027-01-01, chain of 2, TLSv1.3"


@pytest.mark.parametrize(
    "endpoints, files, text",
    [(0, 1, "1 file"), (0, 2, "2 files"), (1, 2, "1 endpoint and 2 files"), (2, 0, "2 endpoints")],
)
def test_files_are_called_files(endpoints, files, text):
    rows = [result("a")] * endpoints + [result("b", host=None, port=None, file="/b.pem")] * files
    assert _verify.summary(rows)[-1] == "All is well: {0} looked at, nothing to do.".format(text)


def test_the_generation_of_upki_is_said_in_words():
    leaf = {"not_after": "2027-01-01T00:00:00Z", "generation": "G8"}
    assert _verify.summary([result("a", certificate=leaf)])[0].endswith(", TLSv1.3, issued by UPKI G8")


def test_errors_come_first_and_are_counted_last():
    lines = _verify.summary(
        [result("well"), result("soon", ("warning", "expires_soon")), result("bad", ("error", "expired"))]
    )
    assert [line.split()[0] for line in lines if not line.startswith(" ")][:3] == ["bad", "soon", "well"]
    assert lines[1:3] == ["  error expired: M.", "    → F."]
    assert lines[-1].startswith("3 endpoints looked at: 1 error, 1 warning.")


def test_an_endpoint_without_a_certificate():
    lines = _verify.summary([result("192.0.2.7", ("error", "timeout"), certificate=None, days_left=None)])
    assert lines[0] == "192.0.2.7:443: no certificate seen"


# --- what remains --------------------------------------------------------------------------------------------


def stored(*generations, **live):
    return [
        {"name": "a.example", "live": dict({"sha256": "ab" * 32, "serial": "2"}, **live), "generations": generations}
    ]


OLD = {"role": "old", "serial": "1", "days_left": 20, "not_after": "2026-12-12T00:00:00Z"}
SERVED = [result("a.example", certificate={"not_after": "2027-01-01T00:00:00Z", "sha256": "ab" * 32})]


def test_after_a_renewal_the_it_centre_is_to_be_told():
    (step,) = _verify.next_steps(SERVED, stored(OLD))
    assert "Tell the IT centre that a.example has been replaced" in step
    assert "serial 1 (valid until 2026-12-12)" in step
    lines = _verify.summary(SERVED, [step])
    assert lines[-2:] == [step, "All is well: 1 endpoint looked at. What remains for you stands above."]


def test_a_certificate_from_before_the_store_is_told_too():
    before = {"serial": "7", "not_after": "2026-12-24T00:00:00Z"}
    (step,) = _verify.next_steps(SERVED, stored(replaces=before))
    assert "serial 7 (valid until 2026-12-24)" in step
    assert len(_verify.next_steps(SERVED, stored(OLD, replaces=dict(before, serial="1")))) == 1


@pytest.mark.parametrize(
    "expected",
    [
        None,
        stored(),
        stored(dict(OLD, days_left=-1)),
        stored(dict(OLD, role="unused", serial=None)),
        stored(dict(OLD, role="live")),
        stored(OLD, sha256="cd" * 32),
        stored(replaces={"serial": "7", "not_after": "2026-11-01T00:00:00Z", "days_left": -21}),
        [{"name": "a.example", "live": None, "generations": [OLD]}],
    ],
    ids=["no store", "first", "ended", "unused", "live", "not served yet", "replaced ended", "not live"],
)
def test_nothing_remains(expected):
    assert _verify.next_steps(SERVED, expected) == []


def test_what_was_found_on_the_host_and_named_too_is_looked_at_once():
    rows = [{"name": "a.example"}, {"name": "a.example", "endpoint": "127.0.0.1:443"}, {"name": "b.example"}]
    by_name = _verify.endpoints_of_certificates(rows, "by_name")
    assert [(row["host"], row["server_name"]) for row in by_name] == [("a.example",) * 2, ("b.example",) * 2]
    assert len(_verify.endpoints_of_certificates(rows, "as_written")) == 3
    others = [{"name": "a.example"}, {"name": "a.example", "endpoint": "a.example:8443"}]
    assert len(_verify.endpoints_of_certificates(others, "by_name")) == 2
