# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""For each finding that no animal of the zoo has: an endpoint on loopback that shows it, and the same without it.

An exhibit is a function that gives (codes with the fault, codes without it). With the zoo they show every code.
"""

import datetime
import shutil
import ssl
import subprocess
import threading
import warnings

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _dns, _files, _findings, _s_client, _tls, _verify
from ansible_collections.campus.upki.tests.unit import pki, test_zoo, tls_zoo
from ansible_collections.campus.upki.tests.unit.plugins.module_utils import (
    test_dns,
    test_revocation,
    test_staple,
    test_starttls,
)
from ansible_collections.campus.upki.tests.unit.test_zoo import CROSS, G7, G8, GOOD, KEY, NAME, NEW, NOW, OLD, TAIL, ZOO
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

pytestmark = test_zoo.pytestmark


class Hall(object):
    """Looks at endpoints as the module does; `settings` are those of _verify.surroundings."""

    def __init__(self, folder, roots=(OLD,), **settings):
        (folder / "root.pem").write_text(pki.pem(*[one.certificate for one in roots]), encoding="ascii")
        (folder / "known.pem").write_text(pki.pem(G8.certificate, G7.certificate, CROSS.certificate), encoding="ascii")
        self.trust = _tls.Trust(str(folder / "root.pem"))
        warn_before = _verify.parse_warn_before("1/3")
        self.around = _verify.surroundings(self.trust, [str(folder / "known.pem")], NOW, warn_before, **settings)

    def all(self, *endpoints, **options):
        """The codes of each endpoint."""
        timeout = options.pop("timeout", 5)
        rows = [dict({"host": "127.0.0.1", "server_name": NAME}, **row) for row in endpoints]
        extras = _verify.Extras(**options)
        found = _verify.run(_verify.endpoints_of(rows), self.trust, self.around, timeout, 8, extras)
        return [sorted(row["code"] for row in result["findings"]) for result in found]

    def one(self, port, **options):
        """The codes of a port."""
        endpoint = options.pop("endpoint", {})
        (codes,) = self.all(dict({"port": port}, **endpoint), **options)
        return codes


@pytest.fixture
def hall(tmp_path):
    (tmp_path / "hall").mkdir()
    return Hall(tmp_path / "hall")


def good(**options):
    return tls_zoo.tls([GOOD] + TAIL, KEY, **options)


def needs(program):
    if shutil.which(program) is None:
        pytest.skip("the program {0} is not installed".format(program))


# --- the connection ------------------------------------------------------------------------------------------


def beside_a_good_one(hall, server, **options):
    with server as bad, good() as well:
        return hall.one(bad, **options), hall.one(well)


def connection_refused(hall, _folder):
    with good() as port:
        return hall.one(tls_zoo.refusing_port()), hall.one(port)


def connection_closed(hall, _folder):
    return beside_a_good_one(hall, tls_zoo.hangs_up())


def timeout(hall, _folder):
    stop = threading.Event()
    try:
        return beside_a_good_one(hall, tls_zoo.silent(stop), timeout=0.5)
    finally:
        stop.set()


def not_tls(hall, _folder):
    return beside_a_good_one(hall, tls_zoo.says(b"HTTP/1.1 400 Bad Request\r\n\r\n"))


def name_not_resolved(hall, _folder):
    with good() as port:
        return hall.one(port, endpoint={"host": "name.invalid"}), hall.one(port, endpoint={"host": "localhost"})


def host_unreachable(hall, _folder):
    with good() as port:
        return hall.one(port, endpoint={"host": "255.255.255.255"}), hall.one(port)


def starttls_refused(hall, _folder):
    made = tls_zoo.context([GOOD] + TAIL, KEY)

    def shake(connection):
        with made.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    agreeing, refusing = test_starttls.DIALOGUES["imap"], test_starttls.REFUSALS["imap"]
    with test_starttls.speaks(refusing) as bad, test_starttls.speaks(agreeing, shake) as well:
        return [hall.one(port, endpoint={"starttls": "imap"}) for port in (bad, well)]


def retried(hall, _folder):
    made, met = tls_zoo.context([GOOD] + TAIL, KEY), []

    def serve(connection):
        met.append(1)
        if len(met) > 1:
            with made.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)

    with tls_zoo.listening(serve) as port:
        return hall.one(port, retries=1), hall.one(port, retries=1)


def old_protocol_accepted(hall, _folder):
    def lowered(context):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            context.minimum_version = ssl.TLSVersion.TLSv1_1

    def usual(context):
        context.minimum_version = ssl.TLSVersion.TLSv1_2

    with good(configure=lowered) as bad, good(configure=usual) as well:
        return hall.one(bad, protocols=True), hall.one(well, protocols=True)


# --- the certificate -----------------------------------------------------------------------------------------


def file_unreadable(hall, folder):
    (folder / "bad.pem").write_text("<!DOCTYPE html>", encoding="ascii")
    (folder / "well.pem").write_text(pki.pem(GOOD, *TAIL), encoding="ascii")
    rows = [{"path": str(folder / name), "server_name": NAME} for name in ("bad.pem", "well.pem")]
    return [[row["code"] for row in result["findings"]] for result in _files.run(rows, hall.around)]


ACCESS = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x01\x01"  # authorityInfoAccess, which OpenSSL does not look into


def certificate_unreadable(hall, _folder):
    leaf = test_zoo.leaf(issuer_url="http://ca.example/")
    broken = bytearray(pki.der(leaf))
    broken[broken.index(ACCESS) + len(ACCESS) + 2] ^= 1  # a set in the place of the sequence
    texts = [pki.armour("CERTIFICATE", bytes(broken)) + pki.pem(*TAIL), pki.pem(leaf, *TAIL)]
    with tls_zoo.tls(texts[0], KEY) as bad, tls_zoo.tls(texts[1], KEY) as well:
        return hall.one(bad), hall.one(well)


def ou_in_subject(hall, _folder):
    """UPKI's own issuer by name, with and without the OU of former times."""
    upki = test_zoo.authority("NII Open Domain CA - G8 RSA", OLD)
    codes = []
    for unit in ("Library", None):
        units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
        subject = list(pki.name(NAME)) + units
        with tls_zoo.tls([built(upki, x509.Name(subject)), upki.certificate], KEY) as port:
            codes.append(hall.one(port))
    return codes


def built(issuer, subject, *extensions):
    """A leaf with any subject and further extensions."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before((NOW - pki.days(1)).replace(tzinfo=None))
        .not_valid_after((NOW + pki.days(190)).replace(tzinfo=None))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([pki.SERVER]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer.key, hashes.SHA256(), default_backend())


def weak_signature(hall, folder):
    """By the program openssl, because newer libraries refuse to sign with SHA-1."""
    needs("openssl")
    (folder / "key.pem").write_bytes(pki.key_pem(KEY))
    (folder / "ca.pem").write_text(pki.pem(G7.certificate), encoding="ascii")
    (folder / "ca.key").write_bytes(pki.key_pem(G7.key))
    (folder / "ext").write_text(
        "subjectAltName=DNS:{0}\nextendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\n".format(NAME)
    )
    (folder / "csr.pem").write_text(pki.pem(pki.csr(KEY, NAME)), encoding="ascii")
    codes = []
    for digest in ("-sha1", "-sha256"):
        words = ["x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", digest, "-days", "90"]
        words += ["-set_serial", "7", "-extfile", "ext"]
        made = subprocess.run(
            ["openssl"] + words, cwd=str(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
        hall.around.now = datetime.datetime.now(pki.UTC) + datetime.timedelta(seconds=2)  # the leaf begins now
        with tls_zoo.tls(made.stdout.decode("ascii") + pki.pem(G7.certificate), KEY) as port:
            codes.append(hall.one(port))
    return codes


def key_reused(hall, _folder):
    """A second certificate for the same key; without the fault it has a key of its own."""
    other = pki.key("exhibit: a key of its own")
    codes = []
    for key in (KEY, other):
        leaf = test_zoo.leaf(public_key=key.public_key())
        with good() as one, tls_zoo.tls([leaf] + TAIL, key) as two:
            first, second = hall.all({"port": one}, {"port": two})
            assert first == second
            codes.append(first)
    return codes


def mixed_certificates(hall, _folder):
    """Two addresses of one name, as of a cluster; the older certificate is the one to replace."""
    key = pki.key("exhibit: the older one's")
    older = test_zoo.leaf(start=NOW - pki.days(9), end=NOW + pki.days(180), public_key=key.public_key())
    with good() as port, tls_zoo.tls([older] + TAIL, key, None, "127.0.0.2", port):
        rows = [{"port": port, "host": host} for host in ("127.0.0.2", "127.0.0.1")]
        return hall.all(*rows)


# --- the chain -----------------------------------------------------------------------------------------------


def chain_unknown(hall, _folder):
    """As a Python before 3.10 without the program openssl sees it."""
    with good() as port, pytest.MonkeyPatch.context() as patch:
        well = hall.one(port)
        patch.setattr(_tls, "served_chain", lambda tls: ([tls.getpeercert(binary_form=True)], False))
        patch.setattr(_s_client, "PROGRAM", "/nonexistent/openssl")
        return hall.one(port), well


def untrusted_in_store(_hall, folder):
    """A G7 chain ends at the old root, which one of two named stores does not have."""
    (folder / "old.pem").write_text(pki.pem(OLD.certificate), encoding="ascii")
    (folder / "new.pem").write_text(pki.pem(NEW.certificate), encoding="ascii")
    hall = Hall(folder, stores={"old": str(folder / "old.pem"), "new": str(folder / "new.pem")})
    with tls_zoo.tls([test_zoo.G7_LEAF, G7.certificate], KEY) as bad, good() as well:
        return hall.one(bad), hall.one(well)


# --- revocation ----------------------------------------------------------------------------------------------


def with_lists(hall, *pages):
    """The codes of an endpoint whose certificate, of the root itself, names a CRL: once with each page as that CRL."""
    served, codes = {}, []
    with test_revocation.web(served) as (base, _asked):
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(base + "/crl")], None, None, None)
        leaf = built(OLD, pki.name(NAME), x509.CRLDistributionPoints([point]))
        with tls_zoo.tls([leaf], KEY) as port:
            for page in pages:
                served["/crl"] = page and page(leaf.serial_number)
                codes.append(hall.one(port, revocation="crl", opener=test_revocation.opener))
    return codes


def listing(*serials):
    """A CRL of now."""
    dates = {"start": NOW - pki.days(1), "end": NOW + pki.days(6)}
    return test_revocation.crl(OLD, serials, **dates)


def revoked(hall, _folder):
    needs("openssl")
    return with_lists(hall, listing, lambda serial: listing(serial + 1))


def revocation_unknown(hall, _folder):
    needs("openssl")
    return with_lists(hall, None, lambda serial: listing(serial + 1))


def staple_invalid(_hall, folder):
    needs("openssl")
    hall = Hall(folder, roots=(test_staple.ROOT,))
    stale = test_staple.answer(end=test_staple.NOW - pki.days(1))
    codes = []
    for data in (stale, test_staple.answer()):
        with test_staple.stapling(folder, data) as port:
            found = hall.one(port, revocation="ocsp", opener=test_revocation.opener)
            codes.append([code for code in found if code != "revocation_unknown"])  # the issuer names no CRL
    return codes


def staple_unseen(hall, _folder):
    needs("openssl")
    unseen = []

    def page(serial):
        return listing(serial + 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_s_client, "PROGRAM", "/nonexistent/openssl")
        unseen += with_lists(hall, page)
    return unseen + with_lists(hall, page)


# --- DNS -----------------------------------------------------------------------------------------------------


def by_dns(hall, *zones, **settings):
    """The codes of a good endpoint with each of the zones; {owner} is the name of its TLSA records."""
    codes = []
    with good() as port:
        owner = "_{0}._tcp.{1}".format(port, NAME)
        for zone, signed in zones:
            rows = {(name.format(owner=owner), kind): list(texts) for (name, kind), texts in zone.items()}
            signed = [name.format(owner=owner) for name in signed]
            with test_dns.name_server(rows, settings.get("rcode", "NXDOMAIN"), signed) as place:
                dns = {"resolver": _dns.Resolver(3, place), "issuer": "secomtrust.net"}
                codes.append(hall.one(port, dns=dns))
    return codes


FITTING = "3 0 1 " + test_dns.sha256(pki.der(GOOD)).hex()
RIGHT = ({("{owner}", "TLSA"): [FITTING]}, ["{owner}", "."])


def caa_forbids(hall, _folder):
    zones = [({("example.ac.jp", "CAA"): ['0 issue "{0}"'.format(ca)]}, []) for ca in ("ca.example", "secomtrust.net")]
    return by_dns(hall, *zones)


def tlsa_mismatch(hall, _folder):
    return by_dns(hall, ({("{owner}", "TLSA"): ["3 1 1 " + "00" * 32]}, ["{owner}", "."]), RIGHT)


def tlsa_unsecured(hall, _folder):
    zone = {("{owner}", "TLSA"): [FITTING], (".", "SOA"): [". . 1 2 3 4 5"]}
    return by_dns(hall, (zone, ["."]), RIGHT)


def dnssec_unknown(hall, _folder):
    return by_dns(hall, ({("{owner}", "TLSA"): [FITTING]}, []), RIGHT)


def dns_unknown(hall, _folder):
    (bad,) = by_dns(hall, ({}, []), rcode="SERVFAIL")
    return sorted(set(bad)), by_dns(hall, ({}, []))[0]


EXHIBITS = (
    connection_refused, connection_closed, timeout, not_tls, name_not_resolved, host_unreachable, starttls_refused,
    retried, old_protocol_accepted, file_unreadable, certificate_unreadable, ou_in_subject, weak_signature, key_reused,
    mixed_certificates, chain_unknown, untrusted_in_store, revoked, revocation_unknown, staple_invalid, staple_unseen,
    caa_forbids, tlsa_mismatch, tlsa_unsecured, dnssec_unknown, dns_unknown,
)  # fmt: skip


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda one: one.__name__)
def test_the_finding_and_its_absence(hall, tmp_path, exhibit):
    bad, well = exhibit(hall, tmp_path)
    assert bad == [exhibit.__name__]
    assert well == []


def test_every_finding_is_shown_by_an_endpoint():
    in_the_zoo = {code for _server, expected, _changes in ZOO.values() for code in expected}
    assert in_the_zoo | {one.__name__ for one in EXHIBITS} == set(_findings.FINDINGS)
