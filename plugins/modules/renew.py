#!/usr/bin/python
# Copyright: (c) 2026, the campus.upki contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both daily jobs of a host in one exchange; the action plugin reads the folders on the controller."""

DOCUMENTATION = r"""
module: renew
short_description: Put issued certificates live and apply for those that are due, in one exchange with the host
version_added: 0.1.0
author:
  - The campus.upki contributors (@campus-upki)
description:
  - Does what M(campus.upki.install) does and then what M(campus.upki.request) does, in one process on the host. A daily
    run, in which nothing is due as a rule, needs one exchange with each host instead of two.
  - A fault among the requests does not hold up a certificate that has arrived. The task fails afterwards, and
    RV(install) says what became of the installation. Where the installation fails nothing is applied for.
extends_documentation_fragment:
  - campus.upki.attributes
attributes:
  check_mode:
    support: full
    details:
      - The configuration test of the server runs in check mode as well, because it changes nothing.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - As M(campus.upki.install), full but for certificates with the state V(previous).
options:
  install:
    description: The options of M(campus.upki.install), with the same defaults and checks.
    type: dict
    required: true
  request:
    description:
      - The options of M(campus.upki.request), with the same defaults and checks.
      - C(store) must be that of O(install).
    type: dict
    required: true
notes:
  - Certificates stand in both options, each time with the keys that the module knows. The role
    P(campus.upki.renew#role) takes them from one list.
seealso:
  - module: campus.upki.install
  - module: campus.upki.request
  - module: campus.upki.tsv
requirements:
  - cryptography >= 3.2 on the managed host and on the controller
"""

EXAMPLES = r"""
- name: Do what is possible today for one web server
  campus.upki.renew:
    install:
      certificates:
        - name: www.example.ac.jp
          dns_names: [example.ac.jp]
          server: nginx
      inbox: ["{{ playbook_dir }}/inbox"]
      intermediates: ["{{ playbook_dir }}/intermediates"]
    request:
      certificates:
        - name: www.example.ac.jp
          dns_names: [example.ac.jp]
          software: nginx
      subject: "{{ upki_subject }}"
      manager: "{{ upki_manager }}"
  register: upki

- name: Write the TSV file that the IT centre gets
  campus.upki.tsv:
    records: "{{ upki.request.certificates | map(attribute='record') | select | list }}"
    dest: ./outbox
  delegate_to: localhost
"""

RETURN = r"""
install:
  description:
    - What M(campus.upki.install) returns, such as RV(campus.upki.install#module:certificates).
    - Where the request has failed, its C(changed) and of each certificate C(name), C(state), C(changed), C(reason_code)
      and C(reason).
  returned: unless the installation failed
  type: dict
request:
  description: What M(campus.upki.request) returns, such as RV(campus.upki.request#module:certificates).
  returned: success
  type: dict
reason_code:
  description: On failure, the stable word of that of the two modules which failed.
  returned: failure
  type: str
errors:
  description: As RV(campus.upki.install#module:errors), where the installation failed.
  returned: failure of the installation
  type: list
  elements: dict
faults:
  description: As RV(campus.upki.request#module:faults), where the options of the request are wrong.
  returned: failure of the request
  type: list
  elements: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.campus.upki.plugins.module_utils import _archive

_archive.compile_once()  # before the imports that it is for

from ansible_collections.campus.upki.plugins.module_utils import (
    _install_options,
    _renew,
    _request_options,
    _requirements,
)
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

PARTS = {"install": _install_options.ARGUMENTS, "request": _request_options.ARGUMENTS}
ARGUMENTS = {name: {"type": "dict", "required": True} for name in PARTS}


def checked(module):
    """{part: its options with defaults}; fail_json where they are not those of the module of that name."""
    parts, wrong = {}, []
    for name, options in PARTS.items():
        result = ArgumentSpecValidator(options).validate(module.params[name])
        wrong.extend("{0}: {1}".format(name, message) for message in result.error_messages)
        parts[name] = result.validated_parameters
    stores = {name: os.path.normpath(part.get("store") or "") for name, part in parts.items()}
    if not wrong and stores["install"] != stores["request"]:
        text = "install.store is '{install}' and request.store is '{request}'; give both the same."
        wrong.append(text.format(**stores))
    if wrong:
        module.fail_json(msg=" ".join(wrong), reason_code="options_invalid")
    return parts


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    _requirements.check(module)
    parts = checked(module)
    try:
        result = _renew.run(parts["install"], parts["request"], module.check_mode)
    except UpkiError as error:
        warn(module, error.details.pop("warnings", []))
        module.fail_json(**error.result())
    warn(module, result.pop("warnings"))
    module.exit_json(**result)


def warn(module, texts):
    for text in texts:
        module.warn(text)


if __name__ == "__main__":
    main()
