# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""_x509.py: the same answers from every version of cryptography, and no traceback at bad input."""

import binascii
import datetime
import json
import sys

import pytest

pytest.importorskip("cryptography")

from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._keys import KEY_TYPES
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

START = datetime.datetime(2026, 11, 1, 3, 4, 5)
END = datetime.datetime(2027, 5, 18, 3, 4, 4)
SUBJECT = (
    (NameOID.COUNTRY_NAME, "JP"),
    (NameOID.STATE_OR_PROVINCE_NAME, "tokyo"),
    (NameOID.LOCALITY_NAME, "chofu"),
    (NameOID.ORGANIZATION_NAME, "Example, Inc. a=b"),
    (NameOID.ORGANIZATIONAL_UNIT_NAME, "学術"),
    (NameOID.COMMON_NAME, "www.example.ac.jp"),
)
FIELDS = [("C", "JP"), ("ST", "tokyo"), ("L", "chofu"), ("O", "Example"), ("CN", "www.example.ac.jp")]
G8_LEAF = "leaf/shibbi-pki-itc-u-tokyo-ac-jp-g8-rsa.pem"
G7_LEAF = "leaf/shibbi-pki-itc-u-tokyo-ac-jp-g7-rsa.pem"


def distinguished_name(pairs):
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])


def make_certificate(subject_key, signing_key, extensions=(), subject=SUBJECT, issuer=None, algorithm="sha256"):
    builder = (
        x509.CertificateBuilder()
        .subject_name(distinguished_name(subject))
        .issuer_name(distinguished_name(issuer or subject))
        .public_key(subject_key.public_key())
        .serial_number(2**127 + 1)
        .not_valid_before(START)
        .not_valid_after(END)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    algorithm = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), None: None}[algorithm]
    return builder.sign(signing_key, algorithm, default_backend())


def block(label, body):
    """A PEM block; labels are put together here so that no file of the project seems to hold a key."""
    return "-----BEGIN {0}-----\n{1}\n-----END {0}-----\n".format(label, body)


@pytest.fixture(scope="module")
def ec_key():
    return ec.generate_private_key(ec.SECP384R1(), default_backend())


@pytest.fixture(scope="module")
def other_ec_key():
    return ec.generate_private_key(ec.SECP256R1(), default_backend())


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048, default_backend())


@pytest.fixture(scope="module")
def plain(ec_key):
    """A self-signed certificate without any extension."""
    return make_certificate(ec_key, ec_key)


@pytest.fixture(scope="module")
def full(ec_key, rsa_key):
    """A server certificate with every extension that is read, signed by an RSA key."""
    key_id = x509.SubjectKeyIdentifier(b"\x01\xab" * 10)
    access = [
        (x509.oid.AuthorityInformationAccessOID.OCSP, "http://ocsp.example.ac.jp"),
        (x509.oid.AuthorityInformationAccessOID.CA_ISSUERS, "http://repo.example.ac.jp/ca.cer"),
    ]
    rows = [x509.AccessDescription(method, x509.UniformResourceIdentifier(url)) for method, url in access]
    rows.append(
        x509.AccessDescription(x509.oid.AuthorityInformationAccessOID.CA_ISSUERS, x509.DNSName("not-a-url.example"))
    )
    extensions = [
        x509.SubjectAlternativeName([x509.DNSName("www.example.ac.jp"), x509.DNSName("a.example.ac.jp")]),
        x509.BasicConstraints(ca=False, path_length=None),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        key_id,
        x509.AuthorityKeyIdentifier(b"\xfe" * 20, None, None),
        x509.AuthorityInformationAccess(rows),
    ]
    return make_certificate(ec_key, rsa_key, extensions, issuer=[(NameOID.COMMON_NAME, "Test CA")])


# --- versions --------------------------------------------------------------------------------------------


def test_installed_version_is_the_library_s():
    assert _x509.installed_version() == sys.modules["cryptography"].__version__


def test_installed_version_is_empty_without_the_library(monkeypatch):
    monkeypatch.delitem(sys.modules, "cryptography")
    assert _x509.installed_version() == ""


# --- PEM -------------------------------------------------------------------------------------------------


def test_pem_blocks_come_in_order_with_their_labels():
    text = "Subject: お知らせ\n" + block("A", "YWJj") + "text between\n" + block("B C", "ZGVm\r\nZ2hp")
    assert _x509.pem_blocks(text) == [("A", b"abc"), ("B C", b"defghi")]


def test_pem_blocks_of_other_text_are_none():
    assert _x509.pem_blocks("<html>-----<b>nothing</b>-----") == []


def test_pem_blocks_follow_each_other_without_a_line_end():
    assert _x509.pem_blocks((block("A", "YWJj").strip() + block("A", "ZGVm").strip())) == [("A", b"abc"), ("A", b"def")]


def test_pem_blocks_skip_the_header_lines_of_an_old_encrypted_key():
    body = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00-11\n\nYWJj"
    assert _x509.pem_blocks(block("A", body)) == [("A", b"abc")]


def test_pem_blocks_leave_the_signature_of_a_mail_alone():
    mail = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + block("A", "YWJj")
    mail += block("PGP SIGNATURE", "Version: 2\n\n????\n=abcd")
    assert _x509.pem_blocks(mail) == [("A", b"abc")]


@pytest.mark.parametrize("body", ["YWJ", "YW!j", "YWあj", "YWJj-ZGVm", "Y=WJj"])
def test_pem_blocks_refuse_a_body_that_is_no_base64(body):
    with pytest.raises(UpkiError) as caught:
        _x509.pem_blocks(block("CERTIFICATE", body))
    assert caught.value.code == "pem_broken"
    assert "'CERTIFICATE'" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN CERTIFICATE-----\nYWJj\n",
        "-----BEGIN CERTIFICATE-----\nYWJj\n" + block("CERTIFICATE", "ZGVm"),
        "-----BEGIN CERTIFICATE-----\nYWJj\n-----END X509 CRL-----\n",
    ],
)
def test_pem_blocks_refuse_a_block_that_does_not_end(text):
    with pytest.raises(UpkiError) as caught:
        _x509.pem_blocks(text)
    assert caught.value.code == "pem_broken"
    assert "does not end" in str(caught.value)


def test_pem_blocks_take_linear_time_for_many_beginnings():
    text = "-----BEGIN CERTIFICATE-----\n" * 20000
    with pytest.raises(UpkiError):
        _x509.pem_blocks(text)


# --- reading ---------------------------------------------------------------------------------------------


def test_certificate_survives_der_and_pem(full):
    again = _x509.certificate_from_der(_x509.der(full))
    assert again == full
    assert _x509.certificates_from_pem("\ufeffcomment\n" + _x509.pem(full)) == [full]
    assert _x509.pem(full).endswith("-----\n")


def test_certificates_from_pem_keep_order_and_pass_over_other_blocks(full, plain, ec_key):
    text = _x509.pem(plain) + _x509.private_key_pem(ec_key).decode("ascii") + _x509.pem(full)
    text += _x509.pem(plain).replace("CERTIFICATE", "X509 CERTIFICATE")
    assert _x509.certificates_from_pem(text) == [plain, full, plain]


@pytest.mark.parametrize("data", [b"", b"<html></html>", b"\x30\x03\x02\x01\x01", b"\x30\x82\xff\xff"])
def test_certificate_from_der_refuses_other_bytes(data):
    with pytest.raises(UpkiError) as caught:
        _x509.certificate_from_der(data)
    assert caught.value.code == "certificate_broken"


def test_certificate_from_der_refuses_a_cut_off_certificate(plain):
    with pytest.raises(UpkiError) as caught:
        _x509.certificate_from_der(_x509.der(plain)[:-20])
    assert caught.value.code == "certificate_broken"


def test_checked_certificate_refuses_an_impossible_version(plain):
    """X.509 version 2 has a number of its own in the library's errors, which is no ValueError."""
    data = _x509.der(plain).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)
    with pytest.raises(UpkiError) as caught:
        _x509.checked_certificate(data)
    assert caught.value.code == "certificate_broken"


def test_a_repeated_extension_is_refused(ec_key):
    """Both names are made the same afterwards: the builders refuse a repeated one."""
    extensions = [
        x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x05\x00"),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.98"), b"\x05\x00"),
    ]
    data = _x509.der(make_certificate(ec_key, ec_key, extensions)).replace(b"\x55\x1d\x62", b"\x55\x1d\x63")
    with pytest.raises(UpkiError) as caught:
        _x509.checked_certificate(data)
    assert caught.value.code == "certificate_broken"
    with pytest.raises(UpkiError) as caught:
        _x509.dns_names(_x509.certificate_from_der(data))
    assert caught.value.code == "certificate_broken"


def test_checked_certificate_passes_a_good_one(full):
    assert _x509.checked_certificate(_x509.der(full)) == full


def test_request_survives_pem_and_der(ec_key):
    request = _x509.build_request(ec_key, FIELDS, "sha384")
    text = _x509.pem(request)
    assert _x509.der(_x509.request_from_pem("前置き\r\n" + text.replace("\n", "\r\n"))) == _x509.der(request)
    assert _x509.der(_x509.request_from_pem(text.replace("CERTIFICATE", "NEW CERTIFICATE"))) == _x509.der(request)
    assert _x509.der(_x509.request_from_der(_x509.der(request))) == _x509.der(request)


@pytest.mark.parametrize(
    "text", ["", "日本語", block("CERTIFICATE REQUEST", "YWJj"), block("CERTIFICATE REQUEST", "!")]
)
def test_request_from_pem_refuses_other_text(text):
    with pytest.raises(UpkiError) as caught:
        _x509.request_from_pem(text)
    assert caught.value.code == "csr_broken"


def test_request_from_pem_refuses_a_certificate(plain):
    with pytest.raises(UpkiError) as caught:
        _x509.request_from_pem(_x509.pem(plain))
    assert caught.value.code == "csr_broken"
    assert "CERTIFICATE REQUEST" in str(caught.value)


def test_request_from_der_refuses_a_certificate(plain):
    with pytest.raises(UpkiError) as caught:
        _x509.request_from_der(_x509.der(plain))
    assert caught.value.code == "csr_broken"


@pytest.mark.parametrize("name", sorted(KEY_TYPES))
def test_private_key_survives_pem(name):
    key = _x509.generate_key(name)
    again = _x509.private_key_from_pem(_x509.private_key_pem(key))
    assert _x509.spki_sha256(again.public_key()) == _x509.spki_sha256(key.public_key())
    assert _x509.key_type(again.public_key()) == name


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_private_key_with_a_passphrase_is_refused(ec_key, form):
    encryption = serialization.BestAvailableEncryption(b"secret")
    text = ec_key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), encryption)
    with pytest.raises(UpkiError) as caught:
        _x509.private_key_from_pem(text)
    assert caught.value.code == "key_encrypted"
    assert "openssl pkey" in caught.value.fix


@pytest.mark.parametrize("cut", [0, 60, 200])
def test_broken_private_key_is_refused_without_its_content(ec_key, cut):
    text = _x509.private_key_pem(ec_key)
    with pytest.raises(UpkiError) as caught:
        _x509.private_key_from_pem(text[:cut])
    assert caught.value.code == "key_broken"
    secret = text.decode("ascii").splitlines()[1][:16]
    assert secret not in str(caught.value.result())


def test_private_key_from_a_certificate_is_refused(plain):
    with pytest.raises(UpkiError) as caught:
        _x509.private_key_from_pem(_x509.pem(plain).encode("ascii"))
    assert caught.value.code == "key_broken"


# --- facts -----------------------------------------------------------------------------------------------


def test_dates_are_aware_and_in_utc(plain):
    assert _x509.not_before(plain) == START.replace(tzinfo=datetime.timezone.utc)
    assert _x509.not_after(plain) == END.replace(tzinfo=datetime.timezone.utc)
    assert _x509.not_after(plain).utcoffset() == datetime.timedelta(0)


def test_names_keep_order_commas_and_japanese(plain):
    expected = [("C", "JP"), ("ST", "tokyo"), ("L", "chofu"), ("O", "Example, Inc. a=b"), ("OU", "学術")]
    assert _x509.name_fields(plain.subject) == expected + [("CN", "www.example.ac.jp")]
    assert _x509.name_text(plain.subject).startswith("C=JP, ST=tokyo, L=chofu, O=Example, Inc. a=b, OU=学術, CN=")
    assert _x509.name_value(plain.subject, "OU") == "学術"
    assert _x509.name_value(plain.subject, "serialNumber") == ""


def test_name_of_an_unknown_type_shows_its_number():
    name = distinguished_name([(x509.ObjectIdentifier("1.2.3.4"), "x"), (NameOID.EMAIL_ADDRESS, "a@example.ac.jp")])
    assert _x509.name_fields(name) == [("1.2.3.4", "x"), ("emailAddress", "a@example.ac.jp")]


def test_name_value_takes_the_first_of_several():
    name = distinguished_name([(NameOID.COMMON_NAME, "one"), (NameOID.COMMON_NAME, "two")])
    assert _x509.name_value(name, "CN") == "one"


def test_extensions_of_a_server_certificate(full):
    assert _x509.dns_names(full) == ["www.example.ac.jp", "a.example.ac.jp"]
    assert _x509.is_ca(full) is False
    assert _x509.usages(full) == ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]
    assert _x509.allows_server_auth(full)
    assert _x509.subject_key_id(full) == "01ab" * 10
    assert _x509.authority_key_id(full) == "fe" * 20
    assert _x509.access_urls(full, "caIssuers") == ["http://repo.example.ac.jp/ca.cer"]
    assert _x509.access_urls(full, "ocsp") == ["http://ocsp.example.ac.jp"]


def test_absent_extensions_have_plain_answers(plain):
    assert _x509.dns_names(plain) == []
    assert _x509.is_ca(plain) is False
    assert _x509.usages(plain) is None
    assert _x509.allows_server_auth(plain)
    assert _x509.subject_key_id(plain) == ""
    assert _x509.authority_key_id(plain) == ""
    assert _x509.access_urls(plain, "caIssuers") == []


def test_authority_key_identifier_may_hold_a_name_alone(ec_key):
    issuer = [x509.DirectoryName(distinguished_name([(NameOID.COMMON_NAME, "Test CA")]))]
    certificate = make_certificate(ec_key, ec_key, [x509.AuthorityKeyIdentifier(None, issuer, 1)])
    assert _x509.authority_key_id(certificate) == ""


@pytest.mark.parametrize(
    "usages, allowed",
    [
        ([ExtendedKeyUsageOID.CLIENT_AUTH], False),
        ([ExtendedKeyUsageOID.SERVER_AUTH], True),
        ([x509.ObjectIdentifier("2.5.29.37.0")], True),
    ],
)
def test_server_auth_follows_the_extended_key_usage(ec_key, usages, allowed):
    certificate = make_certificate(ec_key, ec_key, [x509.ExtendedKeyUsage(usages)])
    assert _x509.allows_server_auth(certificate) is allowed


def test_a_ca_certificate_is_known(ec_key):
    assert _x509.is_ca(make_certificate(ec_key, ec_key, [x509.BasicConstraints(ca=True, path_length=0)]))


def test_key_types_have_names(ec_key, other_ec_key, rsa_key):
    small = dsa.generate_private_key(1024, default_backend())
    keys = [
        ec_key,
        other_ec_key,
        rsa_key,
        ed25519.Ed25519PrivateKey.generate(),
        ed448.Ed448PrivateKey.generate(),
        small,
    ]
    names = [_x509.key_type(key.public_key()) for key in keys]
    assert names == ["p384", "secp256r1", "rsa2048", "ed25519", "ed448", "dsa"]


def test_signature_hash_names(plain, ec_key):
    edwards = ed25519.Ed25519PrivateKey.generate()
    assert _x509.signature_hash(plain) == "sha256"
    assert _x509.signature_hash(make_certificate(ec_key, edwards, algorithm=None)) == ""
    assert _x509.signature_hash(_x509.build_request(ec_key, FIELDS, "sha384")) == "sha384"


def test_signed_by_tells_the_signer(plain, full, ec_key, other_ec_key, rsa_key):
    assert _x509.signed_by(full, rsa_key.public_key())
    assert _x509.signed_by(plain, ec_key.public_key())
    assert not _x509.signed_by(plain, other_ec_key.public_key())
    assert not _x509.signed_by(plain, rsa_key.public_key())
    assert not _x509.signed_by(full, ec_key.public_key())
    assert not _x509.signed_by(plain, dsa.generate_private_key(1024, default_backend()).public_key())


def test_signed_by_knows_edwards_keys(ec_key):
    signer, stranger = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    certificate = make_certificate(ec_key, signer, algorithm=None)
    assert _x509.signed_by(certificate, signer.public_key())
    assert not _x509.signed_by(certificate, stranger.public_key())


def test_self_signed_needs_the_name_and_the_signature(plain, full, ec_key, rsa_key):
    assert _x509.is_self_signed(plain)
    assert not _x509.is_self_signed(full)
    assert not _x509.is_self_signed(make_certificate(ec_key, rsa_key)), "the same name, signed by another key"


def test_fingerprints_agree_with_the_library(full, ec_key):
    assert _x509.sha256(full) == binascii.hexlify(full.fingerprint(hashes.SHA256())).decode("ascii")
    assert _x509.spki_sha256(full.public_key()) == _x509.spki_sha256(ec_key.public_key())


# --- requests --------------------------------------------------------------------------------------------


def test_request_has_the_fields_in_order_and_no_extension(ec_key):
    request = _x509.build_request(ec_key, FIELDS, "sha384")
    assert _x509.name_fields(request.subject) == FIELDS
    assert _x509.request_has_extensions(request) is False
    assert _x509.request_signature_holds(request)
    assert _x509.spki_sha256(request.public_key()) == _x509.spki_sha256(ec_key.public_key())


def test_country_is_a_printable_string_and_the_rest_utf8(ec_key):
    data = _x509.der(_x509.build_request(ec_key, FIELDS, "sha384"))
    assert b"\x13\x02JP" in data
    assert b"\x0c\x05tokyo" in data


def test_request_with_a_wish_for_names_is_told_apart(ec_key):
    builder = x509.CertificateSigningRequestBuilder().subject_name(distinguished_name(SUBJECT))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example.ac.jp")]), critical=False)
    request = builder.sign(ec_key, hashes.SHA384(), default_backend())
    assert _x509.request_has_extensions(request) is True
    assert _x509.dns_names(request) == ["a.example.ac.jp"]


def test_request_with_a_changed_subject_does_not_hold(ec_key):
    data = _x509.der(_x509.build_request(ec_key, FIELDS, "sha384"))
    assert not _x509.request_signature_holds(_x509.request_from_der(data.replace(b"chofu", b"chofo")))


# --- the service's real certificates ---------------------------------------------------------------------


def read(shared, name):
    (certificate,) = _x509.certificates_from_pem((shared / "certs" / name).read_text(encoding="utf-8"))
    return certificate


def facts(shared):
    return json.loads((shared / "ca-facts.json").read_text(encoding="utf-8"))


def iso(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_every_real_ca_certificate_has_the_recorded_facts(shared):
    checked = 0
    for row in facts(shared):
        path = shared / "certs" / "ca" / row["file"]
        if not path.is_file():
            continue
        certificate = read(shared, "ca/" + row["file"])
        checked += 1
        assert _x509.sha256(certificate) == row["sha256"].lower(), row["file"]
        assert _x509.spki_sha256(certificate.public_key()) == row["spki_sha256"].lower(), row["file"]
        assert _x509.subject_key_id(certificate) == (row["subject_key_id"] or "").lower(), row["file"]
        assert _x509.authority_key_id(certificate) == (row["authority_key_id"] or "").lower(), row["file"]
        assert _x509.access_urls(certificate, "caIssuers") == row["ca_issuers"], row["file"]
        assert _x509.access_urls(certificate, "ocsp") == row["ocsp"], row["file"]
        assert iso(_x509.not_before(certificate)) == row["not_before"], row["file"]
        assert iso(_x509.not_after(certificate)) == row["not_after"], row["file"]
        assert (certificate.subject == certificate.issuer) is row["self_signed"], row["file"]
        assert _x509.is_ca(certificate), row["file"]
    assert checked >= 19


def test_real_keys_and_signatures_are_named(shared):
    names = {
        "ca/nii-open-domain-ca-g8-rsa.pem": ("rsa4096", "sha384"),
        "ca/nii-open-domain-ca-g8-ecc.pem": ("p384", "sha384"),
        "ca/security-communication-rootca1.pem": ("rsa2048", "sha1"),
        G8_LEAF: ("rsa2048", "sha256"),
    }
    for name, expected in names.items():
        certificate = read(shared, name)
        assert (_x509.key_type(certificate.public_key()), _x509.signature_hash(certificate)) == expected, name


def test_real_chain_of_the_g8_leaf(shared):
    leaf, g8 = read(shared, G8_LEAF), read(shared, "ca/nii-open-domain-ca-g8-rsa.pem")
    cross = read(shared, "ca/secom-tls-rsa-root-ca-2024-cross-by-security-communication-rootca2.pem")
    root = read(shared, "ca/security-communication-rootca2-root.pem")
    assert _x509.signed_by(leaf, g8.public_key())
    assert _x509.signed_by(g8, cross.public_key())
    assert _x509.signed_by(cross, root.public_key())
    assert _x509.is_self_signed(root) and not _x509.is_self_signed(cross)
    assert not _x509.signed_by(leaf, read(shared, "ca/nii-open-domain-ca-g7-rsa.pem").public_key())
    assert _x509.usages(leaf) == ["1.3.6.1.5.5.7.3.1"]


def test_real_g7_leaf_is_older_and_allows_clients(shared):
    leaf, g7 = read(shared, G7_LEAF), read(shared, "ca/nii-open-domain-ca-g7-rsa.pem")
    assert _x509.signed_by(leaf, g7.public_key())
    assert "1.3.6.1.5.5.7.3.2" in _x509.usages(leaf)
    assert _x509.name_value(leaf.subject, "CN") in _x509.dns_names(leaf)
    assert _x509.name_value(leaf.subject, "C") == "JP"


def test_root_with_the_serial_number_zero_is_read_without_a_warning(shared, recwarn):
    root = read(shared, "ca/security-communication-rootca2-root.pem")
    assert _x509.name_value(root.subject, "OU") == "Security Communication RootCA2"
    assert [warning for warning in recwarn if "serial" in str(warning.message)] == []
