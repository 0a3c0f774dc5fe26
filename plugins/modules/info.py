#!/usr/bin/python
# Copyright: (c) 2026, the campus.upki contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: info
short_description: Show the certificates, requests and generations in the store of a host
version_added: 0.1.0
description:
  - Reads the store that M(campus.upki.request) and M(campus.upki.install) keep on a host and says what is live, what
    is pending and for how long, which older generations are there, and what a person should look at.
  - Reads public files only. It needs no write permission and never opens a private key, so any user who may read the
    store can run it, also ad hoc (see the examples).
extends_documentation_fragment:
  - campus.upki.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Nothing is changed.
  idempotent:
    support: full
options:
  store:
    description: Folder of keys, requests and certificates on the host.
    type: path
    default: /etc/upki
  names:
    description: FQDNs to show; by default all that the store has. A name that the store lacks is shown as V(absent).
    type: list
    elements: str
    default: []
  discover:
    description:
      - Whether to look for the TLS virtual hosts of the host's nginx and Apache, RV(discovered).
      - They are read from what C(nginx -T) and C(apachectl -t -D DUMP_VHOSTS) say, and where Apache says too little
        from the file that it names. C(nginx -T) needs the rights of root.
    type: bool
    default: false
  query:
    description:
      - JMESPath expression that selects from the result, such as C(certificates[?state=='pending'].name).
      - Evaluated on the controller by the action plugin of the same name; the selection stands in C(query_result)
        beside the full result. Hosts do not need the C(jmespath) library.
    type: str
requirements:
  - cryptography >= 3.2 on the managed host
  - jmespath on the controller, for O(query) only
seealso:
  - module: campus.upki.request
  - module: campus.upki.install
author:
  - The campus.upki contributors (@campus-upki)
"""

EXAMPLES = r"""
# At a terminal: ansible web -m campus.upki.info
- name: Look at the store
  campus.upki.info:
  register: upki

- name: Which requests wait for the CA?
  campus.upki.info:
    query: certificates[?pending].{name:name, days:pending.age_days}
"""

RETURN = r"""
certificates:
  description: One entry for each name, sorted by name, or in the order of O(names).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The FQDN.
      type: str
      returned: always
    state:
      description:
        - V(absent), V(pending), V(live), V(renewing) (in force, with a pending successor) or V(expired) (and nothing
          is pending).
      type: str
      returned: always
    live:
      description: The certificate that servers are configured to read; null where there is none.
      type: dict
      returned: always
      contains:
        generation:
          description: Id of the generation.
          type: str
          returned: always
        path:
          description: Its folder.
          type: str
          returned: always
        subject:
          description: Subject DN, in the order of its encoding.
          type: str
          returned: always
        issuer:
          description: Issuer DN, in the order of its encoding.
          type: str
          returned: always
        serial:
          description: Serial number in decimal.
          type: str
          returned: always
        not_before:
          description: Start of validity, UTC (ISO 8601).
          type: str
          returned: always
        not_after:
          description: End of validity, UTC (ISO 8601).
          type: str
          returned: always
        days_left:
          description: Whole days until the end, rounded down; negative after it.
          type: int
          returned: always
        dns_names:
          description: Names in the certificate.
          type: list
          elements: str
          returned: always
        key_type:
          description: V(rsa2048), V(p384), or what else the certificate has.
          type: str
          returned: always
        sha256:
          description: SHA-256 of the certificate, in hexadecimal.
          type: str
          returned: always
        spki_sha256:
          description: SHA-256 of its public key (SubjectPublicKeyInfo), in hexadecimal.
          type: str
          returned: always
        replaces:
          description:
            - The certificate that it took the place of, in the store or before - C(serial), C(not_after),
              C(generation) and C(source) as its request noted them, and C(days_left). Null where there was none.
          type: dict
          returned: always
        chain:
          description: The intermediates that are served after it, each with C(subject), C(sha256) and C(not_after).
          type: list
          elements: dict
          returned: always
    pending:
      description: The request that is with the CA; null where there is none.
      type: dict
      returned: always
      contains:
        generation:
          description: Id of the generation.
          type: str
          returned: always
        path:
          description: Its folder.
          type: str
          returned: always
        kind:
          description: V(server_issue) (新規発行) or V(server_renew) (更新).
          type: str
          returned: always
        reason:
          description: Why it was made, in words.
          type: str
          returned: always
        reason_code:
          description: The same as a word, see M(campus.upki.request).
          type: str
          returned: always
        created:
          description: When it was made, UTC (ISO 8601).
          type: str
          returned: always
        age_days:
          description: Whole days since then.
          type: int
          returned: always
        key_type:
          description: V(rsa2048) or V(p384).
          type: str
          returned: always
        dns_names:
          description: Further names that were asked for.
          type: list
          elements: str
          returned: always
        spki_sha256:
          description: SHA-256 of its public key, in hexadecimal.
          type: str
          returned: always
        replaces:
          description: The certificate that it replaces (C(serial), C(not_after), C(generation), C(source)), or null.
          type: dict
          returned: always
        issued:
          description: Whether its certificate has arrived in the store but is not live yet.
          type: bool
          returned: always
    generations:
      description:
        - All generations, oldest first, each with C(generation), C(role) (V(live), V(pending), V(cancelled), V(old),
          V(unused), or V(orphan) for a request of an interrupted run), C(created), C(age_days), C(kind), C(key)
          (whether the key is there), and of its certificate C(spki_sha256), C(serial), C(not_before), C(not_after) and
          C(days_left), null while it has none.
      type: list
      elements: dict
      returned: always
    leftovers:
      description: Temporary folders of runs that were interrupted, or of one that is still running; they may hold a
        key.
      type: list
      elements: str
      returned: always
    problems:
      description: What a person must mend before requests can be made, as C(code), C(message) and C(fix).
      type: list
      elements: dict
      returned: always
    warnings:
      description: What a person should know, as C(code) and C(message).
      type: list
      elements: dict
      returned: always
discovered:
  description: With O(discover) the TLS virtual hosts of the host's web servers.
  returned: when O(discover) is true
  type: dict
  contains:
    endpoints:
      description:
        - One entry for each name and place, each with C(name), C(endpoint) (V(127.0.0.1:443) where the server listens
          on all addresses), C(server) (V(nginx) or V(apache)) and C(file). They can be given to M(campus.upki.verify)
          as O(campus.upki.verify#module:certificates).
      type: list
      elements: dict
      returned: always
    problems:
      description: What could not be read, and virtual hosts without a name to connect to.
      type: list
      elements: str
      returned: always
reason_code:
  description: The kind of error as a word.
  returned: failure
  type: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.campus.upki.plugins.module_utils import _archive

_archive.compile_once()  # before the imports that it is for

from ansible_collections.campus.upki.plugins.module_utils import _discover, _inventory, _requirements
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

ARGUMENTS = {
    "store": {"type": "path", "default": "/etc/upki"},
    "names": {"type": "list", "elements": "str", "default": []},
    "discover": {"type": "bool", "default": False},
    "query": {"type": "str"},  # for the action plugin
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    _requirements.check(module)
    try:
        rows = _inventory.inventory(module.params["store"], module.params["names"], time.time())
    except UpkiError as error:
        module.fail_json(**error.result())
    for text in _inventory.warnings(module.params["store"], rows):
        module.warn(text)
    found = {"discovered": _discover.discover()} if module.params["discover"] else {}
    module.exit_json(changed=False, certificates=rows, **found)


if __name__ == "__main__":
    main()
