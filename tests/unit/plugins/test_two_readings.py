# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two independent readings of the service's rules must agree: the builder of TSV files and the practice CA.

What the builder makes is accepted by the practice CA with the same values, and what is broken is refused by both, with
the same number of the CA where it has one. Faults that have no published number bear words, which may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _practice_register, _tsv, _tsv_record
from ansible_collections.campus.upki.plugins.module_utils import _practice_rules as practice
from ansible_collections.campus.upki.tests.unit import applications as make
from cryptography.hazmat.primitives import serialization

WWW = make.WWW
ISSUED = {
    "name": WWW,
    "kind": "server_issue",
    "subject": {**make.UEC, "CN": WWW},
    "status": "valid",
    "serial": "255",
    "spki_sha256": "",
}


def csr(common_name: str = WWW, kind: str = "p384", **changes: str) -> str:
    request = make.request(
        make.subject(common_name, **changes), make.key(common_name, kind), "sha384" if kind == "p384" else "sha256"
    )
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")


def record(kind: str, **changes: Any) -> dict[str, Any]:
    """A correct record of a kind, as the option O(records) of the module tsv takes it."""
    found: dict[str, Any] = {
        "kind": kind,
        "subject": {"common_name": WWW, "organization": make.UEC["O"], "locality": "chofu", "state": "tokyo"},
    }
    if kind in ("server_issue", "server_renew", "acme_create", "acme_renew"):
        found.update(manager_name="電通太郎", manager_affiliation="情報基盤センター", software="nginx 1.22", fqdn=WWW)
        found.update(manager_email="taro-1_a.b@cc.example.ac.jp", profile="11")
    if kind in ("server_issue", "server_renew"):
        found.update(csr=csr())
    if kind in ("server_renew", "server_revoke", "acme_revoke"):
        found.update(serial="255")
    if kind in ("server_revoke", "acme_suspend", "acme_revoke"):
        found.update(reason=4, comment="鍵を交換したため")
    if kind in ("acme_renew", "acme_suspend"):
        found.update(account_id="account-1")
    return {**found, **changes}


def organization(name: str) -> dict[str, Any]:
    subject = {"common_name": WWW, "organization": name, "locality": "chofu", "state": "tokyo"}
    return {"subject": subject, "csr": csr(O=name)}


CORRECT = [record(kind) for kind in _tsv.KINDS] + [
    record("server_issue", csr=csr(kind="rsa2048"), profile=None),
    record("server_issue", dns_names=["b.example.ac.jp", WWW, "xn--wgv71a.example.ac.jp"]),
    record("server_issue", dns_names=[f"n{number}.example.ac.jp" for number in range(7)]),
    record("server_issue", manager_name="", manager_affiliation=None),
    record("server_issue", software="Apache/2.4 (社内 nginx ＋ ロードバランサ)"),
    record("server_issue", **organization("Univ. of A, B = C: 'D' (E)/F-G")),
    record("server_issue", **organization("x" * 64)),
    record("server_renew", serial="0xFF"),
    record("server_renew", serial="00:FF"),
    record("server_renew", serial=str(2**127 + 1)),
    record("server_revoke", manager_email="taro@example.ac.jp"),
    record("server_revoke", reason=5, comment=None),
]


def practice_faults(data: bytes, kind: str | None, known: bool = True) -> tuple[list[dict[str, Any]], list[Any]]:
    """Records and codes, with what only a register can know."""
    register = _practice_register.Register("unused")
    if known:
        register.certificates.append(dict(ISSUED))
        register.accounts.append({**ISSUED, "account": "account-1", "status": "suspended"})
    _kind, records, faults = practice.read(data, kind=kind)
    faults += _practice_register.check(records, register, {})
    return records, [fault["code"] for fault in faults]


@pytest.mark.parametrize("number", range(len(CORRECT)))
def test_what_the_builder_makes_is_accepted_with_the_same_values(number: int) -> None:
    wanted = CORRECT[number]
    assert _tsv_record.check_record(wanted) == []
    data = _tsv_record.encode([_tsv_record.build_line(wanted)])
    records, codes = practice_faults(data, wanted["kind"], known=wanted["kind"] != "server_issue")
    if wanted.get("serial") in (None, "255", "0xFF", "00:FF"):
        assert codes == []
    else:
        assert codes == ["serial_unknown"]
    (found,) = records
    subject = wanted["subject"]
    assert found["subject"] == {
        "CN": subject["common_name"],
        "O": subject["organization"],
        "L": subject["locality"],
        "ST": subject["state"],
        "C": "JP",
    }
    names = [WWW] + [name for name in wanted.get("dns_names") or [] if name != WWW]
    assert found["names"] == names
    assert found["serial"] in (None, 255, 2**127 + 1)
    for ours, theirs in (("person", "manager_name"), ("mail", "manager_email"), ("software", "software")):
        assert found[ours] == (wanted.get(theirs) or "")
    assert (found["reason"], found["comment"]) == (wanted.get("reason"), wanted.get("comment") or "")


@pytest.mark.parametrize("kind", _tsv.KINDS)
def test_the_kind_follows_from_the_content_alike(kind: str) -> None:
    data = _tsv_record.encode([_tsv_record.build_line(record(kind))])
    ours = practice.read(data)[0]
    theirs = {found["kind"] for found in _tsv.parse(data)[0]}
    assert theirs == {ours}


def test_what_is_handmade_and_correct_is_accepted_by_both() -> None:
    rows = [
        ("server_issue", make.issue()),
        ("server_issue", make.issue(c1=make.dn().replace(",O=", ", O="))),
        ("server_issue", make.issue(c7=make.body(make.request(make.subject(order=("CN", "O", "L", "ST", "C")))))),
        ("server_renew", make.renew("0xFF")),
        ("server_revoke", make.revoke("255")),
        ("acme_suspend", make.acme_suspend("account-1", c1="")),
        ("acme_suspend", make.acme_suspend("account-1", c1=make.dn().replace("ST=tokyo,", ""))),
        ("acme_revoke", make.acme_revoke("1", c1=make.dn().replace(",O=", ",OU=Center,O="))),
    ]
    for kind, row in rows:
        assert practice.read(make.tsv(row), kind=kind)[2] == []
        assert _tsv.parse(make.tsv(row), kind)[1] == []


# --- broken lines that have a number of the CA ------------------------------------------------------------


def many_names(count: int, length: int) -> str:
    return ",".join(f"dNSName=n{number}{'x' * length}.example.ac.jp" for number in range(count))


OU_ORDER = ("C", "ST", "L", "O", "OU", "CN")
NUMBERED: list[tuple[int, str, Callable[[], list[list[str]]]]] = [
    (201, "server_issue", lambda: [make.issue(c1="")]),
    (201, "server_issue", lambda: [make.issue(c2="")]),
    (201, "server_issue", lambda: [make.issue(c7="")]),
    (201, "server_issue", lambda: [make.issue(c10="")]),
    (201, "server_issue", lambda: [make.issue(c11="")]),
    (201, "server_issue", lambda: [make.issue(c12="")]),
    (201, "server_renew", lambda: [make.renew("")]),
    (201, "server_revoke", lambda: [make.revoke("255", c5="")]),
    (201, "acme_renew", lambda: [make.acme_renew("")]),
    (202, "server_issue", lambda: [make.issue(c1=make.dn(O="x" * 65))]),
    (202, "server_issue", lambda: [make.issue(c1=make.dn("x" * 51 + ".example.ac.jp"))]),
    (202, "server_issue", lambda: [make.issue(c8="電" * 65)]),
    (202, "server_issue", lambda: [make.issue(c10="a" * 65 + "@example.ac.jp")]),
    (202, "server_issue", lambda: [make.issue(c12="x" * 129)]),
    (202, "server_issue", lambda: [make.issue(c13=many_names(7, 15))]),
    (202, "server_renew", lambda: [make.renew("1" * 51)]),
    (202, "acme_create", lambda: [make.acme_create(c1=make.dn(O="x" * 64, L="y" * 30, ST="z" * 30))]),
    (204, "server_renew", lambda: [make.renew("FF")]),
    (204, "server_renew", lambda: [make.renew("00:FF")]),
    (204, "server_renew", lambda: [make.renew("１２")]),
    (204, "server_revoke", lambda: [make.revoke("255", c5="x")]),
    (205, "server_revoke", lambda: [make.revoke("255", c6="①")]),
    (206, "server_issue", lambda: [make.issue(c1=make.dn().replace("L=chofu,", ""))]),
    (206, "server_issue", lambda: [make.issue(c1=make.dn().replace("ST=tokyo", "ST="))]),
    (206, "server_issue", lambda: [make.issue(c1=make.dn(C="US"))]),
    (206, "server_issue", lambda: [make.issue(c1=make.dn("WWW.example.ac.jp"))]),
    (206, "server_issue", lambda: [make.issue(c1=make.dn("*.example.ac.jp"))]),
    (206, "server_issue", lambda: [make.issue(c1=make.dn("w_w.example.ac.jp"))]),
    (206, "server_issue", lambda: [make.issue(c1=make.dn() + ",emailAddress=a@example.ac.jp")]),
    (206, "server_issue", lambda: [make.issue(c10="ta+ro@example.ac.jp")]),
    (206, "server_issue", lambda: [make.issue(c10="taro.example.ac.jp")]),
    (206, "acme_create", lambda: [make.acme_create(c1=make.dn().replace(",L=", ", L="))]),
    (206, "acme_create", lambda: [make.acme_create(c1=make.dn().replace("CN=", "cn="))]),
    (212, "server_issue", lambda: [make.issue(), make.issue(label="another key")]),
    (214, "server_revoke", lambda: [make.revoke(str(number)) for number in range(1, 101)]),
    (371, "server_issue", lambda: [make.issue(c1=make.dn(O="U,OU=Center"))]),
    (371, "server_issue", lambda: [make.issue(c7=make.body(make.request(make.subject(order=OU_ORDER, OU="Center"))))]),
    (371, "acme_create", lambda: [make.acme_create(c1=make.dn(O="U,OU=Center"))]),
]


def numbers(codes: Iterable[Any]) -> set[int]:
    return {code for code in codes if isinstance(code, int)}


def cp932(rows: list[list[str]]) -> bytes:
    return "".join("\t".join(row) + "\r\n" for row in rows).encode("cp932")


@pytest.mark.parametrize("index", range(len(NUMBERED)))
def test_both_refuse_with_the_same_number(index: int) -> None:
    code, kind, rows = NUMBERED[index]
    data = cp932(rows())
    ours = numbers(practice_faults(data, kind, known=False)[1])
    theirs = numbers(fault["code"] for fault in _tsv.parse(data, kind)[1])
    assert ours == theirs == {code}


def test_an_empty_file_is_213_for_both() -> None:
    for data in (b"", b"\r\n"):
        assert [fault["code"] for fault in practice.read(data)[2]] == [213]
        assert [fault["code"] for fault in _tsv.parse(data)[1]] == [213]


# --- broken lines without a number ------------------------------------------------------------------------

WORDED: list[tuple[str, Callable[[], list[list[str]]]]] = [
    ("server_issue", lambda: [make.issue(c3="x")]),
    ("server_issue", lambda: [make.issue(c4="1")]),
    ("server_revoke", lambda: [make.revoke("255", c7="AAAA")]),
    ("server_issue", lambda: [make.issue(c2="5")]),
    ("server_issue", lambda: [make.issue(c2="3")]),
    ("server_issue", lambda: [make.issue(c7="AAAA")]),
    ("server_issue", lambda: [make.issue(c7=make.body(make.request(make.subject(ST="Tokyo"))))]),
    ("server_issue", lambda: [make.issue(c7=make.body(make.request(private_key=make.key("w", "p256"))))]),
    ("server_issue", lambda: [make.issue(c7=make.body(make.request(hash_name="sha256")))]),
    ("server_issue", lambda: [make.issue(c7=make.body(make.request(san="b.example.ac.jp")))]),
    ("server_issue", lambda: [make.issue(c8="㈱電通")]),
    ("server_issue", lambda: [make.issue(c8="髙橋")]),
    ("server_issue", lambda: [make.issue(c9="ｾﾝﾀｰ")]),
    ("server_issue", lambda: [make.issue(c11="other.example.ac.jp")]),
    ("server_issue", lambda: [make.issue(c13="b.example.ac.jp")]),
    ("server_issue", lambda: [make.issue(c13="dNSName=b.example.ac.jp,")]),
    ("server_issue", lambda: [make.issue(c13="dNSName=B.example.ac.jp")]),
    ("server_issue", lambda: [make.issue(c13=many_names(8, 0))]),
    ("server_issue", lambda: [make.issue()[:12]]),
    ("server_issue", lambda: [make.issue() + [""]]),
    ("server_issue", lambda: [make.issue(), make.issue("b.example.ac.jp", label=WWW)]),
    ("server_revoke", lambda: [make.revoke("255", c5="2")]),
]


@pytest.mark.parametrize("index", range(len(WORDED)))
def test_both_refuse_without_a_number(index: int) -> None:
    kind, rows = WORDED[index]
    data = cp932(rows())
    ours = practice_faults(data, kind, known=False)[1]
    theirs = [fault["code"] for fault in _tsv.parse(data, kind)[1]]
    assert ours and theirs
    assert numbers(ours) == numbers(theirs) == set()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "euc_jp", "utf-16"])
def test_both_refuse_another_encoding(encoding: str) -> None:
    data = "\t".join(make.issue()).encode(encoding)
    assert practice.read(data)[2]
    assert _tsv.parse(data)[1]


# --- characters -------------------------------------------------------------------------------------------

DOUBTFUL = [*range(0x20, 0x180), *range(0x2010, 0x2040), *range(0x2160, 0x2180), *range(0x2460, 0x2480)]
DOUBTFUL += [*range(0x3000, 0x3100), *range(0x3230, 0x3240), *range(0x4E00, 0x4E40), *range(0xFF00, 0xFFF0)]


def test_the_same_characters_are_safe() -> None:
    """All of the Basic Multilingual Plane was compared once; here the parts where a difference is likely."""
    differing = []
    for character in map(chr, DOUBTFUL):
        name = f"a{character}b"
        theirs = not _tsv_record.check_record(record("acme_create", manager_name=name))
        try:
            row = make.tsv(make.acme_create(c8=name))
            records, faults = practice.read(row, kind="acme_create")[1:]
            ours = not faults and records[0]["person"] == name
        except UnicodeEncodeError:
            ours = False
        if ours != theirs:
            differing.append(character)
    assert differing == []


def test_the_same_bytes_are_safe() -> None:
    """All pairs of bytes were compared once; here one in seven."""
    line = "\t".join(make.acme_create(c8="NAME")).encode("shift_jis")
    pairs = [bytes((first, second)) for first in range(0x81, 0xFD) for second in range(0x40, 0xFD)]
    differing = []
    for pair in pairs[::7]:
        data = line.replace(b"NAME", b"a" + pair + b"b")
        ours, theirs = practice.read(data, kind="acme_create")[2], _tsv.parse(data, "acme_create")[1]
        if bool(ours) != bool(theirs):
            differing.append(pair)
    assert differing == []
