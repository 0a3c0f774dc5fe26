# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records to lines, lines to records. The rules of the columns are cases of test_rules.py."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _faults, _tsv, _tsv_record
from ansible_collections.campus.upki.tests.unit import records as make


def comparable(record):
    """What a reader can know of a record: the profile is filled in, the number left out."""
    return {key: value for key, value in record.items() if key not in ("record", "profile")}


@pytest.mark.parametrize("kind", make.KINDS)
def test_a_record_comes_back(kind):
    record = make.record(kind)
    assert _tsv_record.check_record(record) == []
    data = _tsv_record.encode([_tsv_record.build_line(record)])
    assert data.endswith(b"\r\n") and data.count(b"\t") == 12
    (found,), faults = _tsv.parse(data, kind)
    assert faults == []
    assert comparable(found) == comparable(record)
    assert _tsv_record.build_line(found) == _tsv_record.build_line(record)


def test_a_line_is_what_the_service_wants_to_the_byte():
    record = make.record("server_renew", serial="0x1F", dns_names=["a.example.ac.jp"])
    wanted = "{0}\t11\t\t31\t\t\t{1}\t電通太郎\t情報基盤センター\ttaro@example.ac.jp\t{2}\tnginx\t"
    wanted += "dNSName=a.example.ac.jp\r\n"
    assert _tsv_record.encode([_tsv_record.build_line(record)]) == wanted.format(
        make.DN, make.csr_text(), make.WWW
    ).encode("cp932")


@pytest.mark.parametrize("serial", ["31", "0x1F", "0X1f", "1F:", "00:1F", "serial=1F", 31])
def test_serials_are_written_in_decimal(serial):
    serial = "0:1f" if serial == "1F:" else serial
    record = make.record(serial=serial)
    assert _tsv_record.check_record(record) == []
    assert _tsv_record.build_line(record).split("\t")[3] == "31"


@pytest.mark.parametrize("serial", ["1f", "x", "0", "-1", "0x", "1:f0:", "12 34", "１２"])
def test_serials_that_are_none(serial):
    faults = _tsv_record.check_record(make.record(serial=serial))
    assert make.codes(faults) == [204]
    assert faults[0]["fix"]


def test_a_renewal_without_a_serial():
    (row,) = _tsv_record.check_record(make.record(serial=None))
    assert (row["code"], "openssl x509" in row["fix"]) == (201, True)


def test_the_fqdn_is_the_common_name_where_it_is_not_given():
    record = make.record(fqdn=None)
    assert _tsv_record.check_record(record) == []
    assert _tsv_record.build_line(record).split("\t")[10] == make.WWW


def test_another_fqdn_than_the_common_name():
    (row,) = _tsv_record.check_record(make.record(fqdn="w2.example.ac.jp"))
    assert (row["code"], row["message"]) == (
        "fqdn_differs",
        "The FQDN is 'w2.example.ac.jp', but the CN is '{0}'.".format(make.WWW),
    )


@pytest.mark.parametrize("kind", ["server_issue", "server_renew"])
def test_in_check_mode_the_csr_may_be_missing(kind):
    record = make.record(kind, csr=None)
    assert make.codes(_tsv_record.check_record(record)) == [201]
    assert _tsv_record.check_record(record, without_csr=True) == []


def test_in_check_mode_the_other_rules_hold():
    record = make.record(csr=None, software=None, serial=None)
    assert make.codes(_tsv_record.check_record(record, without_csr=True)) == [201, 201]


def test_a_broken_csr_gives_one_fault():
    assert make.record_codes(make.record(csr="AAAA")) == ["csr_broken"]
    assert make.record_codes(make.record(csr="-----BEGIN X-----\nAAAA\n-----END X-----\n")) == ["csr_broken"]


def test_a_profile_that_is_given_must_fit_the_key():
    assert make.record_codes(make.record(profile="11")) == []
    assert make.record_codes(make.record(profile="3")) == ["profile_differs"]


def test_acme_needs_the_profile():
    assert make.record_codes(make.record("acme_create", profile=None)) == [201]


def test_an_unknown_kind():
    assert make.record_codes({"kind": "server_update"}) == ["kind"]
    assert make.record_codes({}) == ["kind"]


def test_an_empty_record_tells_all_that_is_missing():
    assert make.record_codes({"kind": "server_renew"}) == [201] * 6
    assert make.record_codes({"kind": "server_renew", "subject": {"state": "Tokyo"}}) == [201] * 8


@pytest.mark.parametrize("value", ['"x"', '"山田"'])
def test_quotes_around_a_text(value):
    assert make.record_codes(make.record(manager_name=value)) == ["quoted"]
    assert make.record_codes(make.record("server_revoke", comment=value)) == ["quoted"]


@pytest.mark.parametrize("value", ["a\tb", "a\nb", "a\r"])
def test_tabs_and_line_ends_inside_a_text(value):
    assert make.record_codes(make.record(manager_name=value)) == ["bad_character"]
    assert make.record_codes(make.record("server_revoke", comment=value)) == [205]


@pytest.mark.parametrize("key", [key for key in make.KEYS if key not in ("subject", "csr", "reason", "dns_names")])
def test_no_value_can_break_the_line(key):
    """A tab or line end in any column is refused, whatever the column."""
    for kind in make.KINDS:
        if make.mark(kind, key) != "—":
            for value in ("1\t2", "1\n2", "1\r\n2"):
                assert make.record_codes(make.record(kind, **{key: value})) != [], (kind, key, value)


@pytest.mark.parametrize("part", ["common_name", "organization", "locality", "state"])
@pytest.mark.parametrize("value", ["a\tb.jp", "a.jp\n", "a\r\nb.jp"])
def test_no_part_of_the_dn_can_break_the_line(part, value):
    subject = dict(make.SUBJECT, common_name=make.WWW)
    found = make.record_codes(make.record("server_revoke", subject=dict(subject, **{part: value})))
    assert found == [206]
    assert make.record_codes(make.record(dns_names=[value])) == ["name_form"]


def test_the_refused_character_is_named_with_its_place_and_spelling():
    (row,) = _tsv_record.check_record(make.record(manager_name="髙橋①"))
    assert "'髙' (U+9AD9) at position 1, '①' (U+2460) at position 3" in row["message"]
    assert row["fix"] == "Write 髙 → 高, ① → 1."


def test_split_keeps_the_order_and_one_kind_a_file():
    records = [{"kind": "server_revoke", "n": 1}, {"kind": "server_issue", "n": 2}]
    records += [{"kind": "server_renew", "n": number} for number in range(198)]
    groups = _tsv.split(records)
    assert [(kind, len(group)) for kind, group in groups] == [
        ("server_issue", 1),
        ("server_renew", 99),
        ("server_renew", 99),
        ("server_revoke", 1),
    ]
    assert [one["n"] for kind, group in groups if kind == "server_renew" for one in group] == list(range(198))


# --- ten faults, ten lines ----------------------------------------------------------------------------------


def ten_faults():
    """A file with ten records, each with another fault: (bytes, [(code, record, value or None)])."""

    def good(number, **changes):
        name = "w{0}.example.ac.jp".format(number)
        csr = changes.pop("csr", None) or make.csr_text(name, name)
        dn = changes.pop("subject", make.DN.replace(make.WWW, name))
        columns = make.texts("server_renew", subject=dn, fqdn=name, csr=csr, serial=str(100 + number), dns_names="")
        return dict(columns, **changes)

    upper = "CN=W10.example.ac.jp," + make.DN.split(",", 1)[1]
    rows = [
        good(1, software=""),
        good(2, manager_name="山" * 65),
        good(3, serial="4a:3f"),
        good(4, manager_affiliation="髙等教育"),
        good(5, manager_email="taro＠example.ac.jp"),
        good(6, subject=make.DN.replace(make.WWW, "w6.example.ac.jp").replace(",L=", ",OU=Center,L=")),
        good(7, fqdn="other.example.ac.jp"),
        good(8, profile="3"),
        good(9, dns_names="a.example.ac.jp"),
        good(10, subject=upper, fqdn="W10.example.ac.jp", csr=make.csr_text("W10.example.ac.jp", "w10.example.ac.jp")),
    ]
    wanted = [
        (201, "Webサーバソフトウェア名等", "nginx"),
        (202, "利用管理者氏名", "山…' has 65 characters; at most 64"),
        (204, "失効対象証明書シリアル番号", "19007"),
        ("bad_character", "利用管理者所属", "髙 → 高"),
        (206, "利用管理者mail", "taro＠example.ac.jp"),
        (371, "主体者DN", "Center"),
        ("fqdn_differs", "利用管理者FQDN", "other.example.ac.jp"),
        ("profile_differs", "証明書プロファイルID", "Write 11"),
        ("dns_names_form", "dNSName", "dNSName=a.example.ac.jp"),
        (206, "主体者DN", "Write 'w10.example.ac.jp'"),
    ]
    return make.data(*rows), wanted


def test_ten_faults_give_ten_lines():
    data, wanted = ten_faults()
    faults = _tsv.parse(data, "server_renew")[1]
    lines = _faults.report(faults).split("\n")
    assert len(lines) == 10, "\n".join(lines)
    for number, (text, fault, (code, item, says)) in enumerate(zip(lines, faults, wanted), 1):
        assert text.startswith("{0}:{1},{2}".format(code, number, item)), text
        assert says in text
        assert fault["fix"]


@pytest.mark.parametrize("number", ["9" * 10000, "0x" + "f" * 10000, "0" * 10000, "AB:" * 5000 + "AB"])
def test_a_number_of_thousands_of_digits_is_a_fault_and_no_traceback(number):
    line = "CN=a.example.ac.jp,O=b,L=c,ST=d,C=JP\t\t\t{0}\t{1}\t\t\t\t\t\t\t\t"
    for serial, reason, what in ((number, "4", "シリアル"), ("9", number, "失効理由")):
        records, faults = _tsv.parse(line.format(serial, reason).encode("ascii"), "server_revoke")
        assert any(what in row["item"] for row in faults)
        assert len(records) == 1
    assert _tsv_record.check_record({"kind": "server_revoke", "serial": number, "subject": {}, "reason": 4})
