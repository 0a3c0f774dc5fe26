# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a certification path; x509-limbo in test_files.py goes further."""

import ipaddress

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _path, _x509
from ansible_collections.campus.upki.tests.unit import pki
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ObjectIdentifier

NAME = "www.example.ac.jp"
ROOT = pki.CA("Root")
SUB = pki.CA("Sub", issuer=ROOT)


def certificate(ca, issuer, *extensions, **options):
    """One with any extensions (value, critical)."""
    key = pki.key(options.get("key", "any"))
    subject = pki.name(options.get("name", NAME)) if options.get("name", NAME) else x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before((pki.NOW - pki.days(options.get("age", 1))).replace(tzinfo=None))
        .not_valid_after((pki.NOW + pki.days(9)).replace(tzinfo=None))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=options.get("critical", True))
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder.sign(key if issuer is None else issuer.key, hashes.SHA256(), default_backend())


def usage(**flags):
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign "
        "encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: flags.get(name, False) for name in names.split()}), True


def constraints(permitted=None, excluded=None):
    return x509.NameConstraints(permitted, excluded), True


def names(*values):
    return x509.SubjectAlternativeName(list(values)), False


def test_a_right_path_has_no_fault():
    assert _path.faults([SUB.issue(NAME), SUB.certificate, ROOT.certificate]) == []


def test_no_ca():
    plain = pki.CA("Plain", issuer=ROOT, ca=False)
    (text,) = _path.faults([plain.issue(NAME), plain.certificate, ROOT.certificate])
    assert text == "'Plain' signs certificates but is no CA certificate"


def test_key_usage_of_an_issuer():
    leaf = SUB.issue(NAME)
    assert _path.faults([leaf, certificate(True, ROOT, usage(key_cert_sign=True))]) == []
    (text,) = _path.faults([leaf, certificate(True, ROOT, usage(digital_signature=True))])
    assert "keyCertSign" in text


def test_key_usage_of_a_server():
    assert _path.faults([certificate(False, SUB, usage(digital_signature=True))]) == []
    (text,) = _path.faults([certificate(False, SUB, usage(digital_signature=True, key_cert_sign=True))])
    assert "keyCertSign" in text


def test_path_length():
    top = pki.CA("Top", path_length=1)
    middle = pki.CA("Middle", issuer=top, path_length=0)
    low = pki.CA("Low", issuer=middle)
    assert _path.faults([middle.issue(NAME), middle.certificate, top.certificate]) == []
    found = _path.faults([low.issue(NAME), low.certificate, middle.certificate, top.certificate])
    assert found == ["'Middle' allows fewer CA certificates below it", "'Top' allows fewer CA certificates below it"]


def test_unknown_critical_extension():
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    assert _path.faults([certificate(False, SUB, (unknown, False))]) == []
    (text,) = _path.faults([certificate(False, SUB, (unknown, True))])
    assert "critical extension" in text


def key_id(label):
    return x509.SubjectKeyIdentifier.from_public_key(pki.key(label).public_key()), False


def authority_id(label, serial=None, critical=False):
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(pki.key(label).public_key()).key_identifier
    names = None if serial is None else [x509.DirectoryName(pki.name("any"))]
    return x509.AuthorityKeyIdentifier(identifier, names, serial), critical


AIA = x509.AuthorityInformationAccess(
    [
        x509.AccessDescription(
            x509.AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://a.example")
        )
    ]
)


@pytest.mark.parametrize(
    "extension", [(AIA, True), authority_id("Sub", critical=True), (key_id("any")[0], True)], ids=["aia", "aki", "ski"]
)
def test_what_must_not_be_critical(extension):
    """OpenSSL obeys none of these, so it refuses them when they are critical."""
    assert _path.faults([certificate(False, SUB, (extension[0], False))]) == []
    (text,) = _path.faults([certificate(False, SUB, extension)])
    assert "must not be critical" in text


def test_a_ca_without_a_name():
    nameless = certificate(True, ROOT, usage(key_cert_sign=True), name="")
    assert _path.faults([SUB.issue(NAME), nameless]) == ["'' signs certificates but has no name of its own"]


def test_a_root_that_names_another_as_its_issuer():
    signing = usage(key_cert_sign=True)
    for good in ([], [authority_id("any")], [authority_id("any", 5)]):
        assert _path.faults([SUB.issue(NAME), certificate(True, None, signing, key_id("any"), *good)]) == []
    for bad in (authority_id("Sub"), authority_id("any", 6)):
        (text,) = _path.faults([SUB.issue(NAME), certificate(True, None, signing, key_id("any"), bad)])
        assert "is self-signed, but its authorityKeyIdentifier is that of another" in text


def test_a_ca_that_renewed_itself_with_a_new_key_names_the_old_one():
    old = pki.CA(NAME, label="old key")
    rolled = certificate(True, old, usage(key_cert_sign=True), key_id("any"), authority_id("old key"))
    assert rolled.subject == rolled.issuer
    assert _path.faults([SUB.issue(NAME), rolled]) == []


def test_key_usage_that_allows_no_tls():
    for good in (usage(digital_signature=True), usage(key_encipherment=True), usage(key_agreement=True)):
        assert _path.faults([certificate(False, SUB, good)]) == []
    (text,) = _path.faults([certificate(False, SUB, usage(crl_sign=True))])
    assert text == "'{0}' has a key usage that allows no TLS".format(NAME)


# --- what some clients refuse besides ------------------------------------------------------------------------

SERVER_AUTH = x509.ExtendedKeyUsage([pki.SERVER]), False
USUAL = [SERVER_AUTH, authority_id("Sub"), key_id("any")]
CA_USUAL = [usage(key_cert_sign=True), authority_id("Root"), key_id("any")]


def test_what_strict_clients_take():
    assert _path.strict_faults([SUB.issue(NAME), SUB.certificate, ROOT.certificate]) == []
    path = [certificate(False, SUB, *USUAL), certificate(True, ROOT, *CA_USUAL), ROOT.certificate]
    assert _path.strict_faults(path) == []
    last = certificate(True, ROOT, CA_USUAL[0], CA_USUAL[2])  # where a path ends, nobody asks for the issuer
    assert _path.strict_faults([certificate(False, SUB, *USUAL), last]) == []


@pytest.mark.parametrize("place", range(3))
def test_what_strict_clients_refuse_of_a_ca(place):
    words = ("without key usage", "has no authorityKeyIdentifier", "without subjectKeyIdentifier")
    lacking = certificate(True, ROOT, *(CA_USUAL[:place] + CA_USUAL[place + 1 :]))
    (text,) = _path.strict_faults([certificate(False, SUB, *USUAL), lacking, ROOT.certificate])
    assert words[place] in text and "Python 3.13" in text


def test_strict_clients_and_basic_constraints():
    weak = certificate(True, ROOT, *CA_USUAL, critical=False)
    (text,) = _path.strict_faults([certificate(False, SUB, *USUAL), weak, ROOT.certificate])
    assert "basicConstraints are not marked critical" in text


@pytest.mark.parametrize("critical, count", [(True, 0), (False, 1)])
def test_strict_clients_and_a_server_without_a_subject(critical, count):
    alone = certificate(False, SUB, *USUAL + [(names(x509.DNSName(NAME))[0], critical)], name="")
    found = _path.strict_faults([alone, SUB.certificate])
    assert len(found) == count and all("no subject" in text for text in found)


@pytest.mark.parametrize(
    "usages, age, count",
    [
        (None, 1, 1),
        ([ObjectIdentifier("2.5.29.37.0")], 1, 1),
        ([pki.SERVER, pki.CLIENT], 1, 0),
        ([pki.CLIENT], 1, 0),  # which is an error of its own
        (None, 365 * 9, 0),  # of before the rule
    ],
    ids=["none", "any", "both", "client", "old"],
)
def test_apple_asks_for_the_usage(usages, age, count):
    more = [] if usages is None else [(x509.ExtendedKeyUsage(usages), False)]
    leaf = certificate(False, SUB, authority_id("Sub"), *more, age=age)
    found = _path.strict_faults([leaf, SUB.certificate])
    assert len(found) == count and all("Apple" in text for text in found)


def test_name_constraints_of_a_server():
    (text,) = _path.faults([certificate(False, SUB, constraints(permitted=[x509.DNSName("example.ac.jp")]))])
    assert "name constraints" in text


DNS, IP, MAIL, URI = x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier
NET = IP(ipaddress.ip_network("192.0.2.0/24"))


@pytest.mark.parametrize(
    "name, permitted, excluded, allowed",
    [
        (DNS("www.example.ac.jp"), [DNS("example.ac.jp")], None, True),
        (DNS("example.ac.jp"), [DNS("example.ac.jp")], None, True),
        (DNS("badexample.ac.jp"), [DNS("example.ac.jp")], None, False),
        (DNS(".example.ac.jp"), [DNS("example.ac.jp")], None, False),
        (DNS("a..example.ac.jp"), None, [DNS("example.ac.jp")], False),
        (DNS("www.example.com"), [DNS("example.ac.jp"), DNS("example.com")], None, True),
        (DNS("www.example.ac.jp"), None, [DNS("example.ac.jp")], False),
        (DNS("www.example.com"), None, [DNS("example.ac.jp")], True),
        (DNS("*.example.ac.jp"), None, [DNS("secret.example.ac.jp")], False),
        (DNS("*.example.ac.jp"), [DNS("www.example.ac.jp")], None, False),
        (DNS("www.example.ac.jp"), [DNS("ac.jp")], [DNS("example.ac.jp")], False),
        (IP(ipaddress.ip_address("192.0.2.9")), [NET], None, True),
        (IP(ipaddress.ip_address("198.51.100.9")), [NET], None, False),
        (IP(ipaddress.ip_address("192.0.2.9")), None, [NET], False),
        (IP(ipaddress.ip_address("2001:db8::1")), None, [NET], True),
        (DNS("www.example.ac.jp"), [NET], None, True),
        (MAIL("a@example.ac.jp"), [MAIL("example.ac.jp")], None, True),
        (MAIL("a@b.example.ac.jp"), [MAIL("example.ac.jp")], None, False),
        (MAIL("a@b.example.ac.jp"), [MAIL(".example.ac.jp")], None, True),
        (MAIL("a@example.ac.jp"), [MAIL("b@example.ac.jp")], None, False),
        (URI("https://a.example.ac.jp:8/x"), [URI(".example.ac.jp")], None, True),
        (URI("https://example.com/"), [URI("example.ac.jp")], None, False),
        (x509.RegisteredID(ObjectIdentifier("1.2.3")), None, [x509.RegisteredID(ObjectIdentifier("1.2.4"))], False),
    ],
)
def test_name_constraints(name, permitted, excluded, allowed):
    issuer = certificate(True, ROOT, constraints(permitted, excluded))
    found = _path.faults([certificate(False, SUB, names(name)), issuer])
    assert (found == []) is allowed
    assert allowed or "forbids the name" in found[0]


def test_directory_constraints():
    inside = x509.DirectoryName(x509.Name(list(pki.name("x"))[:2]))
    outside = x509.DirectoryName(pki.name("other"))
    leaf = certificate(False, SUB)
    assert _path.faults([leaf, certificate(True, ROOT, constraints([inside]))]) == []
    assert len(_path.faults([leaf, certificate(True, ROOT, constraints([outside]))])) == 1
    assert len(_path.faults([leaf, certificate(True, ROOT, constraints(None, [inside]))])) == 1


def test_malformed_constraints():
    issuer = certificate(True, ROOT, constraints([DNS(".example.ac.jp")]))
    assert _path.faults([SUB.issue(NAME), issuer]) == ["'{0}' has name constraints that are malformed".format(NAME)]


def test_too_many_names_and_constraints():
    many = [DNS("h{0}.example.ac.jp".format(number)) for number in range(700)]
    found = _path.faults([certificate(False, SUB, names(*many)), certificate(True, ROOT, constraints(None, many))])
    assert found == ["'{0}' has too many name constraints to be checked".format(NAME)]


def test_a_spelled_out_curve_is_seen():
    plain = certificate(False, SUB)
    assert not _x509.has_explicit_curve(plain)

    class Fake(object):
        tbs_certificate_bytes = plain.tbs_certificate_bytes.replace(
            b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06", b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x30"
        )

    assert _x509.has_explicit_curve(Fake())
