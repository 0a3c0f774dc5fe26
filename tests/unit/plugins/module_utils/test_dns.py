# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CAA and TLSA: the rules on made-up records, and the questions against a name server on loopback."""

import contextlib
import hashlib
import socket
import sys
import threading

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _dns, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import pki

NAME = "www.example.ac.jp"
ROOT = pki.CA("Root")
SUB = pki.CA("Sub", issuer=ROOT)
LEAF = SUB.issue(NAME)
DERS = [pki.der(LEAF), pki.der(SUB.certificate), pki.der(ROOT.certificate)]
OURS, THEIRS = (0, "issue", "secomtrust.net"), (0, "issue", "ca.example")


# --- CAA -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "records, wildcard, allowed",
    [
        ([], False, True),
        ([OURS], False, True),
        ([THEIRS], False, False),
        ([THEIRS, OURS], False, True),
        ([(0, "issue", " SecomTrust.net ; account=1")], False, True),
        ([(0, "issue", "secomtrust.net.")], False, True),
        ([(0, "issue", "not-secomtrust.net")], False, False),
        ([(0, "issue", ";")], False, False),
        ([(0, "issue", "")], False, False),
        ([(0, "iodef", "mailto:a@example.ac.jp")], False, True),
        ([(0, "issuewild", ";")], False, True),
        ([(0, "issuewild", ";")], True, False),
        ([OURS, (0, "issuewild", ";")], True, False),
        ([THEIRS, (0, "issuewild", "secomtrust.net")], True, True),
        ([OURS], True, True),
        ([OURS, (128, "tbs", "x")], False, False),
        ([OURS, (0, "tbs", "x")], False, True),
        ([(128, "issue", "secomtrust.net")], False, True),
    ],
)
def test_caa(records, wildcard, allowed):
    assert _dns.caa_allows(records, "secomtrust.net", wildcard) is allowed


class Records(object):
    """A resolver with answers of its own."""

    def __init__(self, caa=None, tlsa=None, broken=(), secured=True):
        self.rows, self.owners, self.broken, self.asked = caa or {}, tlsa or {}, broken, []
        self.secured = lambda name: secured

    def caa(self, name):
        return self._found(self.rows, name)

    def tlsa(self, name):
        return self._found(self.owners, name)

    def _found(self, rows, name):
        self.asked.append(name)
        if name in self.broken:
            raise _dns.Unknown("SERVFAIL of '{0}'".format(name))
        return rows.get(name, [])


def seen(*ders, **changes):
    return dict({"chain": list(ders or DERS[:2]), "server_name": NAME, "port": 443}, **changes)


def found(resolver, observation=None, pairs=(), issuer="secomtrust.net"):
    rows = _dns.check(observation or seen(), list(pairs), resolver, issuer)
    return [(row["code"], row["message"] + row["fix"]) for row in rows]


def test_the_nearest_domain_counts():
    records = Records({"example.ac.jp": [OURS], "ac.jp": [THEIRS]})
    assert found(records) == []
    assert records.asked == [NAME, "example.ac.jp", "_443._tcp." + NAME]
    ((code, text),) = found(Records({NAME: [THEIRS], "example.ac.jp": [OURS]}))
    assert code == "caa_forbids" and "'{0}' (0 issue \"ca.example\")".format(NAME) in text
    assert 'CAA 0 issue "secomtrust.net"' in text
    assert [code for code, _text in found(Records({"jp": [THEIRS]}))] == ["caa_forbids"]


def test_one_finding_for_each_domain():
    leaf = SUB.issue(NAME, names=["a.example.ac.jp", "b.example.ac.jp", "*.c.example.ac.jp"])
    records = Records({"example.ac.jp": [THEIRS], "c.example.ac.jp": [OURS, (0, "issuewild", ";")]})
    rows = found(records, seen(pki.der(leaf)))
    assert [code for code, _text in rows] == ["caa_forbids", "caa_forbids"]
    assert "'*.c.example.ac.jp'" in rows[0][1] and "'a.example.ac.jp', 'b.example.ac.jp'" in rows[1][1]


def test_other_cas_certificates_are_no_matter_unless_asked():
    assert found(Records({NAME: [THEIRS]}), issuer=None) == []
    upki = pki.CA("NII Open Domain CA - G8 RSA", issuer=ROOT).issue(NAME)
    assert [code for code, _text in found(Records({NAME: [THEIRS]}), seen(pki.der(upki)), issuer=None)] == [
        "caa_forbids"
    ]
    assert found(Records({NAME: [THEIRS]}), issuer="ca.example") == []


def test_no_answer_is_no_permission():
    ((code, text),) = found(Records(broken=[NAME]))
    assert code == "dns_unknown" and "SERVFAIL" in text
    assert found(Records(), dict(seen(), chain=[])) == []


# --- TLSA ----------------------------------------------------------------------------------------------------


def spki(der):
    return _x509.spki_der(_x509.certificate_from_der(der).public_key())


def sha256(data):
    return hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    "record, fits",
    [
        ((3, 1, 1, sha256(spki(DERS[0]))), True),
        ((3, 0, 1, sha256(DERS[0])), True),
        ((1, 0, 2, hashlib.sha512(DERS[0]).digest()), True),
        ((3, 0, 0, DERS[0]), True),
        ((3, 1, 0, spki(DERS[0])), True),
        ((2, 0, 1, sha256(DERS[1])), True),
        ((2, 1, 1, sha256(spki(DERS[2]))), True),
        ((0, 1, 1, sha256(spki(DERS[1]))), True),
        ((3, 1, 1, sha256(spki(DERS[1]))), False),  # a CA's where the server's is meant
        ((2, 1, 1, sha256(spki(DERS[0]))), False),
        ((3, 1, 1, sha256(DERS[0])), False),
        ((3, 1, 1, b""), False),
        ((3, 2, 1, sha256(DERS[0])), False),
        ((3, 1, 9, sha256(spki(DERS[0]))), False),
        ((7, 1, 1, sha256(spki(DERS[0]))), False),
    ],
)
def test_tlsa(record, fits):
    assert _dns.tlsa_matches(record, DERS) is fits


def test_one_record_that_fits_is_enough():
    owner = "_25._tcp." + NAME
    right, wrong = (3, 1, 1, sha256(spki(DERS[0]))), (3, 1, 1, b"\0" * 32)
    observation = seen(port=25)
    assert found(Records(tlsa={owner: [wrong, right]}), observation) == []
    ((code, text),) = found(Records(tlsa={owner: [wrong]}), observation)
    assert code == "tlsa_mismatch" and owner in text and "3 1 1 0000000000000000…" in text
    assert "TLSA 3 1 1 " + spki_hex() in text
    assert found(Records(tlsa={owner: [wrong]})) == []  # another port
    assert found(Records(tlsa={owner: [wrong]}), seen(port=25, server_name="192.0.2.7")) == []


@pytest.mark.parametrize(
    "secured, fitting, expected",
    [
        (True, True, []),
        (True, False, ["tlsa_mismatch"]),
        (False, True, ["tlsa_unsecured"]),
        (False, False, ["tlsa_unsecured"]),
        (None, True, ["dnssec_unknown"]),
        (None, False, ["tlsa_mismatch", "dnssec_unknown"]),
    ],
)
def test_records_without_dnssec(secured, fitting, expected):
    record = (3, 1, 1, sha256(spki(DERS[0])) if fitting else b"\0" * 32)
    rows = found(Records(tlsa={"_443._tcp." + NAME: [record]}, secured=secured))
    assert [code for code, _text in rows] == expected
    if secured is False:
        assert ("they would fit" if fitting else "they would not fit") in rows[0][1]


def spki_hex():
    return sha256(spki(DERS[0])).hex()


def test_an_unreadable_member_fits_nothing():
    assert not _dns.tlsa_matches((2, 1, 1, sha256(b"junk")), [DERS[0], b"junk"])
    assert _dns.tlsa_matches((2, 0, 0, b"junk"), [DERS[0], b"junk"])


# --- over the network ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def name_server(zone, rcode="NXDOMAIN", signed=()):
    """A UDP name server on loopback: zone is {(name, kind): [text of records]}; gives 'address:port'.

    signed: names whose answers carry AD, for those who ask for it.
    """
    message = pytest.importorskip("dns.message", reason="dnspython is not installed")
    import dns.flags
    import dns.rcode
    import dns.rrset

    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve():
        while True:
            data, peer = server.recvfrom(4096)
            if data == b"stop":
                return
            query = message.from_wire(data)
            (question,) = query.question
            name, kind = question.name.to_text(omit_final_dot=True).lower(), question.rdtype
            rows = [row for (owner, of), row in zone.items() if owner == name and getattr(dns.rdatatype, of) == kind]
            reply = message.make_response(query)
            if (name or ".") in signed and query.flags & dns.flags.AD:
                reply.flags |= dns.flags.AD
            if rows:
                reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *rows[0]))
            elif not any(owner == name for owner, _of in zone):
                reply.set_rcode(dns.rcode.from_text(rcode))
            server.sendto(reply.to_wire(), peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    place = server.getsockname()
    try:
        yield "{0}:{1}".format(*place)
    finally:
        server.sendto(b"stop", place)
        thread.join(5)
        server.close()


def test_over_udp():
    owner = "_443._tcp." + NAME
    zone = {
        ("example.ac.jp", "CAA"): ['0 issue "ca.example"', '0 iodef "mailto:a@example.ac.jp"'],
        (NAME, "A"): ["192.0.2.7"],
        (owner, "TLSA"): ["3 1 1 " + "00" * 32],
    }
    with name_server(zone, signed=[owner]) as place:
        resolver = _dns.Resolver(3, place)
        assert [code for code, _text in found(resolver)] == ["caa_forbids", "tlsa_mismatch"]
        zone[("example.ac.jp", "CAA")] = ['0 issue "secomtrust.net"']
        zone[(owner, "TLSA")] = ["3 1 1 " + spki_hex()]
        assert [code for code, _text in found(resolver)] == ["caa_forbids", "tlsa_mismatch"]  # asked once a run
        assert found(_dns.Resolver(3, place)) == []


@pytest.mark.parametrize(
    "signed, expected",
    [
        (["_443._tcp." + NAME, "."], []),
        (["_443._tcp." + NAME], []),
        (["."], ["tlsa_unsecured"]),
        ([], ["dnssec_unknown"]),
    ],
    ids=["all", "the answer alone", "the root alone", "nothing"],
)
def test_the_resolver_s_word_about_dnssec(signed, expected):
    zone = {("_443._tcp." + NAME, "TLSA"): ["3 1 1 " + spki_hex()], (".", "SOA"): [". . 1 2 3 4 5"]}
    with name_server(zone, signed=signed) as place:
        assert [code for code, _text in found(_dns.Resolver(3, place))] == expected


def test_a_resolver_that_knows_no_root_zone():
    zone = {("_443._tcp." + NAME, "TLSA"): ["3 1 1 " + spki_hex()]}
    with name_server(zone) as place:
        assert [code for code, _text in found(_dns.Resolver(3, place))] == ["dnssec_unknown"]


def test_a_name_server_that_fails():
    with name_server({}, "SERVFAIL") as place:
        rows = found(_dns.Resolver(2, place))
    assert [code for code, _text in rows] == ["dns_unknown", "dns_unknown"]
    assert "CAA of '{0}'".format(NAME) in rows[0][1] and "TLSA of" in rows[1][1]


def test_no_name_server_at_all():
    pytest.importorskip("dns.resolver", reason="dnspython is not installed")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:  # bound and never read
        taken.bind(("127.0.0.1", 0))
        rows = found(_dns.Resolver(0.3, "127.0.0.1:{0}".format(taken.getsockname()[1])))
    assert [code for code, _text in rows] == ["dns_unknown", "dns_unknown"]


@pytest.mark.parametrize("server", ["ns.example.ac.jp", "192.0.2.53:", "192.0.2.53:0", "[::1]:70000", "192.0.2.53:x"])
def test_a_wrong_name_server(server):
    pytest.importorskip("dns.resolver", reason="dnspython is not installed")
    with pytest.raises(UpkiError) as caught:
        _dns.Resolver(1, server)
    assert caught.value.code == "dns_server_invalid" and server in caught.value.message


@pytest.mark.parametrize("server", [None, "192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]:53"])
def test_a_right_name_server(server):
    pytest.importorskip("dns.resolver", reason="dnspython is not installed")
    _dns.Resolver(1, server)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "dns.exception", None)
    with pytest.raises(UpkiError) as caught:
        _dns.Resolver(1)
    assert caught.value.code == "dnspython_missing" and "python3-dnspython" in caught.value.fix
