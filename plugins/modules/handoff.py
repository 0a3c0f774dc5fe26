#!/usr/bin/python
# Copyright: (c) 2026, the campus.upki contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs certificate, key and intermediates for a virtual domain server."""

DOCUMENTATION = r"""
module: handoff
short_description: Pack certificate, key and intermediates for a server that the IT centre runs
version_added: 0.1.0
author:
  - The campus.upki contributors (@campus-upki)
description:
  - For a virtual domain server (仮想ドメインサーバ), which the IT centre runs, three things are handed over, the
    certificate, the private key without a passphrase and the intermediates.
  - Checks that the three belong together, that the key has no passphrase and that the host's own Python can load them,
    then writes them into one archive with a list of checksums and a short text for the mail.
  - The archive is written with the rights C(0600). The result never contains the key.
  - Take the certificate into the store first with M(campus.upki.install), without C(server).
extends_documentation_fragment:
  - campus.upki.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - The archive holds a private key, so its content is never shown.
  idempotent:
    support: full
    details:
      - With O(encrypt_with) an archive that is there already for the same certificate counts as the same.
options:
  name:
    description: The FQDN, which is the name in the store.
    type: str
    required: true
  dest:
    description: Folder for the archive, on the host that has the store. It must exist and should be C(0700).
    type: path
    required: true
  generation:
    description: A generation of the store to pack. The default is the live one.
    type: str
  fetch:
    description:
      - Whether to copy the archive to the controller as well, into O(fetch_dest). It then lies in both places.
      - Works where the connecting user itself may read the archive, so not together with C(become) to another user.
    type: bool
    default: false
  fetch_dest:
    description: Folder on the controller for O(fetch=true).
    type: path
  encrypt_with:
    description: Program that encrypts the archive for O(recipients). It must be installed on the host.
    type: str
    choices: [age, gpg]
  recipients:
    description: Public keys (age) or keys and addresses (gpg) of those who may open the archive.
    type: list
    elements: str
    default: []
  store:
    description: Folder of keys and certificates on the host.
    type: path
    default: /etc/upki
seealso:
  - module: campus.upki.install
requirements:
  - cryptography >= 3.2 on the managed host
"""

EXAMPLES = r"""
- name: Pack what the IT centre needs
  campus.upki.handoff:
    name: club.example.ac.jp
    dest: /root/handoff
  register: parcel

- name: Show the text for the mail
  ansible.builtin.debug:
    msg: "{{ parcel.text }}"

- name: Pack it for the eyes of the IT centre alone
  campus.upki.handoff:
    name: club.example.ac.jp
    dest: /root/handoff
    encrypt_with: age
    recipients: [age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq]
"""

RETURN = r"""
name:
  description: The FQDN.
  returned: success
  type: str
path:
  description: The archive on the host.
  returned: success
  type: str
  sample: /root/handoff/club.example.ac.jp-20261122.zip
letter:
  description: The file with the text for the mail on the host.
  returned: success
  type: str
text:
  description: The text for the mail, with FQDN, serial in decimal, dates and checksums, in Japanese and English.
  returned: success
  type: str
generation:
  description: The generation that was packed.
  returned: success
  type: str
serial:
  description: Serial number of the certificate in decimal.
  returned: success
  type: str
not_after:
  description: End of validity in UTC (ISO 8601).
  returned: success
  type: str
encrypted:
  description: Whether the archive is encrypted.
  returned: success
  type: bool
fetched:
  description: The archive on the controller.
  returned: when O(fetch=true)
  type: str
reason_code:
  description: On failure, a stable word for what is wrong.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.campus.upki.plugins.module_utils import _archive

_archive.compile_once()  # before the imports that it is for

from ansible_collections.campus.upki.plugins.module_utils import _handoff, _requirements
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "dest": {"type": "path", "required": True},
    "generation": {"type": "str"},
    "fetch": {"type": "bool", "default": False},
    "fetch_dest": {"type": "path"},
    "encrypt_with": {"type": "str", "choices": ["age", "gpg"]},
    "recipients": {"type": "list", "elements": "str", "default": []},
    "store": {"type": "path", "default": "/etc/upki"},
}


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_if=[("fetch", True, ["fetch_dest"])],
    )
    _requirements.check(module)
    try:
        result = _handoff.run(module.params, module.check_mode)
    except UpkiError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
