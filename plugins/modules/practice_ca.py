#!/usr/bin/python
# Copyright: (c) 2026, the campus.upki contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CA for practice: checks TSV applications like the real upload and issues certificates of the same shape."""

DOCUMENTATION = r"""
module: practice_ca
short_description: Rehearse with a certification authority that refuses and issues like the real one
version_added: 0.1.0
author:
  - The campus.upki contributors (@campus-upki)
description:
  - Makes a certification authority for practice, checks TSV applications with the rules of the UPKI certificate
    issuing service (UPKI電子証明書発行サービス), answers with the same codes, and issues certificates whose chain
    has the shape of the real one.
  - Nobody can test against the real CA. With this module a person rehearses a first application, a renewal or a
    refusal before the real one, and a playbook is tested from end to end.
  - Nothing that it makes is trusted by anybody. The names of all its CAs say C(Practice) and its addresses lie in the
    reserved domain C(example).
  - It usually runs on the controller, with C(delegate_to=localhost) and C(run_once=true).
extends_documentation_fragment:
  - campus.upki.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description:
      - Folder of the CA, made with rights C(0700) where it does not exist.
      - Holds C(roots/), C(repository/) (the intermediates and cross certificates), C(private/) (the CA's keys) and
        C(register.json) (what was issued and which files were accepted).
      - Remove the folder to begin with a new CA.
    type: path
    required: true
  outbox:
    description:
      - TSV files, or folders with TSV files, to hand in. Of a folder the files that end in C(.tsv) are taken, and those
        that end in C(.txt) and contain a tab; its sub-folders are not.
      - A file is accepted whole or refused whole. An accepted file is known by its SHA-256 and never taken a second
        time, whatever its name; a refused one is checked again at each run.
    type: list
    elements: path
    default: []
  inbox:
    description:
      - Folder that gets each issued certificate as C(<serial in hexadecimal>.cer), the leaf alone in PEM, as the real
        download is.
      - The default is the folder C(inbox) in O(path).
    type: path
  mailbox:
    description:
      - Folder that gets the mail to the certificate manager (利用管理者) for each issued certificate, as an C(.eml)
        file.
      - The default is the folder C(mail) in O(path).
    type: path
  kind:
    description:
      - The kind of application in all files of O(outbox).
      - When omitted, it follows from the file's name where that contains one of these words, else from the content.
    type: str
    choices: [server_issue, server_renew, server_revoke, acme_create, acme_renew, acme_suspend, acme_revoke]
  generation:
    description:
      - The intermediate that signs, C(g8) as today or C(g7) as before 2025-12-17.
      - V(g8) lies below a root of 2024 that older systems know only through a cross certificate. V(g7) lies directly
        below the old root and allows TLS client authentication too.
    type: str
    choices: [g7, g8]
    default: g8
  lifetime:
    description: Days for which a certificate is valid.
    type: int
    default: 198
  backdate:
    description:
      - Days by which the start of validity lies in the past, to rehearse with a certificate that is due for renewal, or
        has expired.
    type: int
    default: 0
  institution:
    description:
      - What is registered for the institution (機関). Applications that differ are refused; case matters.
      - What is omitted is not compared.
    type: dict
    suboptions:
      organization:
        description: O of the subject.
        type: str
      state:
        description: ST of the subject.
        type: str
      locality:
        description: L of the subject.
        type: str
  known_certificates:
    description:
      - Files with certificates (PEM or DER) that the CA shall know as issued, to rehearse the renewal of a real one.
      - An application for renewal may then name their serial, an application for issue of the same DN without OU is
        refused, and their keys count as used.
    type: list
    elements: path
    default: []
  fail_on_refusal:
    description:
      - Whether the module fails when a file was refused. It fails at the end, when the other files are done.
    type: bool
    default: true
notes:
  - The CA's own RSA keys have 2048 bit where some of the real ones have 4096, so that it is made in a second or two.
  - Without certificate transparency, status service and revocation list; the addresses in the certificates lead
    nowhere.
  - Downloading by a person is left out; the certificate lies in O(inbox) at once.
requirements:
  - cryptography >= 3.2
seealso:
  - module: campus.upki.tsv
  - module: campus.upki.install
"""

EXAMPLES = r"""
- name: Let the practice CA check and issue what waits in the outbox
  campus.upki.practice_ca:
    path: ~/practice-ca
    outbox: [outbox]
    inbox: inbox
    institution:
      organization: The University of Electro-Communications
      state: tokyo
      locality: chofu
  delegate_to: localhost
  run_once: true

- name: Make a certificate that is due for renewal
  campus.upki.practice_ca:
    path: ~/practice-ca
    outbox: [outbox/2026-11-22-server_issue-1.tsv]
    inbox: inbox
    backdate: 150
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
issued:
  description: The certificates of this run, in the order of the files and records.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: FQDN.
      type: str
      sample: www.example.ac.jp
    kind:
      description: Kind of the application.
      type: str
      sample: server_issue
    serial:
      description: Serial number in decimal, as text. C(null) in check mode.
      type: str
      sample: "151837460227498261743937128471982374129"
    file:
      description: The certificate in O(inbox). C(null) in check mode.
      type: str
    mail:
      description: The mail in O(mailbox). C(null) in check mode.
      type: str
    not_after:
      description: End of validity, ISO 8601 in UTC.
      type: str
      sample: "2027-06-08T05:00:00Z"
recorded:
  description: The records of this run that ask for no certificate (revocations and ACME applications).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: FQDN.
      type: str
    kind:
      description: Kind of the application.
      type: str
    serial:
      description: Serial number of the revoked certificate in decimal, as text, or C(null).
      type: str
    account:
      description: Identifier of the ACME account, where the application concerns one.
      type: str
      returned: for ACME accounts
known:
  description: Certificates of O(known_certificates) that were entered in this run.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: FQDN.
      type: str
    serial:
      description: Serial number in decimal, as text.
      type: str
    not_after:
      description: End of validity in UTC, such as C(2027-05-08T14:59:00Z).
      type: str
refused:
  description: The refused files, each with everything that was found in it.
  returned: always
  type: list
  elements: dict
  contains:
    file:
      description: Path of the file.
      type: str
    kind:
      description: Kind as which the file was read.
      type: str
    faults:
      description: One entry for each fault.
      type: list
      elements: dict
      contains:
        code:
          description: The CA's number where it has one, else a word.
          type: raw
          sample: 212
        record:
          description: Number of the line, from 1; C(null) when the file as a whole is meant.
          type: int
        item:
          description: Name of the item in the form.
          type: str
          sample: 主体者DN (subject DN)
        value:
          description: The value, shortened.
          type: str
        message:
          description: What is wrong.
          type: str
        fix:
          description: What to do; may be empty.
          type: str
    answer:
      description: The faults in the form of the real upload, one C(CODE:RECORD,ITEM,MESSAGE) a line.
      type: str
      sample: 371:1,主体者DN,OU is not allowed
created:
  description: Whether the CA itself was made in this run.
  returned: always
  type: bool
roots:
  description: Folder of all trust anchors, one PEM file each.
  returned: always
  type: str
widely_trusted:
  description:
    - PEM file with the two old roots, which is what a system knows that has no root of 2024 (Debian 12 for instance).
  returned: always
  type: str
repository:
  description: Folder of the intermediates and cross certificates, some PEM, some DER, all ending in C(.cer).
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.campus.upki.plugins.module_utils import _archive

_archive.compile_once()  # before the imports that it is for

from ansible_collections.campus.upki.plugins.module_utils import _practice_desk, _practice_rules, _requirements
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

SPEC = {
    "path": {"type": "path", "required": True},
    "outbox": {"type": "list", "elements": "path", "default": []},
    "inbox": {"type": "path"},
    "mailbox": {"type": "path"},
    "kind": {"type": "str", "choices": list(_practice_rules.KINDS)},
    "generation": {"type": "str", "choices": ["g7", "g8"], "default": "g8"},
    "lifetime": {"type": "int", "default": 198},
    "backdate": {"type": "int", "default": 0},
    "institution": {
        "type": "dict",
        "options": {
            "organization": {"type": "str"},
            "state": {"type": "str"},
            "locality": {"type": "str"},
        },
    },
    "known_certificates": {"type": "list", "elements": "path", "default": []},
    "fail_on_refusal": {"type": "bool", "default": True},
}


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    _requirements.check(module)
    try:
        result = _practice_desk.run(module.params, check_mode=module.check_mode)
    except UpkiError as error:
        module.fail_json(**error.result())
    if not module._diff:
        del result["diff"]
    if result["refused"] and module.params["fail_on_refusal"]:
        message = _practice_desk.refusal_message(result["refused"])
        module.fail_json(msg=message, reason_code="practice_refused", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
