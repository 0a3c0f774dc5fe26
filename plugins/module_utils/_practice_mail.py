# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mail that tells the certificate manager that a certificate waits to be fetched (サーバ証明書発行受付通知メール).

Like the real one it carries a URL that is valid for 30 days, not the certificate; the words are our own. A person reads
it in Japanese, so it is written in Japanese, in ISO-2022-JP as mail systems in Japan do where the text allows.
"""

import datetime
import email.charset
import email.header
import email.message
import email.utils

SENDER = "practice-ca@practice.example"
DAYS = 30
KINDS = {"server_issue": "新規発行", "server_renew": "更新"}
SUBJECT = "【練習】サーバ証明書発行受付通知 {name}"
TEXT = """\
{salutation}

※これは練習用認証局 (campus.upki.practice_ca) からのメールです。本物の証明書ではありません。

申請されたサーバ証明書 ({kind}) の受付が完了し、証明書が発行されました。
次の URL から {until} ({days} 日間) までに取得してください。

  {url}

  FQDN            : {name}
  シリアル番号    : {serial}
                    (0x{serial_hex})
  有効期限        : {not_after}
  サーバソフト    : {software}

練習では上の URL には何もありません。証明書は次のファイルに置かれています。
  {file}
中間 CA 証明書はリポジトリから取得してください。
  {repository}
"""
JAPAN = datetime.timezone(datetime.timedelta(hours=9))


def _charset(text):
    """ISO-2022-JP where it can say everything, else UTF-8."""
    try:
        text.encode("iso-2022-jp")
    except UnicodeEncodeError:
        return "utf-8"
    return "iso-2022-jp"


def salutation(section, person):
    """The first lines: columns 9 and 8 of the application, or a general form where they were left empty."""
    lines = [line for line in (section, person + " 様" if person else "") if line]
    return "\n".join(lines) if lines else "利用管理者 様"


def compose(entry, repository, now):
    """Bytes of the mail for one entry of the register."""
    local = now.astimezone(JAPAN)
    text = TEXT.format(
        salutation=salutation(entry["manager"]["affiliation"], entry["manager"]["name"]),
        kind=KINDS[entry["kind"]],
        url="https://download.practice.example/cert/{0}".format(entry["serial_hex"]),
        until=(local + datetime.timedelta(days=DAYS)).strftime("%Y-%m-%d"),
        days=DAYS,
        name=entry["name"],
        serial=entry["serial"],
        serial_hex=entry["serial_hex"],
        not_after=entry["not_after"],
        software=entry["software"],
        file=entry["serial_hex"] + ".cer",
        repository=repository,
    )
    charset = _charset(text)
    message = email.message.Message()
    message["Subject"] = email.header.Header(SUBJECT.format(name=entry["name"]), charset)
    message["From"] = SENDER
    message["To"] = entry["manager"]["email"]
    message["Date"] = email.utils.format_datetime(local)
    message["Message-ID"] = "<{0}@practice.example>".format(entry["serial_hex"])
    message["MIME-Version"] = "1.0"
    message.set_payload(text, charset)
    return message.as_bytes()


def file_name(entry):
    """Where the mail is put; tells the server's name to a person who looks through the folder."""
    return "mail-{0}-{1}.eml".format(entry["name"], entry["serial_hex"])
