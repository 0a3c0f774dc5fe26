# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every refusal of the practice CA's upload that needs no register."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _practice_rules as rules
from ansible_collections.campus.upki.tests.unit import applications as make

WWW = make.WWW


def codes(data, kind=None, name=""):
    return [(row["code"], row["record"], row["item"].split(" (")[0]) for row in rules.read(data, name, kind)[2]]


def names(count, start=1):
    return ",".join("dNSName=n{0}.example.ac.jp".format(number) for number in range(start, start + count))


# --- what is accepted -------------------------------------------------------------------------------------


def test_a_correct_application_gives_its_values():
    row = make.issue(c13="dNSName=b.example.ac.jp,dNSName=a.example.ac.jp")
    kind, records, faults = rules.read(make.tsv(row))
    assert (kind, faults) == ("server_issue", [])
    (record,) = records
    assert record["subject"] == dict(make.UEC, CN=WWW)
    assert record["names"] == [WWW, "b.example.ac.jp", "a.example.ac.jp"]
    assert (record["person"], record["section"]) == ("電通太郎", "情報基盤センター")
    assert (record["mail"], record["software"]) == ("taro@example.ac.jp", "nginx")


def test_rsa_needs_profile_3_and_sha256():
    csr = make.request(private_key=make.key("r", "rsa2048"), hash_name="sha256")
    assert codes(make.tsv(make.issue(c2="3", c7=make.body(csr)))) == []


def test_csr_in_reverse_order_is_accepted():
    csr = make.request(make.subject(order=("CN", "O", "L", "ST", "C")))
    assert codes(make.tsv(make.issue(c7=make.body(csr)))) == []


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_last_newline_is_optional(end):
    assert codes(make.tsv(make.issue()).rstrip(b"\r\n") + end) == []


def test_bytes_that_two_tables_read_differently_are_those_of_the_standard():
    """0x8160 is 〜 in Shift_JIS and ～ in Microsoft's table; the byte pair is the same application."""
    (record,) = rules.read(cp932(make.issue(c9="A～B")))[1]
    assert record["section"] == "A〜B"
    assert codes(cp932(make.issue(c9="A～B"))) == []
    (fault,) = rules.read(cp932(make.issue(c9="A～①")))[2]
    assert "①" in fault["message"]
    assert "〜" not in fault["message"]


def test_lf_alone_is_accepted():
    assert codes(make.tsv(make.issue(), make.issue("b.example.ac.jp")).replace(b"\r\n", b"\n")) == []


def test_commas_and_equals_signs_in_the_organization():
    organization = "Institute A, B = C (Tokyo), L"
    csr = make.request(make.subject(O=organization))
    row = make.issue(c1=make.dn(O=organization), c7=make.body(csr))
    assert codes(make.tsv(row)) == []
    assert rules.read(make.tsv(row))[1][0]["subject"]["O"] == organization


@pytest.mark.parametrize("text, number", [("255", 255), ("0xff", 255), ("0XFF", 255), ("1" * 39, int("1" * 39))])
def test_serials_decimal_and_hexadecimal(text, number):
    kind, records, faults = rules.read(make.tsv(make.renew(text)))
    assert (kind, records[0]["serial"], faults) == ("server_renew", number, [])


def test_the_fqdn_stands_first_and_once():
    row = make.issue(c13="dNSName=b.example.ac.jp,dNSName={0}".format(WWW))
    assert rules.read(make.tsv(row))[1][0]["names"] == [WWW, "b.example.ac.jp"]


def test_eight_names_with_the_fqdn():
    assert codes(make.tsv(make.issue(c13=names(7)))) == []
    assert codes(make.tsv(make.issue(c13="dNSName={0},".format(WWW) + names(7)))) == []


@pytest.mark.parametrize("kind", rules.KINDS)
def test_a_correct_line_of_each_kind(kind):
    rows = {
        "server_issue": make.issue(),
        "server_renew": make.renew(1),
        "server_revoke": make.revoke(1),
        "acme_create": make.acme_create(),
        "acme_renew": make.acme_renew("account"),
        "acme_suspend": make.acme_suspend("account"),
        "acme_revoke": make.acme_revoke(1),
    }
    assert codes(make.tsv(rows[kind]), kind) == []
    wanted = "server_revoke" if kind == "acme_revoke" else kind  # these two look alike; the file's name tells
    assert rules.read(make.tsv(rows[kind]))[0] == wanted
    assert rules.read(make.tsv(rows[kind]), "2026-11-22-{0}-1.tsv".format(kind))[0] == kind


# --- one broken column at a time --------------------------------------------------------------------------

ORGANIZATION = "University of " + "x" * 51
BROKEN = [
    # required and forbidden columns
    ({"c1": ""}, 201, "主体者DN"),
    ({"c2": ""}, 201, "証明書プロファイルID"),
    ({"c7": ""}, 201, "CSR"),
    ({"c10": ""}, 201, "利用管理者mail"),
    ({"c11": ""}, 201, "利用管理者FQDN"),
    ({"c12": ""}, 201, "Webサーバソフトウェア名等"),
    ({"c12": "  "}, 201, "Webサーバソフトウェア名等"),
    ({"c3": "x"}, "not_empty", "ACME account ID"),
    ({"c4": "1"}, "not_empty", "失効対象証明書シリアル番号"),
    ({"c5": "4"}, "not_empty", "失効理由"),
    ({"c6": "x"}, "not_empty", "失効理由コメント"),
    # lengths
    ({"c1": make.dn(O="x" * 200)}, 202, "主体者DN"),
    ({"c1": make.dn(O="x" * 65)}, 202, "主体者DN"),
    ({"c7": "A" * 2049}, 202, "CSR"),
    ({"c8": "電" * 65}, 202, "利用管理者氏名"),
    ({"c9": "電" * 65}, 202, "利用管理者所属"),
    ({"c10": "a" * 70 + "@example.ac.jp"}, 202, "利用管理者mail"),
    ({"c12": "x" * 129}, 202, "Webサーバソフトウェア名等"),
    # the DN's form
    ({"c1": "CN=" + WWW}, 206, "主体者DN"),
    ({"c1": make.dn().replace("L=chofu,", "")}, 206, "主体者DN"),
    ({"c1": make.dn().replace("ST=tokyo,", "")}, 206, "主体者DN"),
    ({"c1": make.dn(ST="")}, 206, "主体者DN"),
    ({"c1": "C=JP,ST=tokyo,L=chofu,O=U,CN=" + WWW}, 206, "主体者DN"),
    ({"c1": make.dn(C="US")}, 206, "主体者DN"),
    ({"c1": make.dn(O="Univ. & Co")}, 206, "主体者DN"),
    ({"c1": make.dn(O="電気通信大学")}, 206, "主体者DN"),
    ({"c1": make.dn(L="chofu_shi")}, 206, "主体者DN"),
    ({"c1": make.dn() + ",emailAddress=a@example.ac.jp"}, 206, "主体者DN"),
    ({"c1": make.dn(O="U,OU=Center")}, 371, "主体者DN"),
    ({"c1": make.dn(O="U,ou = Center")}, 371, "主体者DN"),
    # profile, mail, names
    ({"c2": "３"}, 204, "証明書プロファイルID"),
    ({"c2": "x"}, 204, "証明書プロファイルID"),
    ({"c2": "5"}, "profile", "証明書プロファイルID"),
    ({"c2": "3"}, "profile", "証明書プロファイルID"),
    ({"c10": "taro.example.ac.jp"}, 206, "利用管理者mail"),
    ({"c10": "ta+ro@example.ac.jp"}, 206, "利用管理者mail"),
    ({"c10": "taro@host"}, 206, "利用管理者mail"),
    ({"c10": "ｔａｒｏ@example.ac.jp"}, 206, "利用管理者mail"),
    ({"c11": "other.example.ac.jp"}, "fqdn", "利用管理者FQDN"),
    ({"c13": "b.example.ac.jp"}, "dns_name", "dNSName"),
    ({"c13": "dNSName=b.example.ac.jp,"}, "dns_name", "dNSName"),
    ({"c13": "dNSName=b.example.ac.jp, dNSName=c.example.ac.jp"}, "dns_name", "dNSName"),
    ({"c13": "dNSName=B.example.ac.jp"}, "dns_name", "dNSName"),
    ({"c13": "dNSName=*.example.ac.jp"}, "dns_name", "dNSName"),
    ({"c13": names(8)}, "dns_names", "dNSName"),
    ({"c13": "dNSName=" + "x" * 60 + ".example.ac.jp"}, 202, "dNSName"),
    ({"c13": ",".join("dNSName=" + c * 40 + ".ac.jp" for c in "abcd") + ",dNSName=eeeee.jp"}, 202, "dNSName"),
    # the CSR
    ({"c7": "not base64!"}, "csr", "CSR"),
    ({"c7": "AAAA"}, "csr", "CSR"),
    # characters
    ({"c8": "㈱電通"}, "character", "利用管理者氏名"),
    ({"c8": "髙橋"}, "character", "利用管理者氏名"),
    ({"c8": "①"}, "character", "利用管理者氏名"),
    ({"c9": "ｾﾝﾀｰ"}, "character", "利用管理者所属"),
    ({"c12": "nginx\x01"}, "character", "Webサーバソフトウェア名等"),
]


def cp932(*rows):
    """As an editor on a Japanese PC saves it, with the characters that Shift_JIS does not have."""
    return "".join("\t".join(row) + "\r\n" for row in rows).encode("cp932")


@pytest.mark.parametrize("change, code, item", BROKEN, ids=[str(number) for number in range(len(BROKEN))])
def test_refused(change, code, item):
    found = codes(cp932(make.issue("a.example.ac.jp"), make.issue(**change)), "server_issue")
    assert (code, 2, item) in found
    assert all(record == 2 for dummy, record, dummy_item in found)


@pytest.mark.parametrize(
    "name",
    [
        "WWW.example.ac.jp",
        "w_w.example.ac.jp",
        "*.example.ac.jp",
        "-w.example.ac.jp",
        ".example.ac.jp",
        "example.ac.jp.",
        "a..example.ac.jp",
        "192.0.2.1",
        "localhost",
        "ｗ.example.ac.jp",
    ],
)
def test_names_that_are_no_lower_case_fqdn(name):
    row = make.issue(c1=make.dn(name), c11=name)
    assert {(206, 1, "主体者DN"), (206, 1, "利用管理者FQDN")} <= set(codes(make.tsv(row), "server_issue"))


def test_a_name_of_65_characters():
    name = "x" * 50 + ".example.ac.jp1"
    assert (202, 1, "主体者DN") in codes(make.tsv(make.issue(c1=make.dn(name))), "server_issue")
    assert (202, 1, "利用管理者FQDN") in codes(make.tsv(make.issue(c11=name)), "server_issue")


@pytest.mark.parametrize(
    "csr, code",
    [
        (lambda: make.request(make.subject(OU="Center", order=("C", "ST", "L", "O", "OU", "CN"))), 371),
        (lambda: make.request(make.subject(ST="Tokyo")), "csr_subject"),
        (lambda: make.request(make.subject("other.example.ac.jp")), "csr_subject"),
        (lambda: make.request(make.subject(order=("ST", "C", "L", "O", "CN"))), "csr_subject"),
        (lambda: make.request(make.subject(L=None)), "csr_subject"),
        (lambda: make.request(private_key=make.key("w", "p256")), "key"),
        (lambda: make.request(private_key=make.key("r", "rsa1024"), hash_name="sha256"), "key"),
        (lambda: make.request(private_key=make.key("r", "rsa3072"), hash_name="sha256"), "key"),
        (lambda: make.request(hash_name="sha256"), "csr_hash"),
        (lambda: make.request(san="b.example.ac.jp"), "csr_extensions"),
    ],
    ids=["ou", "st", "cn", "order", "without l", "p256", "rsa1024", "rsa3072", "hash", "extensions"],
)
def test_csr_that_does_not_fit(csr, code):
    found = codes(make.tsv(make.issue(c7=make.body(csr()))), "server_issue")
    assert [row for row in found if row[0] == code and row[2] == "CSR"]


def test_a_csr_whose_signature_does_not_hold():
    data = make.request().public_bytes(make.serialization.Encoding.DER).replace(b"chofu", b"chofa")
    row = make.issue(c7=make.base64.b64encode(data).decode("ascii"))
    (fault,) = rules.read(make.tsv(row))[2]
    assert fault["code"] == "csr"
    assert "signature" in fault["message"]


# --- renewal, revocation, ACME ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row, kind, code",
    [
        (make.renew(""), "server_renew", 201),
        (make.renew("ff"), "server_renew", 204),
        (make.renew("0x"), "server_renew", 204),
        (make.renew("0A:1B"), "server_renew", 204),
        (make.renew("１２"), "server_renew", 204),
        (make.renew("1" * 51), "server_renew", 202),
        (make.revoke(1, c5=""), "server_revoke", 201),
        (make.revoke(1, c5="x"), "server_revoke", 204),
        (make.revoke(1, c5="2"), "server_revoke", "reason"),
        (make.revoke(1, c5="6"), "server_revoke", "reason"),
        (make.revoke(1, c5="44"), "server_revoke", 202),
        (make.revoke(1, c6="x" * 129), "server_revoke", 202),
        (make.revoke(1, c6="①"), "server_revoke", 205),
        (make.revoke(1, c7="AAAA"), "server_revoke", "not_empty"),
        (make.acme_create(c1=make.dn().replace(",O=", ", O=")), "acme_create", 206),
        (make.acme_create(c1=make.dn().replace(",L=", ", L=")), "acme_create", 206),
        (make.acme_create(c1=make.dn().replace("CN=", "cn=")), "acme_create", 206),
        (make.acme_create(c1=make.dn(O="x" * 64, L="y" * 30, ST="z" * 30)), "acme_create", 202),
        (make.acme_create(c1=make.dn(O="U,OU=C")), "acme_create", 371),
        (make.acme_create(c7="AAAA"), "acme_create", "not_empty"),
        (make.acme_renew(""), "acme_renew", 201),
        (make.acme_renew("x" * 129), "acme_renew", 202),
        (make.acme_suspend("account", c5=""), "acme_suspend", 201),
        (make.acme_suspend("account", c1="CN={0},O=U,C=JP".format(WWW)), "acme_suspend", 206),
    ],
)
def test_refused_in_other_kinds(row, kind, code):
    found = codes(cp932(row), kind)
    assert code in [row[0] for row in found]


def test_server_kinds_tolerate_spaces_and_lower_case_attribute_names():
    loose = make.dn().replace(",O=", ", o = ")
    assert codes(make.tsv(make.issue(c1=loose))) == []


def test_acme_suspend_needs_no_dn_and_tolerates_one_without_locality():
    assert codes(make.tsv(make.acme_suspend("account", c1="")), "acme_suspend") == []
    assert codes(make.tsv(make.acme_suspend("account", c1=make.dn().replace("L=chofu,", ""))), "acme_suspend") == []


def test_acme_revoke_tolerates_an_old_ou():
    row = make.acme_revoke(1, c1=make.dn().replace(",O=", ",OU=Center,O="))
    assert codes(make.tsv(row), "acme_revoke") == []


# --- the file as a whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\n\n"])
def test_an_empty_file(data):
    assert codes(data) == [(213, None, "ファイル")]


def test_99_records_and_one_more():
    row = make.issue()
    assert codes(make.tsv(*[row] * 99)) == []
    assert (214, None, "ファイル") in codes(make.tsv(*[row] * 100))


@pytest.mark.parametrize("count", [12, 14])
def test_not_13_columns(count):
    row = (make.issue() + [""])[:count]
    assert codes(make.tsv(row)) == [("columns", 1, "列数")]


def test_an_empty_line_between():
    data = make.tsv(make.issue()) + b"\r\n" + make.tsv(make.issue("b.example.ac.jp"))
    assert codes(data) == [("columns", 2, "列数")]


def test_utf_8_is_named():
    data = "\t".join(make.issue()).encode("utf-8")
    (fault,) = rules.read(data)[2]
    assert fault["code"] == "encoding_utf8"
    assert "UTF-8" in fault["message"]


def test_a_byte_order_mark():
    assert codes(b"\xef\xbb\xbf" + "\t".join(make.issue(c8="", c9="")).encode("ascii")) == [
        ("encoding_utf8", 1, "文字コード")
    ]


def test_bytes_that_are_no_shift_jis():
    row = make.tsv(make.issue(c8="NAME")).replace(b"NAME", b"\x81")  # a first byte without its second
    assert codes(row) == [("encoding_unknown", 1, "文字コード")]


def test_quoted_columns_are_no_dn():
    row = ['"{0}"'.format(column) for column in make.issue()]
    assert (206, 1, "主体者DN") in codes(make.tsv(row), "server_issue")


def test_every_fault_of_a_record_is_reported():
    found = codes(make.tsv(make.issue(c1=make.dn(O="U,OU=C"), c10="x", c12="")), "server_issue")
    assert [row[0] for row in found] == [371, 206, 201]


def test_the_answer_has_the_form_of_the_real_upload():
    (fault,) = rules.read(make.tsv(make.issue(c12="")), kind="server_issue")[2]
    assert rules.answer(fault) == "201:1,Webサーバソフトウェア名等,is required for server_issue"
    (fault,) = rules.read(b"")[2]
    assert rules.answer(fault) == "213:,ファイル,the file is empty"


def test_long_values_are_shortened_in_the_fault():
    (fault,) = rules.read(make.tsv(make.issue(c12="x" * 129)))[2]
    assert len(fault["value"]) == rules.SHOWN + 1
