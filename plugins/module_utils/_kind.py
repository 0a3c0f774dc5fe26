# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""新規発行 or 更新: which kind of application follows from the earlier certificates."""

KIND_TEXT = {"server_issue": "新規発行 (issue)", "server_renew": "更新 (renew)"}

# Which kind of application. The first row whose test holds for an old certificate decides about that certificate.
# Source: NII, UPKI certificate issuing service, which kind to apply for after the abolition of OU on 2022-07-26.
# test: a key of the dict that _old_tests() makes; `subject` of the text is the old certificate.
KIND_ROWS = (
    {
        "code": "issuer_foreign",
        "test": "foreign",
        "kind": "server_issue",
        "text": "the certificate from {source} was issued by '{issuer}', which is not a UPKI CA",
    },
    {
        "code": "name_differs",
        "test": "other_cn",
        "kind": "server_issue",
        "text": "the certificate from {source} has the CN '{cn}', so this name was not issued before",
    },
    {
        "code": "old_has_ou",
        "test": "has_ou",
        "kind": "server_issue",
        "text": "the old certificate (serial {serial}, {source}) carries an OU, and OU was abolished on 2022-07-26",
    },
    {
        "code": "dn_differs",
        "test": "other_dn",
        "kind": "server_issue",
        "text": "the subject DN changes from that of the old certificate (serial {serial}, {source})",
    },
    {
        "code": "old_without_ou",
        "test": "always",
        "kind": "server_renew",
        "text": "a certificate of this name without OU was issued before (serial {serial}, {source})",
    },
)
KIND_GIVEN = "the kind was given by the option 'kind'"


def _old_tests(wanted, old):
    subject = wanted["subject"]
    mine = (("O", "organization"), ("L", "locality"), ("ST", "state"))
    return {
        "foreign": not old["upki"],
        "other_cn": old["cn"].lower() != wanted["name"],
        "has_ou": bool(old["ou"]),
        "other_dn": any(old["subject"].get(short, "") != subject.get(item) for short, item in mine),
        "always": True,
    }


def kind_row(wanted, old):
    """The row of KIND_ROWS that decides about one old certificate."""
    tests = _old_tests(wanted, old)
    return next(row for row in KIND_ROWS if tests[row["test"]])


def kind_of(wanted, olds):
    """(kind, code, reason text, old facts or None).

    olds: facts of every known earlier certificate, newest first. One that allows a renewal wins over newer ones that
    do not, because its DN stands in the CA's books (answer 212).
    """
    if wanted.get("kind"):
        return wanted["kind"], "kind_given", KIND_GIVEN, _by_serial(wanted, olds)
    if not olds:
        return "server_issue", "never_issued", "no earlier certificate of this name is known", None
    rows = [(kind_row(wanted, old), old) for old in olds]
    row, old = next(((row, old) for row, old in rows if row["kind"] == "server_renew"), rows[0])
    return row["kind"], row["code"], row["text"].format(**old), old


def _by_serial(wanted, olds):
    for old in olds:
        if old["serial"] == wanted.get("serial"):
            return old
    return None
