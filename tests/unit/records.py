# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records and TSV texts for tests of the builder and the reader. Runs on Python 3.6."""

import functools
from typing import Any, Dict, List, Union

from ansible_collections.campus.upki.plugins.module_utils import _tsv, _tsv_record
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

WWW = "www.example.ac.jp"
FIELDS = {"C": "JP", "ST": "tokyo", "L": "chofu", "O": "The University of Electro-Communications", "CN": WWW}
SUBJECT = {"organization": FIELDS["O"], "locality": FIELDS["L"], "state": FIELDS["ST"]}
DN = "CN={0},O={organization},L={locality},ST={state},C=JP".format(WWW, **SUBJECT)
KINDS = ("server_issue", "server_renew", "server_revoke", "acme_create", "acme_renew", "acme_suspend", "acme_revoke")

# Written by hand a second time, item by item as the service's own table has it, to check the builder's table against.
MARKS = {
    "subject": "○○○○○△○",
    "profile": "○○—○○——",
    "account_id": "————○○—",
    "serial": "—○○———○",
    "reason": "——○——○○",
    "comment": "——△——△△",
    "csr": "○○—————",
    "manager_name": "△△—△△——",
    "manager_affiliation": "△△—△△——",
    "manager_email": "○○△○○△△",
    "fqdn": "○○—○○——",
    "software": "○○—○○——",
    "dns_names": "△△—△△——",
}
KEYS = tuple(MARKS)


OIDS = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "emailAddress": NameOID.EMAIL_ADDRESS,
}
HASHES: Dict[str, Any] = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}
CURVES: Dict[str, Any] = {"p384": ec.SECP384R1, "p256": ec.SECP256R1}


@functools.lru_cache(maxsize=None)
def key(label: str = "a", kind: str = "p384") -> Any:
    """The same key for the same label within a run."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]), default_backend())
    return ec.generate_private_key(CURVES[kind](), default_backend())


@functools.lru_cache(maxsize=None)
def csr_pem(
    name: str = WWW,
    label: str = "a",
    kind: str = "p384",
    hash_name: str = "sha384",
    order: str = "C,ST,L,O,CN",
    san: str = "",
    **fields: Any,
) -> str:
    """PEM text of a CSR; the same arguments give the same CSR within a run."""
    values = dict(FIELDS, CN=name, **fields)
    subject = x509.Name([x509.NameAttribute(OIDS[field], values[field]) for field in order.split(",")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(san)]), critical=False)
    request = builder.sign(key(label, kind), HASHES[hash_name](), default_backend())
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")


@functools.lru_cache(maxsize=None)
def csr_text(*args: Any, **kwargs: Any) -> str:
    """Column 7 of the same CSR."""
    return "".join(csr_pem(*args, **kwargs).split("-----")[2].split())


def mark(kind: str, key: str) -> str:
    """○, △ or — as the service's table has it."""
    return MARKS[key][KINDS.index(kind)]


def texts(kind: str, marks: str = "○△", **changes: str) -> Dict[str, str]:
    """The 13 texts of a correct line with the columns of these marks."""
    values = {
        "subject": DN,
        "profile": "11",
        "account_id": "acct-0123456789",
        "serial": "98765432109876543210",
        "reason": "4",
        "comment": "更新のため",
        "csr": csr_text(),
        "manager_name": "電通太郎",
        "manager_affiliation": "情報基盤センター",
        "manager_email": "taro@example.ac.jp",
        "fqdn": WWW,
        "software": "nginx",
        "dns_names": "dNSName=a.example.ac.jp,dNSName=b.example.ac.jp",
    }
    values = {key: value if mark(kind, key) in marks else "" for key, value in values.items()}
    return dict(values, **changes)


def record(kind: str = "server_renew", **changes: Any) -> Dict[str, Any]:
    """A correct record with all that its kind may have."""
    found: Dict[str, Any] = {
        "kind": kind,
        "subject": dict(SUBJECT, common_name=WWW),
        "profile": None,
        "account_id": "acct-0123456789",
        "serial": "98765432109876543210",
        "reason": 4,
        "comment": "更新のため",
        "csr": csr_pem(),
        "manager_name": "電通太郎",
        "manager_affiliation": "情報基盤センター",
        "manager_email": "taro@example.ac.jp",
        "fqdn": WWW,
        "software": "nginx",
        "dns_names": ["a.example.ac.jp", "b.example.ac.jp"],
    }
    if kind in ("acme_create", "acme_renew"):
        found["profile"] = "11"
    for key in KEYS:
        if mark(kind, key) == "—":
            found[key] = [] if key == "dns_names" else None
    return dict(found, **changes)


def named(name: str, kind: str = "server_issue", label: str = "", **changes: Any) -> Dict[str, Any]:
    """A correct record for another server, with a key of its own."""
    changes.setdefault("csr", csr_pem(name, label or name) if mark(kind, "csr") != "—" else None)
    subject = dict(SUBJECT, common_name=name)
    return record(kind, subject=subject, fqdn=name if mark(kind, "fqdn") != "—" else None, **changes)


def line(columns: Dict[str, str]) -> str:
    """One line of a file, without its end."""
    return "\t".join(columns[key] for key in KEYS)


def data(*columns: Union[str, Dict[str, str]], **how: str) -> bytes:
    """Bytes of a file; `encoding`, `end` and `last` (the end of the last line) for what editors do."""
    end = how.get("end", "\r\n")
    text = end.join(line(one) if isinstance(one, dict) else one for one in columns) + how.get("last", end)
    return text.encode(how.get("encoding", "cp932"))


def codes(faults: List[Dict[str, Any]]) -> List[Any]:
    """The codes of faults, sorted as text, each as often as it occurs."""
    return sorted((row["code"] for row in faults), key=str)


def read_codes(kind: str, columns: Dict[str, str], rules: Any = _tsv.RULES) -> List[Any]:
    """The codes of the faults of one line."""
    return codes(_tsv.read(data(columns), kind, rules)["faults"])


def record_codes(one: Dict[str, Any], rules: Any = _tsv.RULES, **options: Any) -> List[Any]:
    """The codes of the faults of one record."""
    return codes(_tsv_record.check_record(one, rules, **options))
