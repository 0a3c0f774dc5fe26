# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small PKI for tests: keys, CAs and leaves of any shape, made at run time. Runs with cryptography 3.2."""

import base64
import datetime
import functools

from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

UTC = datetime.timezone.utc
NOW = datetime.datetime(2026, 11, 22, 3, 0, 0, tzinfo=UTC)
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
_FIELDS = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "CN": NameOID.COMMON_NAME,
}


_SIGNING = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def days(number):
    return datetime.timedelta(days=number)


def new_key(kind="p384"):
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]), default_backend())
    curve = {"p384": ec.SECP384R1, "p256": ec.SECP256R1}[kind]
    return ec.generate_private_key(curve(), default_backend())


@functools.lru_cache(maxsize=None)
def key(label, kind="p384"):
    """The same key for the same label within a run: most tests need keys that differ, not fresh ones."""
    return new_key(kind)


def key_pem(private_key, passphrase=None):
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return private_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def traditional_pem(private_key, passphrase=None):
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, encryption
    )


def name(common_name):
    fields = [("C", "JP"), ("O", "Example CA, Ltd."), ("CN", common_name)]
    return x509.Name([x509.NameAttribute(_FIELDS[field], value) for field, value in fields])


class CA(object):
    """A CA certificate with its key; what a test needs changed is an argument."""

    def __init__(self, common_name, issuer=None, label=None, kind="p384", start=None, end=None, **shape):
        self.key = key(label or common_name, kind)
        self.subject = name(common_name)
        issuer = issuer or self
        self.certificate = _build(
            self.subject,
            self.key.public_key(),
            issuer,
            start or NOW - days(1000),
            end or NOW + days(3000),
            ca=shape.get("ca", True),
            path_length=shape.get("path_length"),
            usages=shape.get("usages"),
        )

    def issue(self, common_name, public_key=None, names=None, start=None, end=None, usages=(SERVER,), **shape):
        """A server certificate."""
        return _build(
            name(common_name),
            public_key or key("leaf " + common_name).public_key(),
            self,
            start or NOW - days(1),
            end or NOW + days(197),
            names=[common_name] if names is None else names,
            usages=usages,
            ca=shape.get("ca", False),
            issuer_url=shape.get("issuer_url"),
        )


def _build(subject, public_key, issuer, start, end, ca, path_length=None, usages=None, names=None, issuer_url=None):
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start.replace(tzinfo=None))
        .not_valid_after(end.replace(tzinfo=None))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
            critical=False,
        )
    )
    if ca:  # as every real CA's
        builder = builder.add_extension(_SIGNING, critical=True)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(entry) for entry in names]), critical=False
        )
    if issuer_url:
        place = x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(issuer_url)
        )
        builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
    return builder.sign(issuer.key, hashes.SHA256(), default_backend())


def csr(private_key, common_name):
    builder = x509.CertificateSigningRequestBuilder().subject_name(name(common_name))
    return builder.sign(private_key, hashes.SHA256(), default_backend())


def pem(*objects):
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode("ascii") for one in objects)


def der(one):
    return one.public_bytes(serialization.Encoding.DER)


# --- containers --------------------------------------------------------------------------------------------


def _element(tag, content):
    length = len(content)
    head = bytes([length]) if length < 128 else b"\x83" + length.to_bytes(3, "big")
    return bytes([tag]) + head + content


def pkcs7(*certificates):
    """A degenerate SignedData in DER: certificates and no signer, as CAs offer chains."""
    signed = _element(0x06, bytes.fromhex("2a864886f70d010702"))
    data = _element(0x30, _element(0x06, bytes.fromhex("2a864886f70d010701")))
    body = (
        _element(0x02, b"\x01")
        + _element(0x31, b"")
        + data
        + _element(0xA0, b"".join(der(one) for one in certificates))
        + _element(0x31, b"")
    )
    return _element(0x30, signed + _element(0xA0, _element(0x30, body)))


def armour(label, data):
    """PEM text around any bytes."""
    body = base64.b64encode(data).decode("ascii")
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join(["-----BEGIN {0}-----".format(label)] + lines + ["-----END {0}-----".format(label), ""])
