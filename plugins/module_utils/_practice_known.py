# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that the practice CA shall know as its own, to rehearse the renewal of a real one."""

import itertools

from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._practice_acts import ISO
from ansible_collections.campus.upki.plugins.module_utils._practice_uploads import read_file


def remember(register, paths, now):
    """Enter certificates that were issued before, by the real CA for instance; returns the new ones' entries."""
    entered = []
    for certificate in itertools.chain.from_iterable(map(_certificates, paths)):
        if register.by_serial(certificate.serial_number) is None:
            entered.append(_known_entry(certificate, now))
            register.certificates.append(entered[-1])
    return entered


def _certificates(path):
    """The leaf certificates in a file, PEM or DER."""
    data = read_file(path)
    if b"-----BEGIN" in data:
        found = _x509.certificates_from_pem(data.decode("ascii", "replace"))
    else:
        found = [_x509.certificate_from_der(data)]
    leaves = [certificate for certificate in found if not _x509.is_ca(certificate)]
    if not leaves:
        raise UpkiError(
            "practice_known",
            "'{0}' holds no server certificate.".format(path),
            "Name a file with the certificate as it was downloaded, PEM or DER.",
        )
    return leaves


def _known_entry(certificate, now):
    subject = dict(_x509.name_fields(certificate.subject))
    return {
        "name": subject.get("CN", ""),
        "kind": "known",
        "subject": subject,
        "status": "valid",
        "received": now.strftime(ISO),
        "serial": str(certificate.serial_number),
        "serial_hex": "{0:X}".format(certificate.serial_number),
        "not_before": _x509.not_before(certificate).strftime(ISO),
        "not_after": _x509.not_after(certificate).strftime(ISO),
        "spki_sha256": _x509.spki_sha256(certificate.public_key()),
        "key_type": _x509.key_type(certificate.public_key()),
        "certificate": _x509.pem(certificate),
        "delivered": True,
    }
