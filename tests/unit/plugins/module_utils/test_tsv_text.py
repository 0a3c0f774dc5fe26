# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes of a TSV file to columns: what editors and spreadsheets do to it."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _tsv, _tsv_text
from ansible_collections.campus.upki.tests.unit import records as make

GOOD = make.texts("server_renew")


def codes(data, kind="server_renew"):
    return make.codes(_tsv.read(data, kind)["faults"])


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("last", ["", "\r\n", "\n"])
def test_line_ends_that_the_service_reads(end, last):
    second = make.texts("server_renew", subject=make.DN.replace("www", "w2"), fqdn="w2.example.ac.jp",
                        csr=make.csr_text("w2.example.ac.jp", "b"))  # fmt: skip
    found = _tsv.read(make.data(GOOD, second, end=end, last=last), None)
    assert (len(found["records"]), found["faults"], found["encoding"]) == (2, [], "shift_jis")


@pytest.mark.parametrize(
    "encoding, code, reported",
    [
        ("utf-8", "encoding_utf8", "utf-8"),
        ("utf-8-sig", "encoding_utf8_bom", "utf-8-sig"),
        ("utf-16", "encoding_utf16", "utf-16"),
        ("utf-16-le", "encoding_utf16", "utf-16"),
        ("utf-16-be", "encoding_utf16", "utf-16"),
        ("euc_jp", "encoding_euc_jp", "euc_jp"),
        ("iso2022_jp", "encoding_iso2022_jp", "iso2022_jp"),
    ],
)
def test_other_encodings_are_named_and_read(encoding, code, reported):
    found = _tsv.read(make.data(GOOD, encoding=encoding), "server_renew")
    assert (make.codes(found["faults"]), found["encoding"]) == ([code], reported)
    assert found["records"][0]["manager_name"] == "電通太郎"
    assert "Shift_JIS" in found["faults"][0]["message"] + found["faults"][0]["fix"]


@pytest.mark.parametrize("text", ["山田", "齋藤邊渡", "あいうえお", "アイウ", "ソ能表十", "〜−", "髙"])
@pytest.mark.parametrize("encoding", ["cp932", "utf-8"])
def test_short_texts_are_told_apart(text, encoding):
    found = _tsv_text.decode(make.data(dict(GOOD, manager_name=text, manager_affiliation=""), encoding=encoding))
    assert found[1] == {"cp932": "shift_jis", "utf-8": "utf-8"}[encoding]
    assert text in found[0] or encoding == "cp932"  # cp932 and shift_jis read the wave dash differently


def test_half_width_kana_in_shift_jis_is_not_taken_for_euc():
    found = _tsv.read(make.data(dict(GOOD, manager_name="ﾔﾏﾀﾞ")), "server_renew")
    assert (found["encoding"], make.codes(found["faults"])) == ("shift_jis", ["bad_character"])
    assert "ヤマダ" in found["faults"][0]["fix"]


def test_bytes_of_no_encoding_are_named_and_the_rest_is_read():
    data = make.data(GOOD).replace(b"nginx", b"ngin\x81")
    found = _tsv.read(data, "server_renew")
    assert make.codes(found["faults"]) == ["bad_character", "encoding_unknown"]
    assert found["records"][0]["fqdn"] == make.WWW


@pytest.mark.parametrize("data", [b"", b"\r\n", b"  \t\n", b"\xef\xbb\xbf", b"\x1a", b"\xff\xfe"])
def test_empty_file(data):
    assert codes(data) == [213]


def test_cr_alone():
    found = _tsv.read(make.data(GOOD, make.texts("server_renew", serial="7"), end="\r"), "server_renew")
    assert make.codes(found["faults"])[-1] == "line_ends_cr"
    assert len(found["records"]) == 2


def test_cr_inside_a_line():
    assert codes(make.data(GOOD).replace(b"nginx", b"ngi\rnx")) == ["carriage_return"]


def test_blank_lines_are_counted_and_named():
    found = _tsv.read(make.data(GOOD, "", dict(GOOD, software="")), "server_renew")
    assert [(row["code"], row["record"]) for row in found["faults"]] == [("blank_line", 2), (201, 3), ("key_twice", 3)]
    assert [row["record"] for row in found["records"]] == [1, 3]


@pytest.mark.parametrize("header", [
    "主体者DN\t証明書プロファイルID\tACME\t失効対象証明書シリアル番号\t失効理由\tCSR",
    "subject\tprofile\tserial",
    '"主体者DN"\t"CSR"',
])  # fmt: skip
def test_header_row(header):
    found = _tsv.read(make.data(header, GOOD), "server_renew")
    assert [(row["code"], row["record"]) for row in found["faults"]] == [("header_row", 1)]
    assert [row["record"] for row in found["records"]] == [2]


def test_quotes_of_a_spreadsheet():
    found = _tsv.read(make.data(dict(GOOD, subject='"' + make.DN + '"', software='"a ""b"""')), "server_renew")
    (row,) = found["faults"]
    assert (row["code"], row["record"]) == ("quoted", 1)
    assert "column 1, 12" in row["message"]
    assert found["records"][0]["software"] == 'a "b"'


def cells(*changes):
    found = make.line(GOOD).split("\t")
    for change in changes:
        change(found)
    return make.data("\t".join(found))


@pytest.mark.parametrize("change, says", [
    (lambda row: row.pop(), "has 12 columns"),
    (lambda row: row.append(""), "has 14 columns"),
    (lambda row: row.extend(["", "x"]), "has 15 columns"),
    (lambda row: row.pop(2), "Column 6 holds the CSR, which belongs in column 7"),
    (lambda row: row.insert(8, "x"), "Column 11 holds the mail address, which belongs in column 10"),
    (lambda row: row.insert(0, ""), "Column 2 holds the subject DN, which belongs in column 1"),
])  # fmt: skip
def test_wrong_number_of_columns_is_one_fault(change, says):
    found = _tsv.read(cells(change), "server_renew")
    assert make.codes(found["faults"]) == ["columns"]
    assert says in found["faults"][0]["message"]
    assert found["records"][0]["kind"] == "server_renew"


def test_other_faults_of_a_short_line_are_still_told():
    data = cells(lambda row: row.pop(), lambda row: row.__setitem__(3, "zz"))
    assert codes(data) == [204, "columns"]


def test_commas_in_place_of_tabs():
    found = _tsv.read(make.data(make.line(GOOD).replace("\t", ";")), "server_renew")
    assert make.codes(found["faults"]) == ["columns"]
    assert "one tab between columns" in found["faults"][0]["fix"]


OTHERS = [
    ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n" * 2, "a certificate in PEM"),
    ("-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n", "a CSR in PEM"),
    ("-----BEGIN NEW CERTIFICATE REQUEST-----\nMIIB\n", "a CSR in PEM"),
    ("-----BEGIN {0} KEY-----\nc2VjcmV0\n".format("RSA PRIVATE"), "a private key"),
    ("<!doctype html>\n<html><body>login</body></html>\n", "an HTML page"),
    ("CN=a.example.ac.jp,O=X,3,,,,MIIB,a@example.ac.jp\n" * 3, "a table with commas (CSV)"),
    ("PK\x03\x04\x00\x00", "a binary file"),
    ("hello\nworld\n", "no tab"),
]


@pytest.mark.parametrize(("text", "what"), OTHERS, ids=[row[1] for row in OTHERS])
def test_a_file_that_is_no_tsv_is_one_fault(text, what):
    found = _tsv.read(text.encode("utf-8"), None)
    (fault,) = found["faults"]
    assert (fault["code"], fault["record"], fault["value"], found["records"]) == ("columns", None, "", [])
    assert what in fault["message"]


def test_a_line_without_a_tab_among_others_is_told_by_its_number():
    data = make.data(make.line(GOOD)) + b"trailing words\r\n"
    assert [(row["code"], row["record"]) for row in _tsv.read(data, "server_renew")["faults"]] == [("columns", 2)]


@pytest.mark.parametrize("kind", make.KINDS)
def test_kind_is_guessed_from_the_columns(kind):
    guessed = _tsv.read(make.data(make.texts(kind)), None)
    wanted = {"acme_revoke": "server_revoke"}.get(kind, kind)  # the two have the same columns
    assert guessed["kind"] == wanted
    assert ("kind_guessed" in make.codes(guessed["notes"])) == (kind not in ("server_issue", "server_renew"))


def test_one_record_without_its_csr_does_not_change_the_kind_of_the_file():
    rows = [make.texts("server_issue"), make.texts("server_issue", csr="", subject=make.DN.replace("www", "w2"),
                                                   fqdn="w2.example.ac.jp")]  # fmt: skip
    found = _tsv.read(make.data(*rows), None)
    assert (found["kind"], make.codes(found["faults"])) == ("server_issue", [201])


def test_another_kind_in_the_file_is_named():
    found = _tsv.read(make.data(GOOD, make.texts("server_revoke", serial="5")), "server_renew")
    assert [(row["code"], row["record"]) for row in found["faults"]] == [("kind_mixed", 2)]
    assert found["records"][1]["kind"] == "server_revoke"
