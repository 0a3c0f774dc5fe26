# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""TSV lines for tests of the practice CA, put together here column by column without the collection's builder."""

import base64
import functools
from typing import Any, Dict, List, Optional, Sequence, Tuple

from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

UEC = {"O": "The University of Electro-Communications", "L": "chofu", "ST": "tokyo", "C": "JP"}
WWW = "www.example.ac.jp"
OIDS = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
}
HASHES: Dict[str, Any] = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}


@functools.lru_cache(maxsize=None)
def key(label: str = "a", kind: str = "p384") -> Any:
    """The same key for the same label within a run."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]), default_backend())
    return ec.generate_private_key({"p384": ec.SECP384R1, "p256": ec.SECP256R1}[kind](), default_backend())


def subject(
    common_name: str = WWW, order: Sequence[str] = ("C", "ST", "L", "O", "CN"), **changes: Optional[str]
) -> List[Tuple[str, str]]:
    """Fields of a CSR's subject; a change to None leaves the field out."""
    values = {**UEC, "CN": common_name, **changes}
    return [(field, value) for field, value in ((field, values.get(field)) for field in order) if value is not None]


def request(
    fields: Optional[Sequence[Tuple[str, str]]] = None,
    private_key: Any = None,
    hash_name: str = "sha384",
    san: Optional[str] = None,
) -> x509.CertificateSigningRequest:
    """A CSR; everything that a person can do wrong is an argument."""
    name = x509.Name([x509.NameAttribute(OIDS[field], value) for field, value in fields or subject()])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(san)]), critical=False)
    return builder.sign(private_key or key(), HASHES[hash_name](), default_backend())


def body(csr: x509.CertificateSigningRequest) -> str:
    """Column 7: base64 on one line."""
    return base64.b64encode(csr.public_bytes(serialization.Encoding.DER)).decode("ascii")


def dn(common_name: str = WWW, **changes: str) -> str:
    values = {**UEC, "CN": common_name, **changes}
    return ",".join("{0}={1}".format(field, values[field]) for field in ("CN", "O", "L", "ST", "C"))


def issue(common_name: str = WWW, label: Optional[str] = None, **columns: str) -> List[str]:
    """The 13 columns of a correct application for issue, P-384; `c7="…"` changes column 7."""
    csr = request(subject(common_name), key(label or common_name))
    row = [dn(common_name), "11", "", "", "", "", body(csr)]
    row += ["電通太郎", "情報基盤センター", "taro@example.ac.jp", common_name, "nginx", ""]
    return _changed(row, columns)


def renew(serial: Any, common_name: str = WWW, label: str = "next", **columns: str) -> List[str]:
    row = issue(common_name, label)
    row[3] = str(serial)
    return _changed(row, columns)


def revoke(serial: Any, common_name: str = WWW, **columns: str) -> List[str]:
    row = [dn(common_name), "", "", str(serial), "4", "", "", "", "", "", "", "", ""]
    return _changed(row, columns)


def acme_create(common_name: str = WWW, **columns: str) -> List[str]:
    row = issue(common_name)
    row[6] = ""
    return _changed(row, columns)


def acme_renew(account: str, common_name: str = WWW, **columns: str) -> List[str]:
    row = acme_create(common_name)
    row[2] = account
    return _changed(row, columns)


def acme_suspend(account: str, common_name: str = WWW, **columns: str) -> List[str]:
    row = [dn(common_name), "", account, "", "4"] + [""] * 8
    return _changed(row, columns)


def acme_revoke(serial: Any, common_name: str = WWW, **columns: str) -> List[str]:
    row = [dn(common_name), "", "", str(serial), "4"] + [""] * 8
    return _changed(row, columns)


def _changed(row: List[str], columns: Dict[str, str]) -> List[str]:
    for name, value in columns.items():
        row[int(name[1:]) - 1] = value
    return row


def tsv(*rows: Sequence[str]) -> bytes:
    """Bytes of a file: Shift_JIS, CRLF."""
    return "".join("\t".join(row) + "\r\n" for row in rows).encode("shift_jis")
