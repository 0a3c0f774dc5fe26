#!/usr/bin/python
# Copyright: (c) 2026, the campus.upki contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: tsv
short_description: Write applications as TSV files for the UPKI certificate service
version_added: 0.1.0
description:
  - Checks applications (発行, 更新, 失効, and the four of ACME) against the rules of the service and writes them as
    TSV files in Shift_JIS, with 13 columns and without quoting, one kind a file and at most 99 records a file.
  - Every fault of every record is reported in one go, as C(CODE:RECORD,ITEM,MESSAGE) with the number that the CA's
    upload form would show where it has one, and with what to do. When there is any fault, nothing is written.
  - A record whose exact line stands already in a C(.tsv) or C(.txt) file of its kind under O(dest), or in the folder
    C(sent) beneath it, is not written again. So running twice gives no second application, and an operator may move a
    file to C(sent) once the IT centre has it.
  - New files are named by day, kind and a number that counts up, such as V(2026-11-22-server_renew-1.tsv). Existing
    files are never changed.
  - Names that resemble a well-known service, an empty manager's name or affiliation, and L or ST that differ between
    records of one organization give a warning (RV(notes)), never an error.
requirements:
  - cryptography >= 3.2 on the host where the module runs
extends_documentation_fragment:
  - campus.upki.attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode a record of kind V(server_issue) or V(server_renew) may lack its CSR, because
        M(campus.upki.request) makes none in check mode. RV(files[].sha256) is then null.
  diff_mode:
    support: full
    details:
      - Shows the new files as decoded text. A TSV file holds no secret.
  idempotent:
    support: full
options:
  records:
    description:
      - The applications. RV(campus.upki.request#module:certificates[].record) and
        RV(campus.upki.tsv_info#module:records) have this form.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description:
          - The kind of application (TSVファイルの種別).
          - V(server_issue) サーバ証明書 新規発行, V(server_renew) 更新, V(server_revoke) 失効, V(acme_create) ACME
            作成, V(acme_renew) ACME 更新, V(acme_suspend) ACME 停止, V(acme_revoke) ACME 失効.
        type: str
        required: true
        choices: [server_issue, server_renew, server_revoke, acme_create, acme_renew, acme_suspend, acme_revoke]
      subject:
        description:
          - The subject DN (主体者DN), column 1. C is always V(JP).
          - Only V(acme_suspend) may leave it out.
        type: dict
        suboptions:
          common_name:
            description: FQDN of the server (CN); lower case, at most 64 characters.
            type: str
          organization:
            description: O as registered; half-width, at most 64 characters. May hold commas.
            type: str
          locality:
            description: L as registered, case included.
            type: str
          state:
            description: ST as registered, case included.
            type: str
          organizational_unit:
            description:
              - Always refused (code 371), because OU was abolished on 2022-07-26. Here so that the error can say so.
            type: str
          email:
            description: Always refused; an e-mail address is not allowed in the DN.
            type: str
      profile:
        description:
          - Certificate profile ID (証明書プロファイルID), column 2; V(3) for RSA, V(11) for ECDSA.
          - Follows from the CSR's key where there is a CSR. V(acme_create) and V(acme_renew) have none and need it.
        type: str
      account_id:
        description: ACME account ID, column 3. For V(acme_renew) and V(acme_suspend).
        type: str
      serial:
        description:
          - Serial number of the old certificate (失効対象証明書シリアル番号), column 4. For V(server_renew),
            V(server_revoke) and V(acme_revoke).
          - Decimal, hexadecimal with C(0x), or pairs with colons as openssl prints them; always written in decimal.
          - Put it in quotes in YAML, where V(12:34:56) without them is a number to the base 60.
        type: str
      reason:
        description:
          - Reason of the revocation (失効理由), column 5. V(0) unspecified, V(1) keyCompromise, V(3)
            affiliationChanged, V(4) superseded, V(5) cessationOfOperation.
          - V(1) needs O(confirm_key_compromise).
        type: int
      comment:
        description:
          - Comment on the reason (失効理由コメント), column 6, at most 128 characters. Expected with reason V(0).
        type: str
      csr:
        description:
          - The CSR as PEM text, column 7. For V(server_issue) and V(server_renew).
          - Its signature, subject, key and extensions are checked against the other items.
        type: str
      manager_name:
        description:
          - Name of the certificate manager (利用管理者氏名), column 8. The service's mails are addressed with it.
        type: str
      manager_affiliation:
        description: Affiliation of the certificate manager (利用管理者所属), column 9.
        type: str
      manager_email:
        description:
          - Address to which the download URL is sent (利用管理者mail), column 10. Half-width.
          - In a revocation or suspension only where the manager has changed.
        type: str
      fqdn:
        description:
          - FQDN of the server (利用管理者FQDN), column 11. The default is the common name, which it must equal.
        type: str
      software:
        description: The server software (Webサーバソフトウェア名等), column 12, such as V(nginx).
        type: str
      dns_names:
        description:
          - Names of the certificate (dNSName), column 13. At most 8, counting the FQDN, which the CA adds where it is
            absent.
        type: list
        elements: str
      record:
        description: Number of the record in the file that M(campus.upki.tsv_info) read. Ignored.
        type: int
  dest:
    description:
      - Folder for the TSV files; created where it is missing.
      - The module locks it while it works, so that two runs do not clash.
    type: path
    required: true
  label:
    description:
      - Letters and digits, at most 32, that stand in the names of new files before the number, as in
        V(2026-11-22-server_issue-job71-1.tsv).
      - With another label for each, files from several folders can be copied into one without a clash. A record that
        stands in the folder already is not written again, whatever the label of its file.
    type: str
    default: ""
  confirm_key_compromise:
    description:
      - Reason V(1) (keyCompromise) is meant. It says that a private key has leaked, and nothing takes it back.
    type: bool
    default: false
  known_keys:
    description:
      - SHA-256 fingerprints (hexadecimal, of the SubjectPublicKeyInfo) of keys that were used before. A CSR with one
        of them is refused, because every issue and every renewal needs a new key.
    type: list
    elements: str
    default: []
seealso:
  - module: campus.upki.request
  - module: campus.upki.tsv_info
  - module: campus.upki.practice_ca
author:
  - The campus.upki contributors (@campus-upki)
"""

EXAMPLES = r"""
- name: Write what the hosts have requested
  campus.upki.tsv:
    records: "{{ request.certificates | map(attribute='record') | select | list }}"
    dest: /srv/upki/outbox
  delegate_to: localhost

- name: Ask for the revocation of a certificate that was replaced
  campus.upki.tsv:
    dest: /srv/upki/outbox
    records:
      - kind: server_revoke
        subject:
          common_name: www.example.ac.jp
          organization: Example University
          locality: Chiyoda-ku
          state: Tokyo
        serial: "4A:3F:01:9C:77:D2:10:55"
        reason: 4
"""

RETURN = r"""
files:
  description: The files in which the records of this call stand, new ones first.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: The file. In check mode the name that a new file would have.
      type: str
      returned: always
      sample: /srv/upki/outbox/2026-11-22-server_renew-1.tsv
    kind:
      description: The kind of application.
      type: str
      returned: always
      sample: server_renew
    records:
      description: How many records of this call stand in it.
      type: int
      returned: always
      sample: 2
    sha256:
      description: SHA-256 of the file, hexadecimal. Null in check mode where a CSR is not made yet.
      type: str
      returned: always
    written:
      description: Whether this call wrote the file (or would have, in check mode).
      type: bool
      returned: always
    sent:
      description: Whether the file lies in the folder C(sent).
      type: bool
      returned: always
faults:
  description: What is wrong with the records.
  returned: when a record has a fault
  type: list
  elements: dict
  contains:
    code:
      description: The CA's number where it has one (201, 202, 204, 205, 206, 212, 371), else a word.
      type: raw
      returned: always
      sample: 202
    record:
      description: Number of the record in O(records), from 1.
      type: int
      returned: always
    item:
      description: The item's Japanese name, with English beside it.
      type: str
      returned: always
      sample: 利用管理者氏名 (manager's name)
    value:
      description: The value, shortened.
      type: str
      returned: always
    message:
      description: What is wrong.
      type: str
      returned: always
    fix:
      description: What to do.
      type: str
      returned: always
notes:
  description: What is no fault but worth knowing; of the same form as RV(faults).
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description:
        - C(phishing_like), C(manager_name_empty), C(manager_affiliation_empty), C(comment_expected),
          C(place_differs), C(applied_before).
      type: str
      returned: always
    record:
      description: Number of the record in O(records), from 1.
      type: int
      returned: always
    item:
      description: The item's Japanese name, with English beside it.
      type: str
      returned: always
    value:
      description: The value, shortened.
      type: str
      returned: always
    message:
      description: What was seen.
      type: str
      returned: always
    fix:
      description: What to do.
      type: str
      returned: always
"""

import datetime

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.campus.upki.plugins.module_utils import _archive

_archive.compile_once()  # before the imports that it is for

from ansible_collections.campus.upki.plugins.module_utils import _outbox, _requirements, _tsv, _tsv_set
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._faults import refusal


def argument_spec():
    """The options; the checks of their content are in the tables."""
    return {
        "records": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "kind": {"type": "str", "required": True, "choices": list(_tsv.KINDS)},
                "subject": {
                    "type": "dict",
                    "options": {
                        "common_name": {"type": "str"},
                        "organization": {"type": "str"},
                        "locality": {"type": "str"},
                        "state": {"type": "str"},
                        "organizational_unit": {"type": "str"},
                        "email": {"type": "str"},
                    },
                },
                "profile": {"type": "str"},
                "account_id": {"type": "str"},
                "serial": {"type": "str"},
                "reason": {"type": "int"},
                "comment": {"type": "str"},
                "csr": {"type": "str"},
                "manager_name": {"type": "str"},
                "manager_affiliation": {"type": "str"},
                "manager_email": {"type": "str"},
                "fqdn": {"type": "str"},
                "software": {"type": "str"},
                "dns_names": {"type": "list", "elements": "str"},
                "record": {"type": "int"},
            },
        },
        "dest": {"type": "path", "required": True},
        "label": {"type": "str", "default": ""},
        "confirm_key_compromise": {"type": "bool", "default": False},
        "known_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    }


def run(params, check_mode, date):
    """The module's result; UpkiError when nothing may be written."""
    rows, faults, notes = _tsv.examine_set(
        params["records"], params["known_keys"], params["confirm_key_compromise"], without_csr=check_mode
    )
    if faults:
        raise refusal(faults, len(params["records"]), "nothing was written")
    lines = [(row.kind, _tsv_set.final_line(row)) for number, row in rows]
    box = _outbox.Outbox(params["dest"], params.get("label") or "")
    if check_mode:
        files, more, diff = _outbox.deliver(lines, box, date, write=False)
    elif lines:
        with box.locked():
            files, more, diff = _outbox.deliver(lines, box, date, write=True)
    else:
        files, more, diff = [], [], []
    changed = any(one["written"] for one in files)
    return {"changed": changed, "files": files, "notes": notes + more, "diff": diff}


def main():
    """Entry point."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    _requirements.check(module)
    try:
        result = run(module.params, module.check_mode, datetime.date.today().isoformat())
    except UpkiError as error:
        module.fail_json(**error.result())
    for text in _tsv_set.warnings(result["notes"]):
        module.warn(text)
    if not module._diff:
        result.pop("diff")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
