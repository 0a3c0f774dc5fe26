# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A zoo of real TLS servers on loopback: faulty ones with the findings that each must give, and clean ones with none.

The certificates are judged at the real time, because OpenSSL's own verdict is part of the result.
"""

import datetime
import shutil
import socket
import ssl
import sys
import warnings

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _tls, _verify, _x509
from ansible_collections.campus.upki.tests.unit import pki, tls_zoo

pytestmark = pytest.mark.skipif(
    not hasattr(ssl, "TLSVersion") or (sys.version_info < (3, 10) and shutil.which("openssl") is None),
    reason="this Python cannot serve old protocols, or nothing here shows the served chain",
)

NAME = "www.example.ac.jp"
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
LONG = {"start": NOW - pki.days(2000), "end": NOW + pki.days(2000)}


def days(number):
    return NOW + pki.days(number)


def authority(common_name, issuer=None, **shape):
    return pki.CA(common_name, issuer, **dict(LONG, **shape))


OLD = authority("Zoo RootCA2")
NEW = authority("Zoo TLS Root CA 2024")
CROSS = authority("Zoo TLS Root CA 2024", OLD)
G8 = authority("Zoo CA G8", NEW)
G7 = authority("Zoo CA G7", OLD)
NAMESAKE = authority("Zoo CA G8", NEW, label="zoo namesake")
CLIENTS = authority("Zoo CA G8", NEW, usages=(pki.CLIENT,))
ENDED = authority("Zoo CA G8", NEW, end=days(-3))
FUTURE = authority("Zoo CA G8", NEW, start=days(3))
WEAK = authority("Zoo CA weak", OLD, kind="rsa1024")
SHORT = authority("Zoo CA short", OLD, path_length=0)
BELOW = authority("Zoo CA below", SHORT)
PLAIN = authority("Zoo no CA", OLD, ca=False)
STRANGE_ROOT = authority("Strange Root")
STRANGE = authority("Strange CA", STRANGE_ROOT)
STRANGER = authority("Stranger", STRANGE_ROOT)
SELF = pki.CA(NAME, label="zoo self", start=days(-1), end=days(190), ca=False)
KEY = pki.key("leaf " + NAME)


def leaf(issuer=G8, **shape):
    names = shape.pop("names", [NAME])
    return issuer.issue(NAME, names=names, **dict({"start": days(-1), "end": days(197)}, **shape))


TAIL = [G8.certificate, CROSS.certificate]
GOOD = leaf()
G7_LEAF = leaf(G7)


def served(*certificates):
    """A row's server: these certificates (CAs or leaves), the first with the usual key."""
    return [getattr(one, "certificate", one) for one in certificates], KEY, None


def strong(kind):
    key = pki.key("zoo " + kind, kind)
    return [leaf(public_key=key.public_key())] + TAIL, key, None


def configured(configure):
    return [GOOD] + TAIL, KEY, configure


def only(version):
    def configure(context):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = version

    return configured(configure)


def refuse_names(context):
    context.set_servername_callback(lambda _socket, _name, _context: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)


def refuse_any_name(context):
    context.set_servername_callback(
        lambda _socket, name, _context: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME if name else None
    )


def demand_name(context):
    def callback(_socket, name, _context):
        return None if name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context.set_servername_callback(callback)


# name of the animal → (server, expected codes, changes to the endpoint)
ZOO = {
    # clean ones
    "clean G8 with cross": (served(GOOD, *TAIL), [], {}),
    "clean G7": (served(G7_LEAF, G7), [], {}),
    "clean RSA 2048": (strong("rsa2048"), [], {}),
    "clean RSA 4096": (strong("rsa4096"), [], {}),
    "clean P-256": (strong("p256"), [], {}),
    "clean P-384": (strong("p384"), [], {}),
    "clean TLS 1.2": (only(getattr(ssl, "TLSVersion", None) and ssl.TLSVersion.TLSv1_2), [], {}),
    "clean wildcard": (served(leaf(names=["*.example.ac.jp"]), *TAIL), [], {}),
    "clean two names": (served(leaf(names=["a.example.ac.jp", NAME]), *TAIL), [], {}),
    "clean wanted names": (
        served(leaf(names=["a.example.ac.jp", NAME]), *TAIL),
        [],
        {"dns_names": ["a.example.ac.jp", NAME]},
    ),
    "clean upper case asked": (served(GOOD, *TAIL), [], {"server_name": NAME.upper()}),
    "clean first day": (served(leaf(start=NOW, end=days(198)), *TAIL), [], {}),
    "clean 199 days": (served(leaf(start=days(-1), end=days(198)), *TAIL), [], {}),
    "clean two thousand names": (
        served(leaf(names=["n{0}.example.ac.jp".format(number) for number in range(2000)] + [NAME]), *TAIL),
        [],
        {},
    ),
    "clean expected certificate": (served(GOOD, *TAIL), [], {"certificate_sha256": _x509.sha256(GOOD)}),
    "clean path length 0": (served(leaf(SHORT), SHORT), [], {}),
    "clean both usages": (served(leaf(usages=(pki.SERVER, pki.CLIENT)), *TAIL), [], {}),
    # dates
    "expired yesterday": (served(leaf(start=days(-190), end=days(-1)), *TAIL), ["expired"], {}),
    "expired long ago": (served(leaf(start=days(-900), end=days(-700)), *TAIL), ["expired"], {}),
    "expired and alone": (
        served(leaf(start=days(-190), end=days(-1))),
        ["expired", "chain_incomplete", "cross_missing"],
        {},
    ),
    "soon": (served(leaf(start=days(-150), end=days(40)), *TAIL), ["expires_soon"], {}),
    "today": (served(leaf(start=days(-190), end=NOW + datetime.timedelta(hours=3)), *TAIL), ["expires_soon"], {}),
    "tomorrow": (served(leaf(start=days(2), end=days(190)), *TAIL), ["not_yet_valid"], {}),
    "lives 300 days": (served(leaf(start=days(-1), end=days(299)), *TAIL), ["lifetime_too_long"], {}),
    "lives ten years": (served(leaf(start=days(-1), end=days(3650)), *TAIL), ["lifetime_too_long"], {}),
    # names
    "another name": (served(leaf(names=["other.example.ac.jp"]), *TAIL), ["name_mismatch"], {}),
    "only the CN": (served(leaf(names=[]), *TAIL), ["name_mismatch"], {}),
    "wildcard of another level": (served(leaf(names=["*.ac.jp"]), *TAIL), ["name_mismatch"], {}),
    "wildcard below": (served(leaf(names=["*.www.example.ac.jp"]), *TAIL), ["name_mismatch"], {}),
    "a NUL in the name": (served(leaf(names=[NAME + "\0.evil.example"]), *TAIL), ["name_mismatch"], {}),
    "by address": (served(GOOD, *TAIL), ["name_mismatch"], {"server_name": "127.0.0.1"}),
    "wanted name missing": (served(GOOD, *TAIL), ["names_missing"], {"dns_names": ["b.example.ac.jp"]}),
    "another certificate": (served(GOOD, *TAIL), ["unexpected_certificate"], {"certificate_sha256": "0" * 64}),
    # purpose and strength
    "client certificate": (served(leaf(usages=(pki.CLIENT,)), *TAIL), ["wrong_eku"], {}),
    "RSA 1024": (strong("rsa1024"), ["weak_key"], {}),
    "intermediate RSA 1024": (served(leaf(WEAK), WEAK), ["weak_key"], {}),
    "no usage named": (served(leaf(usages=None), *TAIL), ["strict_clients"], {}),
    "CA as server": (served(leaf(ca=True), *TAIL), ["ca_certificate"], {}),
    # missing
    "leaf alone": (served(GOOD), ["chain_incomplete", "cross_missing"], {}),
    "G7 leaf alone": (served(G7_LEAF), ["chain_incomplete"], {}),
    "cross missing": (served(GOOD, G8), ["cross_missing"], {}),
    "intermediate missing, cross there": (served(GOOD, CROSS), ["chain_incomplete", "extra_certificates"], {}),
    "root in place of the cross": (served(GOOD, G8, NEW), ["cross_missing", "root_included"], {}),
    "unknown intermediate missing": (served(leaf(STRANGE)), ["chain_incomplete"], {}),
    # wrong
    "G7 under a G8 leaf": (served(GOOD, G7), ["cross_missing", "wrong_intermediate"], {}),
    "G7 and cross under a G8 leaf": (served(GOOD, G7, CROSS), ["wrong_intermediate"], {}),
    "G8 under a G7 leaf": (served(G7_LEAF, *TAIL), ["wrong_intermediate"], {}),
    "same name, another key": (served(GOOD, NAMESAKE, CROSS), ["wrong_intermediate"], {}),
    "re-issue for clients": (served(GOOD, CLIENTS, CROSS), ["wrong_intermediate"], {}),
    "expired intermediate": (served(GOOD, ENDED, CROSS), ["chain_expired"], {}),
    "intermediate of tomorrow": (served(GOOD, FUTURE, CROSS), ["chain_expired"], {}),
    "path too long": (served(leaf(BELOW), BELOW, SHORT), ["chain_invalid"], {}),
    "signed by a server": (served(leaf(PLAIN), PLAIN), ["chain_invalid"], {}),
    "self-signed": (([SELF.certificate], SELF.key, None), ["name_mismatch", "self_signed"], {}),
    "self-signed with the chain": (
        ([SELF.certificate] + TAIL, SELF.key, None),
        ["extra_certificates", "name_mismatch", "self_signed"],
        {},
    ),
    "unknown CA": (served(leaf(STRANGE), STRANGE), ["untrusted_root"], {}),
    "unknown CA with its root": (served(leaf(STRANGE), STRANGE, STRANGE_ROOT), ["root_included", "untrusted_root"], {}),
    # shape
    "wrong order": (served(GOOD, CROSS, G8), ["chain_order"], {}),
    "intermediate twice": (served(GOOD, G8, G8, CROSS), ["chain_duplicate"], {}),
    "leaf twice": (served(GOOD, GOOD, *TAIL), ["chain_duplicate"], {}),
    "root included": (served(GOOD, G8, CROSS, OLD), ["root_included"], {}),
    "both roots included": (served(GOOD, G8, CROSS, OLD, NEW), ["root_included", "root_included"], {}),
    "a stranger": (served(GOOD, G8, CROSS, STRANGER), ["extra_certificates"], {}),
    "the old intermediate too": (served(GOOD, G8, CROSS, G7), ["extra_certificates"], {}),
    "order and duplicate": (served(GOOD, CROSS, G8, CROSS), ["chain_duplicate", "chain_order"], {}),
    # protocol
    "TLS 1.1": (only(getattr(ssl, "TLSVersion", None) and ssl.TLSVersion.TLSv1_1), ["old_protocol"], {}),
    "TLS 1.0": (only(getattr(ssl, "TLSVersion", None) and ssl.TLSVersion.TLSv1), ["old_protocol"], {}),
    "refuses the name": (configured(refuse_names), ["handshake_failed"], {}),
    "answers without a name only": (configured(refuse_any_name), ["handshake_failed"], {}),
    "demands a name": (configured(demand_name), ["sni_required"], {"server_name": "127.0.0.1"}),
    "has a name": (configured(demand_name), [], {}),
}


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """A function that looks at endpoints as the module does."""
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "root.pem").write_text(pki.pem(OLD.certificate), encoding="ascii")
    (folder / "known").mkdir()
    (folder / "known" / "all.pem").write_text(
        pki.pem(G8.certificate, G7.certificate, CROSS.certificate), encoding="ascii"
    )
    trust = _tls.Trust(str(folder / "root.pem"))
    around = _verify.surroundings(trust, [str(folder / "known")], NOW, _verify.parse_warn_before("1/3"))

    def look(*endpoints, extras=None):
        return _verify.run(_verify.endpoints_of(endpoints), trust, around, 5, 8, extras)

    look.folder = folder
    look.run = lambda rows: _verify.run(rows, trust, around, 5, 8)
    return look


def codes(result):
    return sorted(row["code"] for row in result["findings"])


def test_the_zoo_is_large():
    assert len(ZOO) >= 60
    assert sum(1 for _server, expected, _changes in ZOO.values() if not expected) >= 15


def test_the_name_that_only_a_nameless_client_gets_is_told(visit):
    chain, key, configure = ZOO["answers without a name only"][0]
    with tls_zoo.tls(chain, key, configure) as port, tls_zoo.tls(chain, key, refuse_names) as other:
        rows = [{"host": "127.0.0.1", "port": number, "server_name": NAME} for number in (port, other)]
        told, silent = [result["findings"][0]["message"] for result in visit(*rows)]
    assert "answers a client that asks for no name, with a certificate for '{0}'".format(NAME) in told
    assert "asks for no name" not in silent


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_the_same_over_ipv6(visit, host):
    if not tls_zoo.has_ipv6():
        pytest.skip("this machine has no IPv6 on loopback")
    with tls_zoo.tls([GOOD] + TAIL, KEY, address="::1") as port:
        (result,) = visit({"host": host, "port": port, "server_name": NAME})
    assert codes(result) == [] and result["address"] == result["host"] == "::1"


def test_each_address_of_a_name_has_a_result_of_its_own(visit, monkeypatch):
    """IPv4 serves one certificate, IPv6 of the same name an older one."""
    if not tls_zoo.has_ipv6():
        pytest.skip("this machine has no IPv6 on loopback")
    key = pki.key("zoo: the older one's")
    older = leaf(start=days(-9), end=days(180), public_key=key.public_key())
    with tls_zoo.tls([GOOD] + TAIL, KEY) as port, tls_zoo.tls([older] + TAIL, key, None, "::1", port):
        found = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(_tls, "addresses", lambda host, port: found)
        endpoints = _verify.endpoints_of([{"host": "cluster.example", "port": port, "server_name": NAME}])
        rows = _verify.each_address(endpoints, 5, 8)
        six, four = visit.run(rows)
    assert (six["address"], codes(six)) == ("::1", ["mixed_certificates"])
    assert (four["address"], codes(four)) == ("127.0.0.1", [])


@pytest.mark.parametrize("animal", sorted(ZOO))
def test_zoo(visit, animal):
    (chain, key, configure), expected, changes = ZOO[animal]
    with tls_zoo.tls(chain, key, configure) as port:
        (result,) = visit(dict({"host": "127.0.0.1", "port": port, "server_name": NAME}, **changes))
    assert codes(result) == sorted(expected)
    assert result["ok"] is not any(row["severity"] == "error" for row in result["findings"])


def test_all_at_once_shows_what_only_all_show(visit):
    """Two certificates with one key, for one name, behind two ports."""
    with tls_zoo.tls([GOOD] + TAIL, KEY) as one, tls_zoo.tls([leaf()] + TAIL, KEY) as two:
        rows = [{"host": "127.0.0.1", "port": port, "server_name": NAME} for port in (one, two)]
        assert [codes(result) for result in visit(*rows)] == [["key_reused"], ["key_reused"]]


def test_a_server_that_is_there_at_the_second_attempt(visit, monkeypatch):
    """The first connection is hung up on, as by a server that is being restarted."""
    monkeypatch.setattr(_tls, "PAUSE", 0)
    made, met = tls_zoo.context([GOOD] + TAIL, KEY), []

    def serve(connection):
        met.append(1)
        if len(met) > 1:
            with made.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)

    with tls_zoo.listening(serve) as port:
        row = {"host": "127.0.0.1", "port": port, "server_name": NAME}
        (result,) = visit(row, extras=_verify.Extras(retries=2))
    assert codes(result) == ["retried"] and result["attempts"] == 2
    assert "connection_closed" in result["findings"][0]["message"]


def test_versions_on_request(visit):
    def both(context):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            context.minimum_version = ssl.TLSVersion.TLSv1_1

    with tls_zoo.tls([GOOD] + TAIL, KEY, both) as port:
        row = {"host": "127.0.0.1", "port": port, "server_name": NAME}
        (silent,) = visit(row)
        (result,) = visit(row, extras=_verify.Extras(protocols=True))
    assert (codes(silent), silent["protocols"]) == ([], {})
    assert codes(result) == ["old_protocol_accepted"]
    assert result["protocols"] == {"TLSv1": False, "TLSv1.1": True, "TLSv1.2": True, "TLSv1.3": True}
    assert "(accepts TLSv1.1, TLSv1.2, TLSv1.3)" in _verify.summary([result])[0]
