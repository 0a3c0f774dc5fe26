# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate's facts as a plain dict, the same for one at hand and for one that only the catalogue knows."""

import datetime
import hashlib

from ansible_collections.campus.upki.plugins.module_utils import _catalogue, _x509

STAMP = "%Y-%m-%dT%H:%M:%SZ"
USAGES = {
    "1.3.6.1.5.5.7.3.1": "serverAuth",
    "1.3.6.1.5.5.7.3.2": "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    "2.5.29.37.0": "any",
}

# Verdicts about pairs of certificates, which never change; bounded, and shared by the threads of a run.
_SIGNATURES = {}
MOST_SIGNATURES = 20000


def card(certificate, file=""):
    """The card of a certificate at hand. file: where it was read, for messages about what to append."""
    row = _catalogue.pinned(_x509.sha256(certificate))
    root = _x509.is_self_signed(certificate)
    return {
        "certificate": certificate,
        "sha256": _x509.sha256(certificate),
        "subject": _x509.name_text(certificate.subject),
        "issuer": _x509.name_text(certificate.issuer),
        "key_id": _x509.subject_key_id(certificate),
        "issuer_key_id": _x509.authority_key_id(certificate),
        "not_before": _x509.not_before(certificate),
        "not_after": _x509.not_after(certificate),
        "server_auth": _x509.allows_server_auth(certificate),
        "ca": _x509.is_ca(certificate),
        "root": root,
        "cross": not root and (row["role"] == "cross" if row else "root" in common_name(certificate.subject).lower()),
        "generation": row["generation"] if row else "",
        "url": row["url"] if row else "",
        "file": file,
    }


def known_cards():
    """The cards of the catalogue's intermediates and cross certificates; `certificate` is None in them."""
    return [_from_row(row) for row in _catalogue.ROWS if row["role"] != "root"]


def _from_row(row):
    return {
        "certificate": None,
        "sha256": row["sha256"],
        "subject": row["subject"],
        "issuer": row["issuer"],
        "key_id": row["subject_key_id"],
        "issuer_key_id": row["authority_key_id"],
        "not_before": _moment(row["not_before"]),
        "not_after": _moment(row["not_after"]),
        "server_auth": row["server_auth"],
        "ca": True,
        "root": False,
        "cross": row["role"] == "cross",
        "generation": row["generation"],
        "url": row["url"],
        "file": "",
    }


def _moment(text):
    return datetime.datetime.strptime(text, STAMP).replace(tzinfo=datetime.timezone.utc)


def common_name(name):
    """How a person calls a CA: its CN, else its OU (as older roots have), else the whole name."""
    return _x509.name_value(name, "CN") or _x509.name_value(name, "OU") or _x509.name_text(name) or "(no name)"


def label(row):
    """The short name of a card's subject."""
    if row["certificate"] is not None:
        return common_name(row["certificate"].subject)
    return row["subject"].rsplit("=", 1)[-1]


def issuer_label(row):
    """The short name of a card's issuer."""
    if row["certificate"] is not None:
        return common_name(row["certificate"].issuer)
    return row["issuer"].rsplit("=", 1)[-1]


def issues(issuer, subject):
    """True when the issuer's name and key made the subject's certificate; for catalogue cards by key identifier."""
    if issuer["subject"] != subject["issuer"]:
        return False
    wanted, found = subject["issuer_key_id"], issuer["key_id"]
    if wanted and found and wanted != found:
        return False
    if issuer["certificate"] is None or subject["certificate"] is None:
        return bool(wanted and found)
    return _signed(issuer, subject)


def _signed(issuer, subject):
    """Whether the issuer's key made the signature, computed once: a fleet shares its intermediates."""
    pair = (issuer["sha256"], subject["sha256"])
    verdict = _SIGNATURES.get(pair)
    if verdict is None:
        if len(_SIGNATURES) >= MOST_SIGNATURES:
            _SIGNATURES.clear()
        verdict = _x509.signed_by(subject["certificate"], issuer["certificate"].public_key())
        _SIGNATURES[pair] = verdict
    return verdict


def believe(chain):
    """OpenSSL verified the signatures of this path (DER, the leaf first): nobody need reckon them again."""
    digests = [hashlib.sha256(der).hexdigest() for der in chain]
    if len(_SIGNATURES) + len(digests) >= MOST_SIGNATURES:
        _SIGNATURES.clear()
    _SIGNATURES.update(((issuer, subject), True) for subject, issuer in zip(digests, digests[1:]))


def valid(row, now):
    """Whether now lies in the card's validity."""
    return row["not_before"] <= now <= row["not_after"]


def origin(row):
    """(what to append, where it comes from) of a needed certificate, for messages."""
    digest = "SHA-256 {0}".format(row["sha256"])
    if row["file"]:
        return "'{0}'".format(label(row)), "it is at hand as {0}, {1}".format(row["file"], digest)
    if row["url"]:
        return row["url"].rsplit("/", 1)[-1], "{0}, {1}".format(row["url"], digest)
    return "'{0}'".format(label(row)), "the CA's repository (look it up by its fingerprint), {0}".format(digest)


def usage_names(row):
    """The extended key usages of a card at hand, in words where the word is known."""
    return [USAGES.get(oid, oid) for oid in _x509.usages(row["certificate"]) or []]


def issuer_urls(row):
    """Where the certificate itself says that its issuer's can be fetched."""
    return _x509.access_urls(row["certificate"], "caIssuers") if row["certificate"] is not None else []


def widely_trusted_issuer(row):
    """True when the catalogue knows the issuer's root as one that clients of several years have."""
    roots = _catalogue.by_key(row["issuer"], row["issuer_key_id"], ("root",))
    return any(root["widely_trusted"] for root in roots)
