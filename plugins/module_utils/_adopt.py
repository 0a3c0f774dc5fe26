# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a certificate that the store did not make: from a file on the host, or from what a port serves now."""

from ansible_collections.campus.upki.plugins.module_utils import _atomic, _probe, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

# Beginnings of the issuer's CN that mean "issued by UPKI". Every CA of the service since G2 is called so.
ISSUERS = ("NII Open Domain CA",)


def is_upki(certificate, issuers=ISSUERS):
    """True when the issuer is one of the service's CAs."""
    return _x509.name_value(certificate.issuer, "CN").startswith(tuple(issuers))


def facts(certificate, source, generation=None, issuers=ISSUERS):
    """What the decisions need to know of a certificate. `upki` is true for what came through the store."""
    subject = dict(reversed(_x509.name_fields(certificate.subject)))
    issuer = _x509.name_value(certificate.issuer, "CN")
    return {
        "source": source,
        "generation": generation,
        "serial": str(certificate.serial_number),
        "not_before": _x509.not_before(certificate),
        "not_after": _x509.not_after(certificate),
        "cn": subject.get("CN", ""),
        "ou": subject.get("OU", ""),
        "subject": {key: subject.get(key, "") for key in ("O", "L", "ST")},
        "issuer": issuer or _x509.name_text(certificate.issuer),
        "upki": generation is not None or is_upki(certificate, issuers),
        "dns_names": _x509.dns_names(certificate),
        "requested_names": set(_x509.dns_names(certificate)) | {subject.get("CN", "")},
        "key_type": _x509.key_type(certificate.public_key()),
        "spki_sha256": _x509.spki_sha256(certificate.public_key()),
    }


def from_file(path):
    """The server's certificate in a file (PEM with or without its chain and key, or DER)."""
    with _atomic.explained(path, "read the current certificate"), open(path, "rb") as stream:
        data = stream.read()
    try:
        if b"-----BEGIN" in data:
            found = _x509.certificates_from_pem(data.decode("utf-8", "replace"))
        else:
            found = [_x509.certificate_from_der(data)]
    except UpkiError as error:
        raise UpkiError(
            error.code,
            "The file '{0}' (current_certificate) cannot be used: {1}".format(path, error.message),
            "Name the file that the server's configuration names as its certificate.",
        )
    leaves = [certificate for certificate in found if not _x509.is_ca(certificate)] or found
    if not leaves:
        raise UpkiError(
            "current_certificate_empty",
            "The file '{0}' (current_certificate) holds no certificate.".format(path),
            "Name the file that the server's configuration names as its certificate.",
        )
    return leaves[0]


def parse_endpoint(text):
    """(host, port) of 'host:port', 'host' or '[address]:port'."""
    return _probe.parse_endpoint(text, 443, "current_endpoint")


def from_endpoint(text, server_name, timeout=10):
    """The certificate that a port serves now for `server_name` (SNI)."""
    host, port = parse_endpoint(text)
    seen = _probe.look(host, port, server_name, timeout=timeout)
    if seen.leaf is None:
        raise UpkiError(
            "endpoint_unreachable",
            "Could not read the certificate that {0} serves for '{1}' (current_endpoint): {2}.".format(
                text, server_name, seen.detail
            ),
            "Start the server, mend current_endpoint, or leave it out where there is no certificate yet.",
        )
    return _x509.certificate_from_der(seen.leaf)
