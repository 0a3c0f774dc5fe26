# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold of certificate, key and chain before a server may see them.

The last check loads the very files with the host's own Python: a server's configuration test proves nothing about keys
(Apache 2.4 accepts a key that does not match in its test and in a graceful reload, and dies afterwards).
"""

import datetime
import os
import re
import ssl
import tempfile
import warnings

from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

CLOCK = datetime.timedelta(minutes=5)  # a host's clock may be a little behind the CA's


def plain(name):
    """A DNS name as it is compared: lower case, without the final dot."""
    return name.strip().rstrip(".").lower()


def names_of(certificate):
    """DNS names of a certificate as they are compared: those of the SAN, and the CN where there is no SAN."""
    names = [plain(name) for name in _x509.dns_names(certificate)]
    return names or [plain(name) for name in [_x509.name_value(certificate.subject, "CN")] if name]


def covers(names, wanted):
    """True when one of the certificate's names is the wanted one, or a wildcard for its first label."""
    wanted = plain(wanted)
    parent = "*." + wanted.split(".", 1)[-1]
    return wanted in names or parent in names


def check(chosen, wanted, spki_sha256, now):
    """All faults of a candidate in one UpkiError. wanted: names it must cover. spki_sha256: of the pending request."""
    faults = [fault for rule in RULES for fault in [rule(chosen, wanted, spki_sha256, now)] if fault]
    if not faults:
        return
    raise UpkiError(
        faults[0][0],
        "The certificate in '{0}' (serial {1}) cannot go live: {2}.".format(
            chosen.file, chosen.certificate.serial_number, "; ".join(message for _code, message, _fix in faults)
        ),
        " ".join(fix for _code, _message, fix in faults),
        faults=[{"code": row[0], "message": row[1]} for row in faults],
    )


def _key(chosen, _wanted, spki_sha256, _now):
    found = _x509.spki_sha256(chosen.certificate.public_key())
    if found != spki_sha256:
        message = "its public key's SHA-256 is {0}, that of the request is {1}".format(found, spki_sha256)
        return "other_key", message, "Take the certificate that was issued for this request."
    return None


def _names(chosen, wanted, _spki, _now):
    names = names_of(chosen.certificate)
    lacking = sorted({plain(name) for name in wanted if not covers(names, name)})
    if lacking:
        message = "it lacks the name {0} (it has {1})".format(", ".join(lacking), ", ".join(names) or "none")
        return (
            "names_missing",
            message,
            (
                "If the name was in the application, ask the IT centre; if it was added later, take it out of "
                "dns_names (upki_certificates) until the next renewal."
            ),
        )
    return None


def _ended(chosen, _wanted, _spki, now):
    end = _x509.not_after(chosen.certificate)
    if now > end:
        return (
            "expired",
            "it expired on {0:%Y-%m-%d %H:%M} UTC, and it is {1:%Y-%m-%d %H:%M} here".format(end, now),
            "Request a new one with campus.upki.request; if it is not so late, set the host's clock (timedatectl).",
        )
    return None


def _not_begun(chosen, _wanted, _spki, now):
    begin = _x509.not_before(chosen.certificate)
    if now + CLOCK < begin:
        message = "it is valid only from {0:%Y-%m-%d %H:%M} UTC, and it is {1:%Y-%m-%d %H:%M} here".format(begin, now)
        return "not_yet_valid", message, "Check the host's clock (timedatectl); if it is right, run again then."
    return None


def _server_auth(chosen, _wanted, _spki, _now):
    if not _x509.allows_server_auth(chosen.certificate):
        return (
            "not_for_servers",
            "its extended key usage lacks serverAuth",
            "Apply for a server certificate (サーバ証明書).",
        )
    return None


def _not_a_ca(chosen, _wanted, _spki, _now):
    if _x509.is_ca(chosen.certificate):
        return "is_a_ca", "it is a CA certificate", "Take the certificate that was issued for the server."
    return None


def _chain_order(chosen, _wanted, _spki, _now):
    lower = chosen.certificate
    for upper in chosen.chain:
        if lower.issuer != upper.subject or not _x509.signed_by(lower, upper.public_key()):
            message = "in the chain '{0}' did not sign '{1}'".format(
                _x509.name_text(upper.subject), _x509.name_text(lower.subject)
            )
            return (
                "chain_broken",
                message,
                "Put the CA's certificates into an intermediates folder (upki_intermediates).",
            )
        lower = upper
    return None


def _chain_dates(chosen, _wanted, _spki, now):
    for one in chosen.chain:
        if now > _x509.not_after(one):
            message = "'{0}' of its chain expired on {1:%Y-%m-%d}".format(
                _x509.name_text(one.subject), _x509.not_after(one)
            )
            return (
                "issuer_expired",
                message,
                "Put the CA's current certificate into an intermediates folder (upki_intermediates).",
            )
    return None


RULES = (_key, _names, _ended, _not_begun, _server_auth, _not_a_ca, _chain_order, _chain_dates)


# --- loading with the host's own TLS library ---------------------------------------------------------------


def _context():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ssl.SSLContext(getattr(ssl, "PROTOCOL_TLS_SERVER", ssl.PROTOCOL_TLS))


def load_files(fullchain, key):
    """Load certificate, chain and key as a server will; UpkiError preflight_failed when that does not work."""
    asked = []

    def password():
        asked.append(True)
        return b""  # never a prompt

    try:
        _context().load_cert_chain(fullchain, key, password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise _load_error(error, bool(asked), fullchain, key)


# What OpenSSL says of a kind of key or signature that it was built without, or that the host's policy forbids.
NOT_TAKEN = re.compile(
    r"^(UNKNOWN_CERTIFICATE_TYPE|UNKNOWN_KEY_TYPE|UNKNOWN_GROUP|UNSUPPORTED_\w+|X509_LIB"
    r"|(EE|CA)_KEY_TOO_SMALL|CA_MD_TOO_WEAK)$"
)


def _load_error(error, encrypted, fullchain, key):
    if encrypted:
        return UpkiError(
            "key_encrypted",
            "The private key '{0}' has a passphrase, so the server could not start unattended.".format(key),
            "Write it without one (umask 077; openssl pkey -in {0} -out {0}.new) and put that in its place.".format(
                key
            ),
        )
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return UpkiError(
            "key_mismatch",
            "The private key '{0}' does not belong to the certificate.".format(key),
            "Put the key that was made with its request in its place. To compare: openssl pkey -in {0} -pubout, and "
            "openssl x509 -noout -pubkey of the certificate.".format(key),
        )
    if NOT_TAKEN.match(str(reason)):
        return UpkiError(
            "key_type_refused",
            "This host's OpenSSL ({0}) does not take this certificate, whose key is of the type {1}: {2}.".format(
                ssl.OPENSSL_VERSION, _key_type(fullchain), reason
            ),
            "Update OpenSSL or loosen the host's crypto policy, or apply again with another key_type (rsa2048 is taken "
            "nearly everywhere; in upki_certificates).",
        )
    return UpkiError(
        "preflight_failed",
        "This host's OpenSSL ({0}) cannot load the certificate with the key '{1}': {2}.".format(
            ssl.OPENSSL_VERSION, key, reason
        ),
        "Look whether the file is a whole key in PEM that this user may read.",
    )


def _key_type(path):
    """The type of a certificate's key, for messages."""
    try:
        with open(path, "rb") as stream:
            found = _x509.certificates_from_pem(stream.read().decode("ascii", "replace"))
        return _x509.key_type(found[0].public_key())
    except Exception:  # a library that is too old for this key says so in many ways
        return "unknown"


def load(pem, key):
    """load_files for a chain that is not on the disk yet. It holds nothing secret."""
    descriptor, path = tempfile.mkstemp(prefix="upki-", suffix=".pem")
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(pem)
        load_files(path, key)
    finally:
        os.unlink(path)
