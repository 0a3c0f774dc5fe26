# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options as a whole: a case for each refusal, and all of them in one error."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._rules import item
from ansible_collections.campus.upki.plugins.module_utils._tsv_record import check_record
from ansible_collections.campus.upki.plugins.module_utils._wanted import record_of, wanted_list
from ansible_collections.campus.upki.tests.unit.plugins.module_utils.store_helpers import (
    MANAGER,
    NAME,
    SUBJECT,
    params,
    wanted,
)


def faults(*certificates, **more):
    with pytest.raises(UpkiError) as caught:
        wanted_list(params("/nowhere", *certificates, **more))
    assert caught.value.code == "invalid_request"
    for fault in caught.value.details["faults"]:
        assert fault["message"] in caught.value.message
        assert fault["fix"] in caught.value.message
    return caught.value.details["faults"]


WHERE = [
    ({"subject": dict(SUBJECT, organization="大学")}, "option subject.organization (206)"),
    ({"subject": dict(SUBJECT, state="①")}, "option subject.state (206)"),
    ({"manager": {}}, "option manager.email (201)"),
    ({"manager": dict(MANAGER, name="髙橋")}, "option manager.name (bad_character)"),
]


@pytest.mark.parametrize(("options", "says"), WHERE)
def test_the_text_names_the_option_beside_the_item(options, says):
    with pytest.raises(UpkiError) as caught:
        wanted_list(params("/nowhere", wanted(), **options))
    assert says in caught.value.message


# option values, code, position, part of the item's name
REFUSED = [
    ([wanted("")], {}, 201, 1, "FQDN"),
    ([wanted("WWW.example.ac.jp")], {}, "name_form", 1, "FQDN"),
    ([wanted("a_b.example.ac.jp")], {}, "name_form", 1, "FQDN"),
    ([wanted("*.example.ac.jp")], {}, "name_form", 1, "FQDN"),
    ([wanted("192.0.2.1")], {}, "name_form", 1, "FQDN"),
    ([wanted("../../etc")], {}, "name_form", 1, "FQDN"),
    ([wanted("a" * 60 + ".ac.jp")], {}, 202, 1, "FQDN"),
    ([wanted("../x", state="cancelled")], {}, "name_form", 1, "FQDN"),
    ([wanted(), wanted("b.example.ac.jp"), wanted()], {}, "name_twice", 3, "name"),
    ([wanted(dns_names=["*.example.ac.jp"])], {}, "name_form", 1, "dNSName"),
    ([wanted(dns_names=["a.example.ac.jp", "a.example.ac.jp"])], {}, "name_twice", 1, "dNSName"),
    ([wanted(dns_names=["a{0}.example.ac.jp".format(n) for n in range(8)])], {}, "too_many_names", 1, "dNSName"),
    ([wanted(key_type="rsa4096")], {}, "key_type", 1, "key_type"),
    ([wanted(software=None)], {}, 201, 1, "software"),
    ([wanted(software="x" * 129)], {}, 202, 1, "software"),
    ([wanted(software="①")], {}, "bad_character", 1, "software"),
    ([wanted(manager={"email": "a+b@example.ac.jp"})], {}, 206, 1, "mail"),
    ([wanted(manager={"name": "髙橋"})], {}, "bad_character", 1, "氏名"),
    ([wanted()], {"manager": {}}, 201, None, "mail"),
    ([wanted()], {"manager": dict(MANAGER, affiliation="x" * 65)}, 202, None, "所属"),
    ([wanted(serial="12")], {}, "serial_without_renew", 1, "シリアル"),
    ([wanted(kind="server_issue", serial="12")], {}, "serial_without_renew", 1, "シリアル"),
    ([wanted(kind="server_renew")], {}, 201, 1, "シリアル"),
    ([wanted(kind="server_renew", serial="12 34")], {}, 204, 1, "シリアル"),
    ([wanted(kind="server_renew", serial="0")], {}, 204, 1, "シリアル"),
    ([wanted(current_endpoint="host:port")], {}, "endpoint_invalid", 1, "current_endpoint"),
    ([wanted()], {"subject": dict(SUBJECT, organizational_unit="CS")}, 371, None, "OU"),
    ([wanted()], {"subject": dict(SUBJECT, state=None)}, 201, None, "ST"),
    ([wanted()], {"subject": dict(SUBJECT, locality="")}, 201, None, "L"),
    ([wanted()], {"subject": dict(SUBJECT, organization="大学")}, 206, None, "O"),
    ([wanted()], {"renew_before": "soon"}, "renew_before_invalid", None, "renew_before"),
    ([wanted()], {"key_owner": "no-such-user"}, "user_unknown", None, "key_owner"),
    ([wanted()], {"key_group": "no-such-group"}, "group_unknown", None, "key_group"),
    ([wanted()], {"key_mode": "0644"}, "key_mode", None, "key_mode"),
    ([wanted()], {"lead_time": -1}, "lead_time", None, "lead_time"),
]


@pytest.mark.parametrize("certificates, more, code, position, name", REFUSED)
def test_each_refusal(certificates, more, code, position, name):
    found = faults(*certificates, **more)
    assert [(fault["code"], fault["record"]) for fault in found] == [(code, position)], found
    assert name in found[0]["item"]


def test_all_faults_stand_in_one_error():
    found = faults(
        wanted("A.example.ac.jp"),
        wanted(software=None),
        wanted("b.example.ac.jp", dns_names=["_x.example.ac.jp"]),
        subject={"organization": "Example University", "locality": "Chofu", "organizational_unit": "CS"},
        renew_before="1",
    )
    codes = [(fault["code"], fault["record"]) for fault in found]
    assert codes == [
        ("name_form", 1),
        (201, 2),
        ("name_form", 3),
        (371, None),
        (201, None),
        ("renew_before_invalid", None),
    ]


def test_a_fault_of_the_common_manager_is_told_once():
    found = faults(wanted(), wanted("b.example.ac.jp"), manager=dict(MANAGER, email="nobody"))
    assert [(fault["code"], fault["record"]) for fault in found] == [(206, None)]


def test_a_missing_subject_is_told_in_full():
    assert [fault["code"] for fault in faults(subject=None)] == [201, 201, 201]


def test_cancelling_needs_a_name_only():
    assert wanted_list({"certificates": [{"name": NAME, "state": "cancelled"}]})[0]["state"] == "cancelled"


def test_the_manager_of_a_certificate_replaces_single_values():
    found = wanted_list(params("/nowhere", wanted(manager={"email": "b@example.ac.jp", "name": None})))[0]
    assert found["manager"] == dict(MANAGER, email="b@example.ac.jp")


@pytest.mark.parametrize("text", ["255", "0xff", "0XFF", "00:ff", "00:FF", 255, "serial=FF"])
def test_serials_become_decimal(text):
    found = wanted_list(params("/nowhere", wanted(kind="server_renew", serial=text)))[0]
    assert found["serial"] == "255"


def test_o_may_hold_commas_and_equal_signs():
    subject = dict(SUBJECT, organization="Example, Inst. of Tech. = EIT (Tokyo)")
    assert wanted_list(params("/nowhere", subject=subject))[0]["subject"] == subject


def test_punycode_is_accepted():
    assert wanted_list(params("/nowhere", wanted("xn--wgv71a.example.ac.jp")))


def test_the_record_is_what_tsv_takes():
    found = wanted_list(params("/nowhere", wanted(dns_names=["b.example.ac.jp"])))[0]
    record = record_of(found, "server_renew", "4711", None)
    assert check_record(record, without_csr=True) == []
    assert record["subject"] == dict(SUBJECT, common_name=NAME)
    assert (record["fqdn"], record["dns_names"], record["software"]) == (NAME, ["b.example.ac.jp"], "nginx")
    assert (record["serial"], record["reason"], record["comment"], record["account_id"]) == ("4711", None, None, None)


@pytest.mark.parametrize("key", ["software", "manager_name", "manager_affiliation", "manager_email", "dns_names"])
def test_every_column_of_the_record_that_a_person_gives_is_checked(key):
    """The checks behind the record reach this module's error under the form's own item name."""
    change = {"software": {"software": "髙"}, "dns_names": {"dns_names": ["A.example.ac.jp"]}}
    change = change.get(key) or {"manager": {key[len("manager_") :]: "髙"}}
    assert faults(wanted(**change))[0]["item"] == item(key)
