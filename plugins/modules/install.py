#!/usr/bin/python
# Copyright: (c) 2026, the campus.upki contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts issued certificates live: the managed host's side; the action plugin reads the controller's folders."""

DOCUMENTATION = r"""
module: install
short_description: Put issued certificates and their correct intermediates live as one step, or change nothing
version_added: 0.1.0
author:
  - The campus.upki contributors (@campus-upki)
description:
  - Finds the certificates of this host in what people saved in the inbox on the controller, whatever the files are
    called and however they are packed (PEM, DER, PKCS#7, zip, mail), and matches each to the pending request by its
    public key.
  - Chooses the intermediates by issuer, key identifier and signature and prefers the chain that reaches the most widely
    trusted root. For UPKI certificates of generation G8 that is the intermediate and the cross certificate. Roots are
    never served.
  - Checks key, names, dates, purpose and chain, loads the very files with the host's own Python, then makes the new
    generation live by one rename of a symlink, tests the server's configuration, reloads the server and looks at its
    port. When the port does not serve the new certificate, everything is put back as it was.
  - All of a host's certificates are treated in one call, those of one server with one reload. Everything is checked
    before anything changes.
  - What has not arrived yet is no failure; see RV(certificates[].state).
  - A run that was killed at any moment is repaired by the next run, also a reload that was lost.
  - A chain that grew old under a live certificate is mended in the same way; see O(mend_chain).
  - Servers are reloaded and never restarted, but for slapd, which knows no reload.
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
      - Full with O(certificates[].state=latest). Each run with V(previous) goes back one more generation, so it is for
        a single run by hand.
options:
  certificates:
    description: The certificates of this host.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The server's FQDN, which is the CN of the certificate and the name in the store.
        type: str
        required: true
      dns_names:
        description: Other names that the certificate must cover (dNSName). Those of the request are checked as well.
        type: list
        elements: str
        default: []
      server:
        description:
          - Which server reads this certificate. One of V(nginx), V(apache), V(postfix), V(dovecot), V(slapd),
            V(haproxy), or a name described in O(servers).
          - Without it the certificate only becomes live in the store. Nothing is tested, reloaded or looked at.
        type: str
      endpoint:
        description:
          - Address and port on this host where the server serves this certificate, such as V(127.0.0.1:443) or
            V([::1]:8443), or a list of them (two ports, IPv4 and IPv6, IMAP and POP3). All must serve it after the
            reload; those that do not are all named. V(127.0.0.1:2525=smtp) says for one of them what
            O(certificates[].starttls) says for all.
          - The default is V(127.0.0.1:443) where O(certificates[].server) is given. An empty text means not to look.
        type: list
        elements: str
      starttls:
        description:
          - Protocol in which the port switches to TLS. Without it the port's usual meaning decides (25 and 587 smtp,
            143 imap, 389 ldap, 5432 postgres and so on), for each O(certificates[].endpoint) by itself.
        type: str
        choices: [none, smtp, imap, pop3, ldap, ftp, nntp, sieve, postgres, mysql, xmpp]
      links:
        description:
          - Fixed paths that an existing configuration names. A symlink into the live generation, or a copy where a
            service cannot follow symlinks (a chroot, another user). Copies belong to the same swap and rollback.
          - A hand-made file that lies there is kept beside it with the ending C(.before-upki).
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Absolute path on the host. Its folder must exist.
            type: path
            required: true
          what:
            description:
              - What the path holds. V(fullchain) is the certificate with its chain (nginx, Apache from 2.4.8, postfix,
                dovecot), V(certificate) and V(chain) the two alone (Apache before 2.4.8), V(combined) the key with all
                of them in one file (haproxy), always as a copy.
            type: str
            choices: [fullchain, certificate, chain, key, combined]
            required: true
          copy:
            description: Whether to write a copy and no symlink.
            type: bool
            default: false
          owner:
            description: Owner of the copy.
            type: str
          group:
            description: Group of the copy, such as V(ssl-cert) on Debian.
            type: str
          mode:
            description: Rights of the copy. The default is V(0600) for what holds the key, V(0644) otherwise.
            type: str
            choices: ["0600", "0640", "0644", "0400", "0440", "0444"]
      adopt:
        description:
          - A key and certificate on the host that were put in place by hand. While the store has nothing live for this
            name they become its first generation, so that the first swap can go back to them. The files themselves stay
            untouched.
        type: dict
        suboptions:
          key:
            description: The private key in PEM, without a passphrase.
            type: path
            required: true
          certificate:
            description: The certificate in PEM, with or without its chain behind it.
            type: path
            required: true
          chain:
            description: The chain in PEM, where it is a file of its own.
            type: path
      state:
        description:
          - V(latest) installs what has arrived.
          - V(previous) goes back by hand to the generation before the live one, with the same checks, test, reload and
            look; each run goes back one more. A later run with V(latest) does not undo it.
        type: str
        choices: [latest, previous]
        default: latest
  keep:
    description:
      - How many generations of each certificate stay after a swap. The live one, the pending one and the one before the
        live one always stay, so with V(0) only those.
    type: int
    default: 3
  inbox:
    description:
      - Folders or files on the controller with what the CA issued, as people saved it.
      - Files that are no certificates are an error for a host that waits for one, and a warning for the others.
    type: list
    elements: path
    default: []
  intermediates:
    description:
      - Folders or files on the controller with intermediate and cross certificates of the CA. More than needed may lie
        there; the right ones are chosen.
    type: list
    elements: path
    default: []
  roots:
    description:
      - Folders or files on the controller with root certificates to trust. Not needed for UPKI, whose CA certificates
        are known by their SHA-256.
    type: list
    elements: path
    default: []
  download:
    description:
      - Whether the controller may fetch a CA certificate that is in none of the folders, from the address where the CA
        publishes it or that the certificate itself names. It is kept in the controller's cache
        (C($XDG_CACHE_HOME/campus.upki)).
      - What comes is used only with the known SHA-256, or, for a CA that the collection does not know, when it
        completes a chain to one of O(roots).
    type: bool
    default: true
  servers:
    description:
      - Rows to add to the built-in table of servers, or to put over its rows. The key is the name that
        O(certificates[].server) uses; the value has C(test) (a command as a list of words, which may be empty),
        C(reload) (the same) and C(timeout) (seconds for each command, 60 by default).
    type: dict
    default: {}
  store:
    description: Folder of keys, requests and certificates on the managed host.
    type: path
    default: /etc/upki
  wait:
    description:
      - Seconds within which all ports must serve the new certificate after the reload. V(0) looks once, at once.
    type: int
    default: 15
  lock_timeout:
    description: Seconds to wait for another run that changes the same store. V(0) does not wait.
    type: int
    default: 60
  mend_chain:
    description:
      - Whether a certificate that is live gets another chain behind it when its own has expired, is wrong, or lacks
        something (such as the cross certificate), and a better one is at hand. Certificate and key stay; the chain is
        tested, reloaded, looked at and taken back like a new certificate.
      - A chain that is good stays, also when another one would be chosen today. So does one of a server that is seen to
        send other files than those of the store, and one of a server that does not answer.
    type: bool
    default: true
  candidates:
    description: Set by the action plugin. What was found on the controller for this host.
    type: list
    elements: dict
    default: []
  unusable:
    description: Set by the action plugin. Files of the inbox that are no certificates.
    type: list
    elements: dict
    default: []
  others:
    description:
      - Set by the action plugin. Of the inbox's certificates for other names the first 16 hexadecimal digits of their
        public keys' SHA-256, one after the other.
    type: str
    default: ""
  authorities:
    description: Set by the action plugin. CA certificates at hand on the controller, in PEM.
    type: list
    elements: str
    default: []
  anchors:
    description: Set by the action plugin. Those of O(roots) that signed one of them, in PEM.
    type: list
    elements: str
    default: []
notes:
  - Rules of the chain follow NII, UPKI certificate issuing service, repository of CA certificates.
seealso:
  - module: campus.upki.request
  - module: campus.upki.verify
requirements:
  - cryptography >= 3.2 on the managed host and on the controller
"""

EXAMPLES = r"""
- name: Put what has arrived live on nginx
  campus.upki.install:
    certificates:
      - name: www.example.ac.jp
        dns_names: [example.ac.jp]
        server: nginx
    inbox: ["{{ playbook_dir }}/inbox"]
    intermediates: ["{{ playbook_dir }}/intermediates"]

- name: Use a service of our own that has its own commands
  campus.upki.install:
    certificates:
      - name: api.example.ac.jp
        server: gateway
        endpoint: 127.0.0.1:8443
    servers:
      gateway:
        test: [/opt/gateway/bin/check]
        reload: [systemctl, reload, gateway]
        timeout: 20
    inbox: ["{{ playbook_dir }}/inbox"]
    intermediates: ["{{ playbook_dir }}/intermediates"]
"""

RETURN = r"""
certificates:
  description: One entry for each certificate, in the order of O(certificates).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name in the store.
      type: str
      sample: www.example.ac.jp
    state:
      description:
        - V(live) (in place), V(renewing) (in place, and a request for its successor waits), V(pending) (a request waits
          and nothing is in place), V(expired) (in place, expired, and nothing waits), V(absent) (neither).
      type: str
    changed:
      description: Whether it became live now, or its server was reloaded because it had not taken it up.
      type: bool
    reason_code:
      description:
        - V(installed), V(went_back), V(adopted), V(chain_mended), V(reloaded) or V(links) when something was changed.
        - V(up_to_date), V(waiting) or V(no_request) when nothing was.
      type: str
    reason:
      description: The same as a sentence.
      type: str
    generation:
      description: The live generation in the store, or V(null).
      type: str
    serial:
      description: Serial number in decimal, or V(null).
      type: str
    not_before:
      description: Begin of validity in UTC (ISO 8601), or V(null).
      type: str
    not_after:
      description: End of validity in UTC (ISO 8601), or V(null).
      type: str
    chain:
      description: What is served after the certificate, in this order.
      type: list
      elements: dict
      contains:
        subject:
          description: Subject of the CA certificate.
          type: str
        sha256:
          description: Its SHA-256, lower-case hexadecimal.
          type: str
        not_after:
          description: End of its validity in UTC (ISO 8601).
          type: str
    file:
      description: The file on the controller from which the certificate was taken now, or V(null).
      type: str
    pruned:
      description: Old generations that were removed now.
      type: list
      elements: str
    notices:
      description:
        - What to know about the certificate and its chain, with C(code) and C(message).
        - The codes are V(unknown_ca), V(old_generation), V(downloaded), V(no_client_auth) and V(chain_outdated).
        - V(chain_outdated), which is a warning as well, says that the chain of the live certificate has expired, is
          wrong or lacks something, why it was not mended, and what to do.
      type: list
      elements: dict
inventory:
  description:
    - What the store holds of these names afterwards (in check mode, what it holds now), in the form of
      RV(campus.upki.info#module:certificates).
    - For O(campus.upki.verify#module:expected), without another exchange with the host.
  returned: success
  type: list
  elements: dict
ignored:
  description:
    - Certificates of the inbox that were not used, with C(file), C(serial), C(name), C(reason_code) and C(reason).
    - The codes are V(other_name), V(other_key), V(already_live), V(same_key) and V(older).
    - Of those with V(other_name) the first 5; RV(ignored_more) says how many there are besides.
  returned: success
  type: list
  elements: dict
ignored_more:
  description: How many certificates for other names lie in the inbox besides those in RV(ignored).
  returned: success
  type: int
reason_code:
  description: On failure, a stable word for what is wrong, such as V(other_key), V(cross_missing) or V(port_closed).
  returned: failure
  type: str
errors:
  description: On failure before anything changed, every fault with C(name), C(reason_code), C(message) and C(fix).
  returned: failure
  type: list
  elements: dict
rolled_back:
  description: On failure of a swap, whether everything was put back and the old certificate serves again.
  returned: failure
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.campus.upki.plugins.module_utils import _archive

_archive.compile_once()  # before the imports that it is for

from ansible_collections.campus.upki.plugins.module_utils import _install, _install_options, _requirements
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError


def main():
    module = AnsibleModule(argument_spec=_install_options.ARGUMENTS, supports_check_mode=True)
    _requirements.check(module)
    try:
        result = _install.run(module.params, module.check_mode)
    except UpkiError as error:
        module.fail_json(**error.result())
    for text in result.pop("warnings"):
        module.warn(text)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
