# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the service's TSV files as one table of data, with the source of each row beside it.

Every check takes this table as a parameter, so a test can break one row and show that a case notices.

Sources, as they stood in November 2026:

* format: NII, UPKI certificate issuing service, TSV file format (common rules of all kinds).
* columns: the same texts' tables of items for each kind of application, the most current copy found.
* tool: NII, manual of the TSV making tool, and the answers of the service's upload form.
* subject: NII, rules for the subject DN (OU abolished on 2022-07-26, lower case only since 2024-08-20).
* UEC: one institution's own instructions, "UPKI Server Certificate Issuance Service".
* safe: no text says it; the collection's own choice on the safe side, with the reason beside it.
"""

import types

REQUIRED = "○"
OPTIONAL = "△"
EMPTY = "—"

# Read-only, since every check has it as the default of a parameter.
RULES = types.MappingProxyType(
    {
        # --- the file (source: format; columns for the number of records) ---
        "file": {
            "encoding": "shift_jis",
            "line_end": "\r\n",  # LF is read as well
            "separator": "\t",
            "columns": 13,  # always, unused ones empty
            "records": 99,  # at most, a file
            "extensions": (".tsv", ".txt"),
        },
        # --- the 13 columns (source: columns). max: characters. form: name of the check in _tsv.py ---
        "columns": (
            {
                "key": "subject",
                "item": "主体者DN (subject DN)",
                "max": 250,
                "form": "subject",
                "missing": "Give common_name, organization, locality and state.",
            },
            {
                "key": "profile",
                "item": "証明書プロファイルID (certificate profile ID)",
                "max": 2,
                "form": "profile",
                "missing": "Write 3 for RSA or 11 for ECDSA (P-384).",
            },
            {
                "key": "account_id",
                "item": "ACME account ID",
                "max": 128,
                "form": "account",
                "missing": "Copy the ACME account ID from the mail or screen that named it.",
            },
            {
                "key": "serial",
                "item": "失効対象証明書シリアル番号 (serial of the old certificate)",
                "max": 50,
                "form": "serial",
                "missing": (
                    "Look it up in the old certificate: openssl x509 -noout -serial -in "
                    "old.pem (option serial takes its hexadecimal form with 0x)."
                ),
            },
            {
                "key": "reason",
                "item": "失効理由 (revocation reason)",
                "max": 1,
                "form": "reason",
                "missing": (
                    "Choose 0, 1, 3, 4 or 5; 4 (superseded) after a renewal, 5 "
                    "(cessationOfOperation) for a server that is gone."
                ),
            },
            {
                "key": "comment",
                "item": "失効理由コメント (reason comment)",
                "max": 128,
                "form": "comment",
                "missing": "Write a short reason.",
            },
            {
                "key": "csr",
                "item": "CSR",
                "max": 2048,
                "form": "csr",
                "missing": "Make a key and CSR (campus.upki.request) and give its PEM text.",
            },
            {
                "key": "manager_name",
                "item": "利用管理者氏名 (manager's name)",
                "max": 64,
                "form": "text",
                "missing": "Write the manager's name.",
            },
            {
                "key": "manager_affiliation",
                "item": "利用管理者所属 (manager's affiliation)",
                "max": 64,
                "form": "text",
                "missing": "Write the manager's affiliation.",
            },
            {
                "key": "manager_email",
                "item": "利用管理者mail (manager's e-mail)",
                "max": 78,
                "form": "mail",
                "missing": "Write the address to which the download URL shall be sent.",
            },
            {
                "key": "fqdn",
                "item": "利用管理者FQDN (server's FQDN)",
                "max": 64,
                "form": "fqdn",
                "missing": "Write the server's FQDN, the same as the CN.",
            },
            {
                "key": "software",
                "item": "Webサーバソフトウェア名等 (server software)",
                "max": 128,
                "form": "text",
                "missing": "Name the server software, such as nginx or Apache.",
            },
            {
                "key": "dns_names",
                "item": "dNSName",
                "max": 250,
                "form": "dns_names",
                "missing": "List the server's names.",
            },
        ),
        # --- which column each kind has (source: columns): ○ required, △ optional, — must be empty ---
        "kinds": {
            # ------------------ 1 2 3 4 5 6 7 8 9 10 11 12 13
            "server_issue": "○○————○△△○○○△",
            "server_renew": "○○—○——○△△○○○△",
            "server_revoke": "○——○○△———△———",
            "acme_create": "○○—————△△○○○△",
            "acme_renew": "○○○————△△○○○△",
            "acme_suspend": "△—○—○△———△———",
            "acme_revoke": "○——○○△———△———",
        },
        "kind_names": {
            "server_issue": "サーバ証明書 新規発行",
            "server_renew": "サーバ証明書 更新",
            "server_revoke": "サーバ証明書 失効",
            "acme_create": "ACME 作成",
            "acme_renew": "ACME 更新",
            "acme_suspend": "ACME 停止",
            "acme_revoke": "ACME 失効",
        },
        # --- column 2 (source: columns): the key type that each profile stands for ---
        "profiles": {"3": "rsa2048", "11": "p384"},
        # --- column 5 (source: columns); there is no 2 ---
        "reasons": {
            0: "unspecified",
            1: "keyCompromise",
            3: "affiliationChanged",
            4: "superseded",
            5: "cessationOfOperation",
        },
        "reason_to_confirm": 1,  # safe: chosen by mistake often enough, and nothing takes it back
        "reason_with_comment": 0,  # columns: a comment is then expected
        # --- subject DN (source: subject; columns for the order) ---
        "subject": {
            "order": ("CN", "O", "L", "ST", "C"),  # column 1
            "csr_order": ("C", "ST", "L", "O", "CN"),  # or the exact reverse
            "country": "JP",
            "organization_max": 64,
            "organization": r"[A-Za-z0-9 '(),\-./:=]+",
            # safe: the same characters without comma and '=', so that a DN can be read in one way only
            "place": r"[A-Za-z0-9 '()\-./:]+",
            "acme_values_max": 128,  # columns: ACME, all values together
            "one_place_enough": ("acme_suspend", "acme_revoke"),  # columns: ST or L may be missing
            "old_unit_tolerated": ("acme_revoke",),  # columns: a DN from before 2022-07-26
            "strict": ("acme_create", "acme_renew", "acme_suspend", "acme_revoke"),  # columns: no spaces, upper case
        },
        # --- names (source: subject) ---
        "names": {
            "fqdn_max": 64,
            "characters": r"[a-z0-9.\-]+",  # lower case only since 2024-08-20
            "edge": ".-",  # neither first nor last
            "label_max": 63,  # DNS itself, RFC 1035
            "dns_names": 8,  # columns: with the FQDN
            "prefix": "dNSName=",
            "separator": ",",  # and none after the last
        },
        # --- other columns ---
        "serial": {"decimal": r"[0-9]+", "hexadecimal": r"0[xX][0-9A-Fa-f]+"},  # UEC, tool
        "mail": {"local": r"[A-Za-z0-9_.\-]+", "domain": r"[A-Za-z0-9.\-]+"},  # columns, older rule: - _ @ . only
        "account": r"[!-~]+",  # safe: printable half-width characters without space
    }
)

KINDS = tuple(RULES["kinds"])
KEYS = tuple(column["key"] for column in RULES["columns"])


def column(key, rules=RULES):
    """The row of a column."""
    return rules["columns"][KEYS.index(key)]


def item(key, rules=RULES):
    """The Japanese item name, with English beside it, of a column by its key."""
    return column(key, rules)["item"]
