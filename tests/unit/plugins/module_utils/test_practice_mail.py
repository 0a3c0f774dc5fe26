# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later

import datetime
import email
import email.policy

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _practice_mail as mail

NOW = datetime.datetime(2026, 11, 22, 20, 0, tzinfo=datetime.timezone.utc)  # the 23rd in Japan
ENTRY = {
    "name": "www.example.ac.jp",
    "kind": "server_issue",
    "serial": "255",
    "serial_hex": "FF",
    "not_after": "2027-06-08T00:00:00Z",
    "software": "nginx",
    "manager": {"name": "電通太郎", "affiliation": "情報基盤センター", "email": "taro@example.ac.jp"},
}


def composed(**changes):
    entry = dict(ENTRY, **changes)
    return email.message_from_bytes(mail.compose(entry, "repo", NOW), policy=email.policy.default)


def test_what_a_person_reads():
    message = composed()
    text = message.get_content()
    assert message["To"] == "taro@example.ac.jp"
    assert "サーバ証明書発行受付通知" in message["Subject"]
    assert text.startswith("情報基盤センター\n電通太郎 様\n")
    assert "練習" in text
    assert "2026-12-23 (30 日間)" in text
    assert "https://download.practice.example/cert/FF" in text
    assert "新規発行" in text
    assert message.get_content_charset() == "iso-2022-jp"


def test_it_carries_no_certificate_and_no_eight_bit_byte():
    data = mail.compose(ENTRY, "repo", NOW)
    assert b"BEGIN CERTIFICATE" not in data
    assert max(data) < 0x80


def test_a_renewal_says_so():
    assert "更新" in composed(kind="server_renew").get_content()


@pytest.mark.parametrize(
    "name, affiliation, wanted",
    [
        ("", "", "利用管理者 様"),
        ("電通太郎", "", "電通太郎 様"),
        ("", "情報基盤センター", "情報基盤センター"),
        ("電通太郎", "情報基盤センター", "情報基盤センター\n電通太郎 様"),
    ],
)
def test_salutation(name, affiliation, wanted):
    assert mail.salutation(affiliation, name) == wanted


def test_what_iso_2022_jp_cannot_say_is_sent_as_utf_8():
    message = composed(software="Straße")
    assert message.get_content_charset() == "utf-8"
    assert "Straße" in message.get_content()


def test_file_name():
    assert mail.file_name(ENTRY) == "mail-www.example.ac.jp-FF.eml"
