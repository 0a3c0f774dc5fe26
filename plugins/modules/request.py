#!/usr/bin/python
# Copyright: (c) 2026, the campus.upki contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: request
short_description: Make a key and a CSR for each server certificate that is due
version_added: 0.1.0
description:
  - Looks at each certificate wanted on this host and decides whether an application to the UPKI certificate issuing
    service (UPKI電子証明書発行サービス) is due, and of which kind, 新規発行 (issue) or 更新 (renew). Where it is due,
    makes a new private key and a CSR in the store on the host.
  - Returns records that M(campus.upki.tsv) writes to TSV files. Only public data is returned; the private key never
    leaves the host and stands in no result, log or diff.
  - The state is read from the disk and the clock at every run. A pending request (its CSR is with the CA) is never
    replaced by another run; giving it up is an explicit act, see O(certificates[].state).
  - All the certificates are checked before anything changes, and all faults are reported in one error.
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
  certificates:
    description: The certificates that this host shall have. Names must differ.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - The server's FQDN, which becomes the CN and 利用管理者FQDN.
          - At most 64 characters; lower-case letters, digits, C(.) and C(-).
        type: str
        required: true
      dns_names:
        description:
          - Further names (dNSName, column 13 of the TSV). The CA adds the FQDN itself; together at most 8.
          - A name that the certificate in force was not requested with makes a new request due. A name that is no
            longer wanted does not; it is gone with the next renewal.
        type: list
        elements: str
        default: []
      key_type:
        description: The new key, RSA 2048 bit (profile 3) or EC P-384 (profile 11); the service takes no other.
        type: str
        choices: [rsa2048, p384]
        default: rsa2048
      software:
        description: Name of the server software (Webサーバソフトウェア名等, column 12). Needed unless the request is
          cancelled.
        type: str
      current_certificate:
        description:
          - Path on the host of the certificate that the server has now, where it was made without this collection.
          - Read only while the store has nothing of this name. A certificate of UPKI with this name as CN is adopted,
            so that nothing happens before it is due, and then the kind and the serial of the application follow from
            it.
          - A file that is missing when it would be read is an error, since a wrong path would turn a renewal into an
            issue, which the CA refuses (212).
        type: path
      current_endpoint:
        description:
          - Address, as C(host:port), where the server presents the certificate that it has now; asked with
            O(certificates[].name) as SNI. Serves like O(certificates[].current_certificate), which comes first.
        type: str
      manager:
        description: Replaces single values of O(manager) for this certificate.
        type: dict
        suboptions:
          name:
            description: 利用管理者氏名, column 8.
            type: str
          affiliation:
            description: 利用管理者所属, column 9.
            type: str
          email:
            description: 利用管理者mail, column 10.
            type: str
      state:
        description:
          - V(cancelled) gives a pending request up. Its key and CSR stay in the store, with the record in
            C(cancelled.json). The next run with V(present) makes a new request.
          - Tell the IT centre as well; the CA may already have the application.
        type: str
        choices: [present, cancelled]
        default: present
      kind:
        description:
          - Overrides the kind of the application, where the CA knows of a certificate that the host does not
            (answer 212 to an issue). A request that is pending takes it over and keeps its key and CSR.
          - Ignored, with a warning, once a certificate was issued for it.
        type: str
        choices: [server_issue, server_renew]
      serial:
        description:
          - Serial of the old certificate (失効対象証明書シリアル番号), with O(certificates[].kind=server_renew). In
            decimal, as C(0x) and hexadecimal digits, or with colons as openssl prints it.
        type: str
  subject:
    description:
      - The institution's part of the subject DN (主体者DN), exactly as it is registered; upper and lower case matter.
      - O(subject.organization), O(subject.state) and O(subject.locality) are all needed.
    type: dict
    suboptions:
      organization:
        description: O, the institution's English name, at most 64 characters.
        type: str
      state:
        description: ST, such as V(Tokyo) or V(tokyo).
        type: str
      locality:
        description: L, such as V(Chofu) or V(chofu).
        type: str
      organizational_unit:
        description: Refused. OU was abolished on 2022-07-26; the option exists so that the error can say so.
        type: str
  manager:
    description: The certificate manager (利用管理者), for all certificates that do not say otherwise.
    type: dict
    suboptions:
      name:
        description: 利用管理者氏名, column 8. Optional, but the CA's mails address the manager by it.
        type: str
      affiliation:
        description: 利用管理者所属, column 9.
        type: str
      email:
        description: 利用管理者mail, column 10. The download URL is sent there.
        type: str
  renew_before:
    description:
      - When a certificate is due, as the last fraction of its own lifetime, such as V(1/3), or in days before its
        end, such as V(30d).
    type: str
    default: 1/3
  lead_time:
    description: Days that an application takes, for RV(certificates[].last_day_to_apply).
    type: int
    default: 14
  store:
    description: Folder of keys, requests and certificates on the host.
    type: path
    default: /etc/upki
  lock_timeout:
    description: Seconds to wait for another run that is changing the store.
    type: int
    default: 60
  key_owner:
    description: Owner of new private keys, by name or number; by default the user that the module runs as.
    type: str
  key_group:
    description: Group of new private keys, by name or number.
    type: str
  key_mode:
    description: Rights of new private keys; V(0640) lets the group read them.
    type: str
    choices: ['0600', '0640']
    default: '0600'
  issuers:
    description:
      - Beginnings of the issuer's CN by which a certificate outside the store is known as one of UPKI. A certificate
        of another CA is not renewed but replaced by a new issue.
    type: list
    elements: str
    default: ['NII Open Domain CA']
  controller_time:
    description:
      - The controller's time in UTC, such as V(2026-11-25T09:00:00Z). The roles send it.
      - If the host's clock is more than an hour away from it, that is a warning. If by the one clock a certificate is
        to be applied for and by the other it is not, that is an error, because a renewal would come too early or never.
    type: str
requirements:
  - cryptography >= 3.2 on the managed host
seealso:
  - module: campus.upki.tsv
  - module: campus.upki.install
  - module: campus.upki.info
author:
  - The campus.upki contributors (@campus-upki)
"""

EXAMPLES = r"""
- name: Request the certificates of this web server
  campus.upki.request:
    certificates:
      - name: www.example.ac.jp
        dns_names: [example.ac.jp]
        software: nginx
      - name: db.example.ac.jp
        key_type: p384
        software: Apache HTTP Server
        current_certificate: /etc/ssl/certs/db.example.ac.jp.pem
    subject:
      organization: Example University
      state: Tokyo
      locality: Chofu
    manager:
      name: 電通花子
      affiliation: 情報基盤センター
      email: hanako@example.ac.jp
  register: upki

- name: Write the TSV file that the IT centre gets
  campus.upki.tsv:
    records: "{{ upki.certificates | map(attribute='record') | select | list }}"
    dest: ./outbox
  delegate_to: localhost

- name: Adopt a server that was set up by hand, from what its port serves
  campus.upki.request:
    certificates:
      - name: old.example.ac.jp
        software: nginx
        current_endpoint: 127.0.0.1:443
    subject: "{{ upki_subject }}"
    manager: "{{ upki_manager }}"

- name: Give a pending request up
  campus.upki.request:
    certificates:
      - name: www.example.ac.jp
        state: cancelled

- name: Apply as a renewal, after the CA has answered 212 (the DN exists already)
  campus.upki.request:
    certificates:
      - name: www.example.ac.jp
        software: nginx
        kind: server_renew
        serial: "64:50:46:22:7d:5b:43:33:2e:2c:7b:34:3d:c2:ab:0d"
    subject: "{{ upki_subject }}"
    manager: "{{ upki_manager }}"
"""

RETURN = r"""
certificates:
  description: One entry for each certificate, in the order of O(certificates).
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
        - V(absent) (no certificate, no request), V(pending) (a request is with the CA), V(live), V(renewing) (live,
          with a pending successor), V(expired) (the live one has ended and nothing is pending).
        - The state after this run, in check mode the state that a real run would reach.
      type: str
      returned: always
    changed:
      description: Whether this certificate's part of the store was changed, or would be in check mode.
      type: bool
      returned: always
    action:
      description: V(none), V(request), V(relink) (a request of an interrupted run), V(amend) (kind and serial) or
        V(cancel).
      type: str
      returned: always
    kind:
      description: V(server_issue) or V(server_renew); null where nothing is applied for.
      type: str
      returned: always
    kind_reason:
      description: Why this kind, in words; null where no request was made by this run.
      type: str
      returned: always
    kind_reason_code:
      description:
        - V(never_issued), V(issuer_foreign), V(name_differs), V(old_has_ou), V(dn_differs), V(old_without_ou) or
          V(kind_given).
      type: str
      returned: always
    reason:
      description: The decision in words.
      type: str
      returned: always
    reason_code:
      description:
        - V(absent), V(due), V(expired), V(names_differ) (a request was made); V(pending), V(pending_differs),
          V(live), V(adopted), V(nothing_pending) (nothing was changed); V(interrupted), V(kind_given), V(cancelled).
      type: str
      returned: always
    source:
      description: Where the certificate in force was found, V(the store), a path or an address; null where there is
        none.
      type: str
      returned: always
    record:
      description:
        - What M(campus.upki.tsv) takes as one of its records; null where nothing is applied for.
        - In check mode C(csr) in it is null for a request that would be made.
      type: dict
      returned: always
    csr:
      description: The pending CSR as PEM; null where nothing is pending.
      type: str
      returned: always
    spki_sha256:
      description: SHA-256 of the public key (SubjectPublicKeyInfo) of RV(certificates[].generation), in hexadecimal.
      type: str
      returned: always
    generation:
      description: Id of the pending generation, else of the live one; null where there is none.
      type: str
      returned: always
    serial:
      description: Serial of the certificate in force, in decimal.
      type: str
      returned: always
    not_after:
      description: End of the certificate in force, in UTC (ISO 8601).
      type: str
      returned: always
      sample: '2027-03-06T01:53:20Z'
    days_left:
      description: Whole days until then, rounded down; negative after it.
      type: int
      returned: always
    renew_at:
      description: From when on the certificate in force is due, in UTC.
      type: str
      returned: always
    last_day_to_apply:
      description: RV(certificates[].not_after) less O(lead_time).
      type: str
      returned: always
    leftovers:
      description: Temporary folders of interrupted runs in the store; they may hold a key, so nothing removes them.
      type: list
      elements: str
      returned: always
    warnings:
      description:
        - What a person should know, as C(code) and C(message), such as V(pending_old), V(pending_differs),
          V(orphan_differs), V(subject_differs), V(key_type_differs), V(manager_empty), V(renew_before_short),
          V(renew_before_too_long), V(kind_used), V(phishing_like), V(clock_behind), V(clock_differs) or
          V(leftover).
      type: list
      elements: dict
      returned: always
problems:
  description: What is wrong in the store, as C(name), C(code), C(message) and C(fix).
  returned: when the store must be mended by a person
  type: list
  elements: dict
faults:
  description:
    - What is wrong in the options, as C(code) (the CA's number where it has one), C(record) (position in
      O(certificates), from 1), C(item), C(value), C(message) and C(fix).
  returned: when the options have faults
  type: list
  elements: dict
reason_code:
  description: The kind of error as a word.
  returned: failure
  type: str
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.campus.upki.plugins.module_utils import _archive

_archive.compile_once()  # before the imports that it is for

from ansible_collections.campus.upki.plugins.module_utils import _request, _request_options, _requirements
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError


def main():
    module = AnsibleModule(argument_spec=_request_options.ARGUMENTS, supports_check_mode=True)
    _requirements.check(module)
    try:
        result = _request.Request(module.params, time.time(), module.check_mode).run()
    except UpkiError as error:
        module.fail_json(**error.result())
    for text in result.pop("warn"):
        module.warn(text)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
