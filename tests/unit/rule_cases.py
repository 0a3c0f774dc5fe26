# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One case or more for every row of the service's rules, as plain functions of the table.

`CASES` are run on the real table (each must give what is expected), and on tables with one broken row (at least one
must then differ), which shows that no row stands there unwatched. Runs on Python 3.6.
"""

import string
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from ansible_collections.campus.upki.plugins.module_utils import (
    _names,
    _subject,
    _tsv,
    _tsv_file,
    _tsv_forms,
    _tsv_record,
)
from ansible_collections.campus.upki.plugins.module_utils._faults import shorten
from ansible_collections.campus.upki.tests.unit import records as make

# probe: what is seen under a table of rules; expected: what the real table must give.
Case = NamedTuple("Case", [("name", str), ("probe", Callable[[Any], Any]), ("expected", Any)])
CASES: List[Case] = []
LINES: List[Tuple[str, str, Dict[str, str]]] = []  # (name, kind, texts) of the cases on lines of a file

ISSUE, RENEW, REVOKE = "server_issue", "server_renew", "server_revoke"
CREATE, ACME_RENEW, SUSPEND, ACME_REVOKE = "acme_create", "acme_renew", "acme_suspend", "acme_revoke"
WWW = make.WWW


def case(name: str, probe: Callable[[Any], Any], expected: Any) -> None:
    """Add a case."""
    CASES.append(Case(name, probe, expected))


def line(name: str, kind: str, expected: List[Any], marks: str = "○△", **columns: str) -> None:
    """A case on a line of a file: the codes of its faults."""
    texts = make.texts(kind, marks, **columns)
    LINES.append((name, kind, texts))
    case(name, lambda rules: make.read_codes(kind, texts, rules), sorted(expected, key=str))


def record(name: str, kind: str, expected: List[Any], confirmed: bool = False, **changes: Any) -> None:
    """A case on a record: the codes of its faults."""
    one = make.record(kind, **changes)
    case(name, lambda rules: make.record_codes(one, rules, confirmed=confirmed), sorted(expected, key=str))


def subject(name: str, expected: List[Any], **parts: str) -> None:
    """A case on the institution's part of the DN."""
    one = dict(make.SUBJECT, **parts)
    case("subject: " + name, lambda rules: make.codes(_subject.check(one, rules)), expected)


def fqdn(name: str, says: str) -> None:
    """A case on a server name: the beginning of what is said, or '' for a good one."""

    def probe(rules: Any) -> str:
        found = _names.check_fqdn(name, "CN", rules)
        return " ".join(row["message"].replace("'{0}' ".format(shorten(name)), "") for row in found)

    case("name {0}".format(name[:70]), lambda rules: probe(rules)[: len(says) or None], says)


def padded(start: str, length: int, fill: str = "x") -> str:
    """A text of this length."""
    return start + fill * (length - len(start))


def _kind_name(kind: str) -> Callable[[Any], Any]:
    return lambda rules: rules["kind_names"][kind]


# --- which column each kind has -----------------------------------------------------------------------------

for _kind in make.KINDS:
    line("{0}: all that it may have".format(_kind), _kind, [])
    line("{0}: only what it needs".format(_kind), _kind, [], "○")
    for _key in make.KEYS:
        _mark = make.mark(_kind, _key)
        if _mark == "○":
            line("{0} without {1}".format(_kind, _key), _kind, [201], **{_key: ""})
        if _mark == "—":
            _value = make.texts({"account_id": ACME_RENEW, "serial": RENEW}.get(_key, ISSUE)).get(_key) or "4"
            line("{0} with {1}".format(_kind, _key), _kind, ["must_be_empty"], **{_key: _value})
    case("{0} in words".format(_kind), _kind_name(_kind), {
        ISSUE: "サーバ証明書 新規発行", RENEW: "サーバ証明書 更新", REVOKE: "サーバ証明書 失効", CREATE: "ACME 作成",
        ACME_RENEW: "ACME 更新", SUSPEND: "ACME 停止", ACME_REVOKE: "ACME 失効",
    }[_kind])  # fmt: skip

# --- length of each column ----------------------------------------------------------------------------------

_AT = "@example.ac.jp"


def _long_dn(length: int) -> str:
    return "CN={0},O=Example,L={1},ST=tokyo,C=JP".format(WWW, "x" * (length - len(WWW) - 30))


def _long_names(length: int) -> str:
    """Four names and the FQDN that make a column of this length."""
    parts = ["a" * 36, "b" * 36, "c" * 36]
    text = ",".join("dNSName=" + part + ".ac.jp" for part in parts) + ",dNSName=" + WWW + ",dNSName="
    return text + padded("", length - len(text) - 6, "d") + ".ac.jp"


line("DN of 250 characters", REVOKE, [], subject=_long_dn(250))
line("DN of 251 characters", REVOKE, [202], subject=_long_dn(251))
line("profile of 2 characters", ISSUE, [], profile="11")
line("profile of 3 characters", ISSUE, [202, "profile"], profile="111")
line("account ID of 128 characters", ACME_RENEW, [], account_id="a" * 128)
line("account ID of 129 characters", ACME_RENEW, [202], account_id="a" * 129)
line("serial of 50 digits", RENEW, [], serial="1" * 50)
line("serial of 51 digits", RENEW, [202], serial="1" * 51)
line("reason of 1 character", REVOKE, [], reason="4")
line("reason of 2 characters", REVOKE, [202], reason="04")
line("comment of 128 characters", REVOKE, [], comment="あ" * 128)
line("comment of 129 characters", REVOKE, [202], comment="あ" * 129)
line("CSR of 2048 characters", ISSUE, ["csr_broken"], csr="MIIB" + "A" * 2044)
line("CSR of 2049 characters", ISSUE, [202, "csr_form"], csr="MIIB" + "A" * 2045)
line("name of 64 characters", ISSUE, [], manager_name="山" * 64)
line("name of 65 characters", ISSUE, [202], manager_name="山" * 65)
line("affiliation of 64 characters", ISSUE, [], manager_affiliation="山" * 64)
line("affiliation of 65 characters", ISSUE, [202], manager_affiliation="山" * 65)
line("mail of 78 characters", ISSUE, [], manager_email=padded("", 78 - len(_AT), "a") + _AT)
line("mail of 79 characters", ISSUE, [202], manager_email=padded("", 79 - len(_AT), "a") + _AT)
line("FQDN of 64 characters", ISSUE, ["fqdn_differs"], fqdn="a." + "b" * 56 + ".ac.jp")
line("FQDN of 65 characters", ISSUE, [202, "fqdn_differs"], fqdn="a." + "b" * 57 + ".ac.jp")
line("software of 128 characters", ISSUE, [], software="a" * 128)
line("software in Japanese", ISSUE, [], software="メール サーバ")
line("software of 129 characters", ISSUE, [202], software="a" * 129)
line("dNSName of 250 characters", ISSUE, [], dns_names=_long_names(250))
line("dNSName of 251 characters", ISSUE, [202], dns_names=_long_names(251))
line(
    "the FQDN counts toward the 250 of dNSName",
    ISSUE,
    [202],
    dns_names=_long_names(250).replace(",dNSName=" + WWW, "").replace(".ac.jp,", "e.ac.jp,", 1),
)

# --- profile, key and CSR -----------------------------------------------------------------------------------

_RSA = {"label": "r", "kind": "rsa2048", "hash_name": "sha256"}
line("profile 3 for RSA", ISSUE, [], profile="3", csr=make.csr_text(**_RSA))
line("profile 11 for RSA", ISSUE, ["profile_differs"], profile="11", csr=make.csr_text(**_RSA))
line("profile 3 for P-384", ISSUE, ["profile_differs"], profile="3")
line("no profile 1", CREATE, ["profile"], profile="1")
line("no profile 2", CREATE, ["profile"], profile="2")
line("profile 3 without a CSR", CREATE, [], profile="3")
line("profile 11 without a CSR", CREATE, [], profile="11")
_CSRS = (make.csr_pem(), make.csr_pem(**_RSA))
case(
    "the profile follows from the key",
    lambda rules: [_tsv_record.build_line(make.record(ISSUE, csr=csr), rules).split("\t")[1] for csr in _CSRS],
    ["11", "3"],
)
line("RSA 3072", ISSUE, ["csr_key"], profile="3", csr=make.csr_text(label="r3", kind="rsa3072", hash_name="sha256"))
line("P-256", ISSUE, ["csr_key"], csr=make.csr_text(label="p", kind="p256", hash_name="sha256"))

# --- reason and comment -------------------------------------------------------------------------------------

for _reason in range(10):
    _expected: List[Any] = {1: ["key_compromise"]}.get(_reason, [] if _reason in (0, 3, 4, 5) else ["reason"])
    record("reason {0}".format(_reason), REVOKE, _expected, reason=_reason)
    record("reason {0}, confirmed".format(_reason), REVOKE, [] if _reason == 1 else _expected, True, reason=_reason)
line("reason 1 in a file stands", REVOKE, [], reason="1")
line("reason in full-width digits", REVOKE, [204], reason="４")
case("words of the reasons", lambda rules: [rules["reasons"].get(one) for one in range(7)], [
    "unspecified", "keyCompromise", None, "affiliationChanged", "superseded", "cessationOfOperation", None,
])  # fmt: skip


def _comment_notes(rules: Any) -> List[str]:
    rows = _tsv.examine_set([make.record(REVOKE, reason=one, comment=None) for one in (0, 3, 4, 5)], rules=rules)[2]
    return ["{0} {1}".format(row["code"], row["record"]) for row in rows]


case("reason 0 expects a comment", _comment_notes, ["comment_expected 1"])
line("comment with a character that Shift_JIS lacks", REVOKE, [205], comment="髙")

# --- subject DN ---------------------------------------------------------------------------------------------

case("order of column 1", lambda rules: _subject.distinguished_name(make.SUBJECT, WWW, rules), make.DN)
case(
    "order of a CSR",
    lambda rules: [field for field, value in _subject.request_fields(make.SUBJECT, WWW, rules)],
    ["C", "ST", "L", "O", "CN"],
)
for _swapped in ("O,CN,L,ST,C", "CN,L,O,ST,C", "CN,O,ST,L,C", "CN,O,L,C,ST", "C,ST,L,O,CN"):
    _values = make.FIELDS
    _text = ",".join("{0}={1}".format(field, _values[field]) for field in _swapped.split(","))
    line("DN in the order " + _swapped, REVOKE, [206], subject=_text)
line("DN with spaces", REVOKE, [], subject=make.DN.replace(",L", ", L").replace("CN=", "cn = "))
line("DN of another country", REVOKE, [206], subject=make.DN.replace("C=JP", "C=US"))
for _kind in (CREATE, ACME_RENEW, SUSPEND, ACME_REVOKE):
    line("{0}: DN with a space".format(_kind), _kind, [206], subject=make.DN.replace(",L", ", L"))
    line("{0}: DN in lower case".format(_kind), _kind, [206], subject=make.DN.replace(",L=", ",l="))
    line("{0}: values of 128".format(_kind), _kind, [], subject=_long_dn(128 + 16))
    line("{0}: values of 129".format(_kind), _kind, [202], subject=_long_dn(129 + 16))
for _kind in (ISSUE, RENEW):  # in these two the CSR has the same subject, with commas and without the spaces
    line("{0}: DN with a space".format(_kind), _kind, [], subject=make.DN.replace(",L", ", L"))
line("values of 129 in a server application", REVOKE, [], subject=_long_dn(129 + 16))
for _kind in make.KINDS:
    for _part in ("L=chofu,", "ST=tokyo,"):
        _tolerated = _kind in (SUSPEND, ACME_REVOKE)
        line(
            "{0} without {1}".format(_kind, _part),
            _kind,
            [] if _tolerated else [206],
            subject=make.DN.replace(_part, ""),
        )
    _missing = {key: value for key, value in make.SUBJECT.items() if key != "state"}
    record(
        "{0} as a record without state".format(_kind),
        _kind,
        [] if _tolerated else [201],
        subject=dict(_missing, common_name=WWW),
    )
    line("{0} without L and ST".format(_kind), _kind, [206], subject=make.DN.replace("L=chofu,ST=tokyo,", ""))
    line(
        "{0} with an old OU".format(_kind),
        _kind,
        [] if _kind == ACME_REVOKE else [371],
        subject=make.DN.replace(",L=", ",OU=Center,L="),
    )
    record("{0} as a record with an OU".format(_kind), _kind, [371], subject=dict(
        make.SUBJECT, common_name=WWW, organizational_unit="Center"))  # fmt: skip
    record("{0} with an e-mail in the DN".format(_kind), _kind, [206], subject=dict(
        make.SUBJECT, common_name=WWW, email="a@example.ac.jp"))  # fmt: skip
    line("{0} with Email in the text".format(_kind), _kind, [206], subject=make.DN + ",Email=a@example.ac.jp")

subject("as registered", [])
subject("O of 64", [], organization="a" * 64)
subject("O of 65", [202], organization="a" * 65)
subject("O with all that is allowed", [], organization="Aa0 '(),-./:=z")
for _bad in '&+_@#"!;é大':
    subject("O with " + _bad, [206], organization="A{0}b".format(_bad))
for _key in ("state", "locality"):
    subject("{0} with all that is allowed".format(_key), [], **{_key: "Aa0 '()-./:z"})
    for _bad in ",=&+_é都":
        subject("{0} with {1}".format(_key, _bad), [206], **{_key: "A{0}b".format(_bad)})
for _one in string.ascii_letters + string.digits + " '(),-./:=":
    subject("O with '{0}'".format(_one), [], organization="A{0}b".format(_one))
for _key in ("organization", "state", "locality"):
    subject("without {0}".format(_key), [201], **{_key: ""})
subject("with OU", [371], organizational_unit="Center")
subject("with e-mail", [206], email="a@example.ac.jp")
subject("of JP", [], country="JP")
subject("of US", [206], country="US")
line("CN missing", REVOKE, [206], subject=make.DN.replace(WWW, ""))

for _order, _wanted in (
    ("C,ST,L,O,CN", []),
    ("CN,O,L,ST,C", []),
    ("C,L,ST,O,CN", ["csr_order"]),
    ("CN,C,ST,L,O", ["csr_order"]),
    ("C,ST,L,CN,O", ["csr_order"]),
    ("C,ST,O,CN", ["csr_order"]),
    ("C,ST,L,O,OU,CN", [371]),
):
    _pem = make.csr_pem(label="o", order=_order, OU="Center")
    record("CSR in the order " + _order, ISSUE, _wanted, csr=_pem)
record("CSR of another country", ISSUE, ["csr_subject"], csr=make.csr_pem(label="o", C="US"))

# --- names --------------------------------------------------------------------------------------------------

fqdn(WWW, "")
fqdn("xn--wgv71a119e.example.ac.jp", "")
fqdn("a-1.example.ac.jp", "")
fqdn("1a.example.ac.jp", "")
fqdn("a." + "b" * 56 + ".ac.jp", "")
fqdn("a." + "b" * 57 + ".ac.jp", "has 65 characters; at most 64")
fqdn("b" * 63 + ".", "begins or ends")
fqdn("b" * 63 + ".j", "has 65 characters; at most 64")
fqdn("-www.example.ac.jp", "begins or ends")
fqdn("www.example.ac.jp-", "begins or ends")
fqdn(".www.example.ac.jp", "begins or ends")
fqdn("www.example.ac.jp.", "begins or ends")
fqdn("WWW.example.ac.jp", "has upper-case letters")
fqdn("a_b.example.ac.jp", "has an underscore")
fqdn("*.example.ac.jp", "is a wildcard")
fqdn("192.0.2.1", "is an IP address")
fqdn("2001:db8::1", "is an IP address")
fqdn("a b.example.ac.jp", "has ' '")
fqdn("a,b.example.ac.jp", "has ','")
fqdn("日本.example.ac.jp", "has characters outside")
fqdn("日.example.ac.jp", "has characters outside")
fqdn("www", "has no domain")
fqdn("www..ac.jp", "has two dots")
fqdn("a-.example.ac.jp", "has a label that begins or ends")
fqdn("192.0.2.999999", "ends with a number")
for _one in string.ascii_lowercase + string.digits + ".-":
    fqdn("a{0}b.example.ac.jp".format(_one), "")


def _label(length: int) -> Callable[[Any], Any]:
    return lambda rules: [row["code"] for row in _names.check_form("a" * length + ".jp", "CN", rules)]


case("label of 63", _label(63), [])
case("label of 64", _label(64), ["name_form"])


def names(name: str, expected: List[Any], *listed: str) -> None:
    """A case on a list of dNSNames beside the FQDN."""
    case("names: " + name, lambda rules: make.codes(_names.check_dns_names(WWW, listed, rules)), expected)


def _many(count: int) -> List[str]:
    return ["n{0}.example.ac.jp".format(number) for number in range(count)]


names("none", [])
names("seven beside the FQDN", [], *_many(7))
names("eight beside the FQDN", ["too_many_names"], *_many(8))
names("eight with the FQDN", [], WWW, *_many(7))
names("nine with the FQDN", ["too_many_names"], WWW, *_many(8))
names("twice", ["name_twice"], "a.example.ac.jp", "a.example.ac.jp")
names("wildcard", ["name_form"], "*.example.ac.jp")
names("address", ["name_form"], "192.0.2.1")
names("upper case", ["name_form"], "A.example.ac.jp")
names("empty", [201], "")
names("too long", [202], "a." + "b" * 57 + ".ac.jp")
case(
    "column 13",
    lambda rules: _names.column_text(["a.ac.jp", "b.ac.jp"], rules),
    "dNSName=a.ac.jp,dNSName=b.ac.jp",
)
for _text, _wanted in (
    ("dNSName=a.example.ac.jp,dNSName=b.example.ac.jp", []),
    ("dNSName=a.example.ac.jp,", ["dns_names_form"]),
    ("a.example.ac.jp", ["dns_names_form"]),
    ("dNSName=a.example.ac.jp dNSName=b.example.ac.jp", ["name_form"]),
    ("dNSName=a.example.ac.jp, dNSName=b.example.ac.jp", ["dns_names_form"]),
    ("dnsname=a.example.ac.jp", ["dns_names_form"]),
    ("DNS:a.example.ac.jp", ["dns_names_form", "name_form"]),
):
    line("column 13: " + _text, ISSUE, _wanted, dns_names=_text)


def _decimal(text: str) -> Callable[[Any], Any]:
    return lambda rules: _tsv_forms.decimal_serial(text, rules)


# --- serial, mail, account ----------------------------------------------------------------------------------

for _text, _wanted in (
    ("0", [204]),
    ("0x0", [204]),
    ("12ab", [204]),
    ("12:ab", [204]),
    ("１２", [204]),
    ("-1", [204]),
    ("1 2", [204]),
    ("0x1F", []),
    ("0X1f", []),
    ("9", []),
):
    line("serial {0} in a file".format(_text), RENEW, _wanted, serial=_text)
for _text, _number in (
    ("1234567890", "1234567890"),
    ("0x1F", "31"),
    ("0Xff", "255"),
    ("1A:2b:03", "1714947"),
    ("serial=1F", "31"),
    (" 12 ", "12"),
    ("007", "7"),
):
    case("serial " + _text, _decimal(_text), (_number, ""))


def _serial_notes(rules: Any) -> List[str]:
    rows = _tsv.read(make.data(make.texts(RENEW, serial="0x1F")), RENEW, rules)["notes"]
    return [row["code"] for row in rows]


case("a hexadecimal serial in a file gives a note", _serial_notes, ["serial_hexadecimal"])

for _one in string.ascii_letters + string.digits + "-_.":
    line("mail with {0}".format(_one), ISSUE, [], manager_email="a{0}b@example.ac.jp".format(_one))
for _one in string.ascii_letters + string.digits + "-.":
    line("mail domain with {0}".format(_one), ISSUE, [], manager_email="a@e{0}x.ac.jp".format(_one))
for _mail in (
    "a+b@example.ac.jp", "a%b@example.ac.jp", "a b@example.ac.jp", "a@b@example.ac.jp", "example.ac.jp",
    "@example.ac.jp",
    "a@", "a@localhost", "a@exa_mple.ac.jp", "a@.ac.jp", "a@ac.jp.", "a@-x.ac.jp", ".a@x.ac.jp", "a.@x.ac.jp",
    "a..b@x.ac.jp", "a@x..jp", "ａ@x.ac.jp", "山@x.ac.jp", "<a@x.ac.jp>", "a@x.ac.jp,b@x.ac.jp", "a!b@x.ac.jp",
    "a'b@x.ac.jp",
):  # fmt: skip
    line("mail " + _mail, ISSUE, [206], manager_email=_mail)
for _one in string.ascii_letters + string.digits + string.punctuation.replace('"', ""):
    line("account ID with {0}".format(_one), ACME_RENEW, [], account_id="a{0}b".format(_one))
line("account ID with a space", ACME_RENEW, ["account_id"], account_id="a b")
line("account ID in full-width", ACME_RENEW, ["account_id"], account_id="ａ")


def _name_codes(name: str) -> Callable[[Any], Any]:
    return lambda rules: make.codes(_tsv_file.name_faults("/x/" + name, rules))


# --- the file -----------------------------------------------------------------------------------------------

case("Shift_JIS and CRLF", lambda rules: _tsv_record.encode(["山\t〜"], rules), b"\x8eR\t\x81`\r\n")


def _unwritable(rules: Any) -> str:
    try:
        return repr(_tsv_record.encode(["髙"], rules))
    except UnicodeEncodeError as error:
        return error.encoding


case("nothing but Shift_JIS can be written", _unwritable, "shift_jis")
_TWO = (make.texts(REVOKE), make.texts(REVOKE, serial="5"))
case("LF is read", lambda rules: len(_tsv.read(make.data(*_TWO, end="\n"), REVOKE, rules)["records"]), 2)
case(
    "the last line end is optional",
    lambda rules: make.codes(_tsv.read(make.data(*_TWO, last=""), REVOKE, rules)["faults"]),
    [],
)
case("tab between columns", lambda rules: _tsv_record.line_of(make.texts(REVOKE), rules), make.line(make.texts(REVOKE)))
case("13 columns", lambda rules: _columns_codes(rules, 13), [])
case("12 columns", lambda rules: _columns_codes(rules, 12), ["columns"])
case("14 columns", lambda rules: _columns_codes(rules, 14), ["columns"])


def _columns_codes(rules: Any, count: int) -> List[Any]:
    cells = (make.line(make.texts(REVOKE)).split("\t") + [""])[:count]
    return make.codes(_tsv.read(make.data("\t".join(cells)), REVOKE, rules)["faults"])


def make_many() -> List[Dict[str, Any]]:
    """A hundred records of one kind and one of another."""
    return [{"kind": REVOKE, "serial": str(number)} for number in range(100)] + [{"kind": ISSUE}]


def _count_codes(count: int) -> Callable[[Any], Any]:
    rows = [make.texts(REVOKE, "○", serial=str(number)) for number in range(1, count + 1)]
    data = make.data(*rows)
    return lambda rules: make.codes(_tsv.read(data, REVOKE, rules)["faults"])


case("99 records in a file", _count_codes(99), [])
case("100 records in a file", _count_codes(100), [214])
case(
    "100 records are split",
    lambda rules: [(kind, len(group)) for kind, group in _tsv.split(make_many(), rules)],
    [(ISSUE, 1), (REVOKE, 99), (REVOKE, 1)],
)


for _name, _wanted in (
    ("a.tsv", []),
    ("a.TSV", []),
    ("a.txt", []),
    ("a.csv", [209]),
    ("tsv", [209]),
    ("a.tsv.bak", [209]),
):
    case(
        "file name " + _name,
        _name_codes(_name),
        _wanted,
    )
