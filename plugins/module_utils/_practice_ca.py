# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The practice CA's own keys and certificates, and how it signs a server certificate.

Same shape as the real hierarchy: an old RSA root that every system trusts, an old ECC root, two roots of 2024 that
only new systems trust, cross certificates from the old roots to the new ones, and intermediates of two generations.
Names, domain and organization say "practice", so that nothing made here can be taken for the real thing.

Source of the shape: the CA certificates that NII and SECOM publish for the UPKI certificate issuing service.
"""

import datetime
import os
import warnings

try:
    from cryptography import x509
    from cryptography.hazmat.backends import default_backend
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
except ImportError:  # the module reports it, see _requirements.py
    pass

from ansible_collections.campus.upki.plugins.module_utils import _atomic, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

URL = "http://repository.practice.example"  # .example is reserved: nothing answers there, ever
OCSP = "http://ocsp.practice.example"
OLD = "Practice Trust Systems CO.,LTD."
NEW = "Practice Trust Systems Co., Ltd."
SERVER = ("server",)
BOTH = ("server", "client")
DOMAIN_VALIDATED_ORGANIZATION = "2.23.140.1.2.2"  # CA/Browser Forum: organization validated
BACKDATE = datetime.timedelta(minutes=5)  # clocks of servers and browsers differ a little
WIDELY_TRUSTED = ("rootca2", "eccrootca1")

# The age at creation and the days left are those of the real certificates on 2026-11-22, so that "which one is
# older", "which one ends first" have the same answers. id -> (algorithm, subject).
AUTHORITIES = {
    "rootca2": ("rsa", (("C", "JP"), ("O", OLD), ("OU", "Practice Communication RootCA2"))),
    "eccrootca1": ("ec", (("C", "JP"), ("O", OLD), ("CN", "Practice Communication ECC RootCA1"))),
    "rsaroot2024": ("rsa", (("C", "JP"), ("O", NEW), ("CN", "Practice TLS RSA Root CA 2024"))),
    "eccroot2024": ("ec", (("C", "JP"), ("O", NEW), ("CN", "Practice TLS ECC Root CA 2024"))),
    "g7rsa": ("rsa", (("C", "JP"), ("O", OLD), ("CN", "NII Open Domain CA - G7 RSA (Practice)"))),
    "g7ecc": ("ec", (("C", "JP"), ("O", OLD), ("CN", "NII Open Domain CA - G7 ECC (Practice)"))),
    "g8rsa": ("rsa", (("C", "JP"), ("O", NEW), ("CN", "NII Open Domain CA - G8 RSA (Practice)"))),
    "g8ecc": ("ec", (("C", "JP"), ("O", NEW), ("CN", "NII Open Domain CA - G8 ECC (Practice)"))),
}

# file, subject, issuer, days before and after the creation, path length, extended key usage, written as.
# PEM and DER under the same ending, as in the real repository.
CERTIFICATES = (
    ("roots/practice-rootca2.pem", "rootca2", "rootca2", 6386, 919, None, None, "pem"),
    ("roots/practice-eccrootca1.pem", "eccrootca1", "eccrootca1", 3811, 4074, None, None, "pem"),
    ("roots/practice-tlsrsarootca2024.pem", "rsaroot2024", "rsaroot2024", 1026, 8089, None, None, "pem"),
    ("roots/practice-tlseccrootca2024.pem", "eccroot2024", "eccroot2024", 1026, 8089, None, None, "pem"),
    ("repository/practice-tlsrsarootca2024cross-pem.cer", "rsaroot2024", "rootca2", 592, 919, None, BOTH, "pem"),
    ("repository/practice-tlseccrootca2024cross.cer", "eccroot2024", "eccrootca1", 592, 4074, None, BOTH, "der"),
    ("repository/practice-nii-odca4g7rsa.cer", "g7rsa", "rootca2", 2168, 919, 0, BOTH, "der"),
    ("repository/practice-nii-odca4g7ecc.cer", "g7ecc", "eccrootca1", 2168, 1483, 0, BOTH, "pem"),
    ("repository/practice-nii-odca4g8rsa-pem.cer", "g8rsa", "rsaroot2024", 458, 5020, 0, SERVER, "pem"),
    ("repository/practice-nii-odca4g8ecc.cer", "g8ecc", "eccroot2024", 109, 925, 0, SERVER, "der"),
)

# Where a certificate signed by this authority says that the authority's own certificate lies. The 2024 roots lead
# to the self-signed certificate, not to the cross, as the real ones do.
PUBLISHED = {
    "rootca2": "SC-Root2/rootca2.cer",
    "eccrootca1": "SC-ECC-Root1/eccrootca1.cer",
    "rsaroot2024": "root/tlsrsa/tlsrsarootca2024.cer",
    "eccroot2024": "root/tlsecc/tlseccrootca2024.cer",
    "g7rsa": "odca4/practice-nii-odca4g7rsa.cer",
    "g7ecc": "odca4/practice-nii-odca4g7ecc.cer",
    "g8rsa": "odca4/practice-nii-odca4g8rsa.cer",
    "g8ecc": "odca4/practice-nii-odca4g8ecc.cer",
}
ISSUING = {("g7", "rsa"): "g7rsa", ("g7", "ec"): "g7ecc", ("g8", "rsa"): "g8rsa", ("g8", "ec"): "g8ecc"}
KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
LEAF_USAGE = {"g7": BOTH, "g8": SERVER}
LEAF_KEY_USAGE = {"rsa": ("digital_signature", "key_encipherment"), "ecc": ("digital_signature",)}


# --- pieces of a certificate -----------------------------------------------------------------------------


def new_serial():
    """A random positive number of 16 octets, first bit clear: up to 39 decimal digits, like today's real ones."""
    return int.from_bytes(os.urandom(16), "big") >> 2 | 1 << 126


def _name(fields):
    oids = {
        "C": NameOID.COUNTRY_NAME,
        "ST": NameOID.STATE_OR_PROVINCE_NAME,
        "L": NameOID.LOCALITY_NAME,
        "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "CN": NameOID.COMMON_NAME,
    }
    return x509.Name([x509.NameAttribute(oids[field], value) for field, value in fields])


def _key_usage(*wanted):
    return x509.KeyUsage(**{name: name in wanted for name in KEY_USAGES})


def _extended_key_usage(usage):
    oids = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
    return x509.ExtendedKeyUsage([oids[word] for word in usage])


def _hash(key):
    return hashes.SHA256() if isinstance(key, rsa.RSAPrivateKey) else hashes.SHA384()


def _pointers(issuer):
    """The two extensions that lead to the issuer's certificate, its status service and its revocation list."""
    method = AuthorityInformationAccessOID
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(method.OCSP, x509.UniformResourceIdentifier("{0}/{1}".format(OCSP, issuer))),
            x509.AccessDescription(
                method.CA_ISSUERS, x509.UniformResourceIdentifier("{0}/{1}".format(URL, PUBLISHED[issuer]))
            ),
        ]
    )
    list_url = x509.UniformResourceIdentifier("{0}/crl/{1}.crl".format(URL, issuer))
    return access, x509.CRLDistributionPoints([x509.DistributionPoint([list_url], None, None, None)])


def _builder(subject, public_key, issuer, serial, start, end):
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(AUTHORITIES[issuer][1]))
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _linked(builder, issuer, issuer_key):
    """The extensions that everything below a root carries."""
    access, lists = _pointers(issuer)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    policies = x509.CertificatePolicies(
        [x509.PolicyInformation(x509.ObjectIdentifier(DOMAIN_VALIDATED_ORGANIZATION), None)]
    )
    for extension in (identifier, access, lists, policies):
        builder = builder.add_extension(extension, critical=False)
    return builder


def _sign(builder, key):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return builder.sign(key, _hash(key), default_backend())


# --- the hierarchy ---------------------------------------------------------------------------------------


def _generate(algorithm):
    if algorithm == "rsa":
        return rsa.generate_private_key(65537, 2048, default_backend())
    return ec.generate_private_key(ec.SECP384R1(), default_backend())


def _authority_certificate(keys, row, now):
    subject, issuer, before, after, path_length, usage = row[1:7]
    start, end = now - datetime.timedelta(days=before), now + datetime.timedelta(days=after)
    key = keys[subject].public_key()
    builder = _builder(AUTHORITIES[subject][1], key, issuer, new_serial(), start, end)
    builder = (
        builder.add_extension(x509.BasicConstraints(True, path_length), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(_extended_key_usage(usage), critical=False)
    if subject != issuer:
        builder = _linked(builder, issuer, keys[issuer])
    return _sign(builder, keys[issuer])


def paths(folder):
    """Where things lie, as absolute texts."""
    folder = os.path.abspath(folder)
    return {
        "roots": os.path.join(folder, "roots"),
        "widely_trusted": os.path.join(folder, "roots", "widely-trusted.pem"),
        "repository": os.path.join(folder, "repository"),
        "private": os.path.join(folder, "private"),
        "register": os.path.join(folder, "register.json"),
        "lock": os.path.join(folder, ".lock"),
    }


def exists(folder):
    """True when the hierarchy is complete; widely-trusted.pem is written last."""
    return os.path.isfile(paths(folder)["widely_trusted"])


def refuse_remains(folder):
    """A CA that has issued must not get other keys unnoticed, when somebody removed a part of its folder."""
    if os.path.exists(paths(folder)["register"]):
        raise UpkiError(
            "practice_ca_incomplete",
            "'{0}' has a register but not all of the CA's certificates.".format(folder),
            "Restore the folder, or remove it whole to begin with a new practice CA.",
        )


def create(folder, now):
    """Make keys and certificates; a half-made hierarchy of an interrupted run is made anew."""
    where = paths(folder)
    for name, mode in (("roots", 0o755), ("repository", 0o755), ("private", 0o700)):
        _atomic.make_dir(where[name], mode)
    keys = {name: _generate(row[0]) for name, row in AUTHORITIES.items()}
    for name, key in keys.items():
        _atomic.write_file(os.path.join(where["private"], name + ".pem"), _x509.private_key_pem(key), 0o600)
    trusted = []
    for row in CERTIFICATES:
        certificate = _authority_certificate(keys, row, now)
        encoding = serialization.Encoding.DER if row[7] == "der" else serialization.Encoding.PEM
        _atomic.write_file(os.path.join(folder, row[0]), certificate.public_bytes(encoding), 0o644)
        if row[1] == row[2] and row[1] in WIDELY_TRUSTED:
            trusted.append(_x509.pem(certificate))
    _atomic.write_file(where["widely_trusted"], "".join(trusted).encode("ascii"), 0o644)


def _read(path):
    with _atomic.explained(path, "read"), open(path, "rb") as stream:
        return stream.read()


def _life(folder, issuer, now):
    """(first, last) moment of an intermediate; of a hierarchy not yet made, what it will be."""
    row = [row for row in CERTIFICATES if row[1] == issuer and row[2] != issuer][0]
    path = os.path.join(folder, row[0])
    if not os.path.exists(path):
        return now - datetime.timedelta(days=row[3]), now + datetime.timedelta(days=row[4])
    if row[7] == "der":
        certificate = _x509.certificate_from_der(_read(path))
    else:
        certificate = _x509.certificates_from_pem(_read(path).decode("ascii", "replace"))[0]
    return _x509.not_before(certificate), _x509.not_after(certificate)


class Issuer(object):
    """Signs server certificates of one generation; keys are read when first needed.

    signs: False in check mode, where only `plan` is asked.
    """

    def __init__(self, folder, generation, lifetime, backdate, now, signs=True):
        self.folder, self.generation, self.lifetime, self.now = folder, generation, lifetime, now
        self.start = (now - datetime.timedelta(days=backdate) - BACKDATE).replace(microsecond=0)
        self.signs = signs
        self._keys = {}

    def _key(self, issuer):
        if issuer not in self._keys:
            path = os.path.join(paths(self.folder)["private"], issuer + ".pem")
            self._keys[issuer] = _x509.private_key_from_pem(_read(path))
        return self._keys[issuer]

    def plan(self, public_key):
        """(intermediate, first moment, last moment) of a certificate, which must lie within the intermediate's life."""
        issuer = ISSUING[(self.generation, "rsa" if isinstance(public_key, rsa.RSAPublicKey) else "ec")]
        end = self.start + datetime.timedelta(days=self.lifetime)
        first, last = _life(self.folder, issuer, self.now)
        if first <= self.start and end <= last:
            return issuer, self.start, end
        raise UpkiError(
            "practice_validity",
            "A certificate from {0:%Y-%m-%d} to {1:%Y-%m-%d} does not fit in the life of {2}, {3:%Y-%m-%d} to "
            "{4:%Y-%m-%d}.".format(self.start, end, AUTHORITIES[issuer][1][-1][1], first, last),
            "Give a smaller lifetime or backdate, or remove the practice CA's folder to begin with a new one.",
        )

    def issue(self, subject, names, public_key):
        """A certificate for the subject [('C', 'JP'), …, ('CN', …)]; the first name is the FQDN."""
        issuer, start, end = self.plan(public_key)
        key = self._key(issuer)
        builder = _linked(_builder(subject, public_key, issuer, new_serial(), start, end), issuer, key)
        builder = (
            builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .add_extension(_extended_key_usage(LEAF_USAGE[self.generation]), critical=False)
            .add_extension(_key_usage(*LEAF_KEY_USAGE[issuer[2:]]), critical=True)
        )
        return _sign(builder, key)
