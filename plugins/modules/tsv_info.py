#!/usr/bin/python
# Copyright: (c) 2026, the campus.upki contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: tsv_info
short_description: Read a TSV file for the UPKI certificate service and say all that is wrong with it
version_added: 0.1.0
description:
  - Reads any TSV file of the service, written by M(campus.upki.tsv), by NII's TSV making tool, or by hand, and
    returns its records and every fault, with the number that the CA's upload form would show where it has one, the
    number of the record, the Japanese name of the item, the value, and what to do. It does not stop at the first
    fault.
  - Tells what editors and spreadsheets do to such a file - UTF-8, a byte order mark, UTF-16, EUC-JP, quotes around
    columns, a header row, a lost or an extra column, tabs inside a column, lines that end with CR alone.
  - Faults in the file do not fail the task, unless O(fail_on_faults) is set; a file that cannot be read does.
  - A person can run it on a file - C(ansible localhost -m campus.upki.tsv_info -a path=application.tsv).
requirements:
  - cryptography >= 3.2 on the host where the module runs
extends_documentation_fragment:
  - campus.upki.attributes
attributes:
  check_mode:
    support: full
    details:
      - Changes nothing in either mode.
  diff_mode:
    support: none
    details:
      - Changes nothing.
  idempotent:
    support: full
options:
  path:
    description: The TSV file, on the host where the module runs.
    type: path
    required: true
  kind:
    description:
      - The kind of application (TSVファイルの種別). By default the file's name decides where it holds one of these
        words, else the columns that are filled in.
      - V(server_revoke) and V(acme_revoke) have the same columns; give the kind where it matters.
    type: str
    choices: [server_issue, server_renew, server_revoke, acme_create, acme_renew, acme_suspend, acme_revoke]
  fail_on_faults:
    description: Fail the task when the file has a fault.
    type: bool
    default: false
seealso:
  - module: campus.upki.tsv
  - module: campus.upki.practice_ca
author:
  - The campus.upki contributors (@campus-upki)
"""

EXAMPLES = r"""
- name: Look at a file before it is mailed to the IT centre
  campus.upki.tsv_info:
    path: /srv/upki/outbox/2026-11-22-server_renew-1.tsv
  register: application

- name: Show the names that are applied for
  ansible.builtin.debug:
    msg: "{{ application.records | map(attribute='subject') | map(attribute='common_name') }}"

- name: Stop when a file that somebody edited has a fault
  campus.upki.tsv_info:
    path: /home/sato/application.tsv
    kind: server_issue
    fail_on_faults: true
"""

RETURN = r"""
kind:
  description: The kind as which the file was read.
  returned: always
  type: str
  sample: server_renew
encoding:
  description: The encoding in which the file was read; V(shift_jis) in a correct file.
  returned: always
  type: str
  sample: shift_jis
records:
  description: The decoded records, as M(campus.upki.tsv) takes them in its option O(campus.upki.tsv#module:records).
  returned: always
  type: list
  elements: dict
  contains:
    record:
      description: Number of the record in the file, from 1; a header row and empty lines count.
      type: int
      returned: always
    kind:
      description: The kind of application.
      type: str
      returned: always
    subject:
      description:
        - The subject DN (主体者DN) in its parts C(common_name), C(organization), C(locality), C(state). Null where
          empty.
      type: dict
      returned: always
    profile:
      description: Certificate profile ID (証明書プロファイルID).
      type: str
      returned: always
    account_id:
      description: ACME account ID.
      type: str
      returned: always
    serial:
      description: Serial number of the old certificate (失効対象証明書シリアル番号), in decimal where it can be read.
      type: str
      returned: always
    reason:
      description: Reason of the revocation (失効理由).
      type: int
      returned: always
    comment:
      description: Comment on the reason (失効理由コメント).
      type: str
      returned: always
    csr:
      description: The CSR as PEM text.
      type: str
      returned: always
    manager_name:
      description: Name of the certificate manager (利用管理者氏名).
      type: str
      returned: always
    manager_affiliation:
      description: Affiliation of the certificate manager (利用管理者所属).
      type: str
      returned: always
    manager_email:
      description: Address of the certificate manager (利用管理者mail).
      type: str
      returned: always
    fqdn:
      description: FQDN of the server (利用管理者FQDN).
      type: str
      returned: always
    software:
      description: The server software (Webサーバソフトウェア名等).
      type: str
      returned: always
    dns_names:
      description: Names of the certificate (dNSName).
      type: list
      elements: str
      returned: always
faults:
  description: What is wrong with the file, in the order of the records.
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description: The CA's number where it has one (201, 202, 204, 205, 206, 209, 212, 213, 214, 371), else a word.
      type: raw
      returned: always
      sample: 202
    record:
      description: Number of the record in the file, from 1; null where the fault is the whole file's.
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
report:
  description: The faults as text, one a line, in the form C(CODE:RECORD,ITEM,MESSAGE) and what to do.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.campus.upki.plugins.module_utils import _archive

_archive.compile_once()  # before the imports that it is for

from ansible_collections.campus.upki.plugins.module_utils import _outbox, _requirements, _tsv, _tsv_file, _tsv_set
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._faults import line, refusal


def run(params):
    """The module's result; UpkiError when the file cannot be read, or has faults that shall fail the task."""
    path = params["path"]
    data, faults = _tsv_file.load(path)
    found = _tsv.read(data, params["kind"] or _outbox.kind_of_name(path))
    faults = faults + found["faults"]
    if faults and params["fail_on_faults"]:
        raise refusal(faults, len(found["records"]), path)
    return {
        "changed": False,
        "kind": found["kind"],
        "encoding": found["encoding"],
        "records": found["records"],
        "faults": faults,
        "notes": found["notes"],
        "report": [line(fault) for fault in faults],
    }


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "kind": {"type": "str", "choices": list(_tsv.KINDS)},
            "fail_on_faults": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    _requirements.check(module)
    try:
        result = run(module.params)
    except UpkiError as error:
        module.fail_json(**error.result())
    for text in _tsv_set.warnings(result["notes"]):
        module.warn(text)
    if result["faults"]:
        result["msg"] = "{0} has faults:\n{1}".format(module.params["path"], "\n".join(result["report"]))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
