#!/usr/bin/python
# Copyright: (c) 2026, the campus.upki contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: verify
short_description: Say what is wrong with TLS endpoints and how to mend it
version_added: 0.1.0
description:
  - Connects to each endpoint as a client does, looks at the certificate, the chain as it was sent, and the
    protocol, and returns findings with a stable code, the values seen, and what to change.
  - The chain is judged strictly - only what the server sent and the trust store count. Where something is missing
    or wrong, the finding names the file that is needed and where the CA publishes it, with its SHA-256.
  - Runs where users' clients would stand, the controller for example (C(delegate_to)). Changes nothing.
  - The whole chain is seen with Python 3.10 or newer, or with the program C(openssl) beside an older one. With neither,
    the server certificate alone is examined, and a finding says so.
options:
  endpoints:
    description:
      - What to look at.
      - One of O(endpoints), O(certificates) and O(files) is needed; with several, all are looked at.
    type: list
    elements: dict
    suboptions:
      host:
        description: Name or address to connect to, alone or with a port, V(host:port) or V([2001:db8::1]:443).
        type: str
        required: true
      port:
        description: TCP port, where O(endpoints[].host) does not carry one. The default is 443, or the usual port of
          O(endpoints[].starttls).
        type: int
      server_name:
        description:
          - The name that is asked for (SNI) and that the certificate must cover.
          - The default is O(endpoints[].host).
        type: str
      starttls:
        description: The protocol that is spoken before TLS, where TLS does not begin at once.
        type: str
        choices: [ftp, imap, ldap, mysql, nntp, pop3, postgres, sieve, smtp, xmpp]
      certificate_sha256:
        description: Fingerprint of the certificate that must be served, hexadecimal, with or without colons.
        type: str
      dns_names:
        description: Names that the certificate must have besides O(endpoints[].server_name).
        type: list
        elements: str
  certificates:
    description:
      - Certificates as the roles know them (variable C(upki_certificates)). Used are C(name), C(dns_names) and
        C(public_endpoint) or else C(endpoint), V(host:port) or a list of these as in M(campus.upki.install), by default
        port 443 of the name, and C(starttls).
      - An empty C(endpoint) leaves the certificate out. Other keys are ignored, and so is a second entry for the same
        name and place. RV(campus.upki.info#module:discovered.endpoints) fits here.
    type: list
    elements: dict
  files:
    description:
      - Certificate files to judge by the same rules without any connection, before they are deployed for example.
    type: list
    elements: dict
    suboptions:
      path:
        description:
          - A PEM file with the server certificate first and the chain after it, as a server is given it.
          - Or a store of this collection, C(/etc/upki), of which each certificate's C(live/fullchain.pem) is judged.
        type: path
        required: true
      server_name:
        description: A name that the certificate must cover; in a store the certificate's own name.
        type: str
      certificate_sha256:
        description: Fingerprint that the first certificate must have.
        type: str
      dns_names:
        description: More names that the certificate must have.
        type: list
        elements: str
  loopback:
    description:
      - What to do with a C(endpoint) of O(certificates) that is a loopback address.
      - V(as_written) connects to the loopback address of the machine where this module runs.
      - V(by_name) connects to the certificate's name instead, which is right when the module runs on another
        machine than the server.
    type: str
    choices: [as_written, by_name]
    default: as_written
  expected:
    description:
      - What the store on the server says, RV(campus.upki.info#module:certificates). For each of O(certificates) the
        live certificate of this list must be the one served, with a key that no earlier one had. RV(next_steps) is made
        from it.
    type: list
    elements: dict
  ca_file:
    description:
      - Trust store as a PEM file, or a folder of C(.pem), C(.crt) and C(.cer) files. The default is the system's.
    type: path
  stores:
    description:
      - >-
        Further trust stores whose verdict is wanted, as names and paths, for example
        V({Debian 12: /srv/roots/debian12.pem, Firefox: certifi}). The words V(system) and V(certifi) stand for the
        system's store and for that of the Python library certifi, which carries Mozilla's.
      - Where one accepts a chain and another does not, RV(results[].findings[].code=untrusted_in_store) names them.
    type: dict
  intermediates:
    description:
      - Files or folders with CA certificates that are known to the operator. They are never trusted; they serve to
        name what is missing in a served chain. UPKI's own are known without, and a folder that does not exist is
        passed over.
    type: list
    elements: path
    default: []
  warn_before:
    description: When RV(results[].findings[].code=expires_soon) starts, as a part of the lifetime (V(1/3)) or in
      days (V(30d)).
    type: str
    default: 1/3
  revocation:
    description:
      - Whether to ask, at the addresses that the certificates themselves name, if they are revoked. Needs HTTP from the
        machine where the module runs.
      - Intermediates are always looked up in CRLs. With V(both) one good answer suffices, unless the other says that
        the certificate is revoked.
      - What cannot be learned is RV(results[].findings[].code=revocation_unknown), a warning.
      - An OCSP answer that the server staples is examined as well, with the program C(openssl) where the module runs.
    type: str
    choices: [none, crl, ocsp, both]
    default: none
  dns:
    description:
      - Whether to ask DNS for CAA records, which may forbid the CA to issue the next certificate, and for TLSA records,
        which must fit what is served.
      - CAA is looked at for UPKI certificates, and with O(caa_issuer) for all.
      - TLSA records count only where DNSSEC secures them (RFC 7671), which a resolver that validates says. Others are
        RV(results[].findings[].code=tlsa_unsecured). Where the resolver does not validate, they are held against what
        is served, and RV(results[].findings[].code=dnssec_unknown) says so.
      - Needs the Python library dnspython where the module runs.
    type: bool
    default: false
  dns_server:
    description: Name server for O(dns), V(address) or V(address:port). The default is the system's resolver. Choose one
      that validates DNSSEC and to which the way is safe.
    type: str
  caa_issuer:
    description: The CA's name in CAA records. The default is V(secomtrust.net), which is right for UPKI.
    type: str
  all_addresses:
    description:
      - Whether each address of a name is looked at, with a result for each. By default the first that answers counts,
        as for a client.
    type: bool
    default: false
  protocols:
    description: Whether to try each version of TLS by itself, RV(results[].protocols).
    type: bool
    default: false
  retries:
    description:
      - How often to try again, after a second, where the reason may pass by itself (a refused or closed connection, a
        timeout, no route, no address).
      - An endpoint that answers only then has the finding RV(results[].findings[].code=retried) with the reasons.
    type: int
    default: 0
  timeout:
    description: Seconds for one attempt at an endpoint - resolution of its name, connection, STARTTLS and handshake
      together.
    type: float
    default: 10
  timeouts:
    description:
      - Seconds for single phases, each within O(timeout), so that a dead host is given up earlier than a slow one.
      - The message of RV(results[].findings[].code=timeout) names the phase whose time was up.
    type: dict
    suboptions:
      resolution:
        description: The name's addresses. Without an answer RV(results[].findings[].code=name_not_resolved).
        type: float
      connection:
        description: The connection to one of the addresses. They share the time.
        type: float
      starttls:
        description: The words before TLS.
        type: float
      handshake:
        description: The TLS handshake.
        type: float
  parallel:
    description: How many endpoints are looked at at the same time.
    type: int
    default: 32
  fail_on:
    description: The task fails when a finding of this or a higher severity exists; all findings are listed then.
    type: str
    choices: [error, warning, never]
    default: error
  reports:
    description:
      - Files to write the results to, on the machine where the module runs. Each is replaced in one step.
      - They follow every run and do not count as a change; in check mode none is written.
    type: list
    elements: dict
    default: []
    suboptions:
      format:
        description:
          - V(json) - RV(results) and RV(counts).
          - V(csv) - one line for each endpoint.
          - V(junit) - JUnit XML with one test case for each endpoint.
          - V(prometheus) - text for node_exporter's textfile collector, with the names of x509-certificate-exporter and
            blackbox_exporter. The expiry stays when an endpoint is not well, beside C(upki_endpoint_valid 0).
        type: str
        required: true
        choices: [csv, json, junit, prometheus]
      path:
        description: The file; its folder must exist.
        type: path
        required: true
  progress_file:
    description:
      - File in which the module writes, twice a second at most, how many of the endpoints were looked at.
      - Where the module runs on the controller, it is made without asking, and removed. Then a run that takes long
        shows a line every ten seconds, on standard error. Where it runs on another machine, the line only says how
        long it has taken.
    type: path
  table:
    description:
      - Whether the controller prints a table of all endpoints, in colour where Ansible prints its own lines in colour.
        Results, RV(summary) and O(reports) have no colour.
      - Nothing is printed for callback plugins whose output is JSON.
    type: bool
    default: false
  query:
    description:
      - JMESPath expression over the whole result, put as RV(query_result) beside it.
      - Evaluated on the controller, which needs the Python library jmespath for this.
    type: str
extends_documentation_fragment:
  - campus.upki.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Nothing on any server is ever changed.
  idempotent:
    support: full
requirements:
  - cryptography >= 3.2
  - jmespath on the controller, for O(query) only
  - dnspython where the module runs, for O(dns) only
seealso:
  - module: campus.upki.info
  - module: campus.upki.install
  - module: community.crypto.get_certificate
notes:
  - The strength of ciphers is not examined; the programs testssl.sh and sslyze do that.
  - On the controller, as the same user and with the Python that runs Ansible, it is done in Ansible's own worker, which
    spares a process for each host. The result is the same.
author:
  - The campus.upki contributors (@campus-upki)
"""

EXAMPLES = r"""
- name: Look at two servers from the controller
  campus.upki.verify:
    endpoints:
      - host: www.example.ac.jp
      - host: 192.0.2.7:8443
        server_name: test.example.ac.jp
        dns_names: [test.example.ac.jp, test2.example.ac.jp]
    warn_before: 30d
  delegate_to: localhost

- name: What a person types at a terminal
  # ansible localhost -m campus.upki.verify -a '{"endpoints": [{"host": "www.example.ac.jp"}]}'
  campus.upki.verify:
    endpoints:
      - host: www.example.ac.jp
    fail_on: never
    query: "results[].{name: server_name, days: days_left, codes: findings[].code}"
"""

RETURN = r"""
results:
  description: One entry for each endpoint or file, in their order - O(endpoints), then O(certificates), then O(files).
  returned: always
  type: list
  elements: dict
  contains:
    host:
      description: The name or address that was connected to; null for files.
      type: str
      sample: www.example.ac.jp
    port:
      description: The TCP port.
      type: int
      sample: 443
    server_name:
      description: The name that was asked for.
      type: str
      sample: www.example.ac.jp
    starttls:
      description: The protocol that was spoken before TLS; null where TLS began at once.
      type: str
    file:
      description: The file that was judged, one of O(files); null for endpoints.
      type: str
      sample: /etc/upki/www.example.ac.jp/live/fullchain.pem
    address:
      description: The IP address that answered; null where none did.
      type: str
      sample: 192.0.2.7
    ok:
      description: Whether no finding of severity error exists.
      type: bool
    trusted:
      description: OpenSSL's own verdict about chain and trust store; null where no handshake came about.
      type: bool
    stores:
      description: Whether clients with each of O(stores) accept the chain; empty where nothing was seen.
      type: dict
      sample: {Debian 12: false, Firefox: true}
    tls_version:
      description: The version agreed upon.
      type: str
      sample: TLSv1.3
    protocols:
      description:
        - With O(protocols) the versions TLSv1, TLSv1.1, TLSv1.2 and TLSv1.3, each true, false, or null where this
          could not be learned; else empty.
      type: dict
      sample: {TLSv1: false, TLSv1.1: false, TLSv1.2: true, TLSv1.3: true}
    attempts:
      description: Which attempt the result comes from, see O(retries); null for files.
      type: int
      sample: 1
    cipher:
      description: The cipher suite agreed upon.
      type: str
      sample: TLS_AES_256_GCM_SHA384
    days_left:
      description: Whole days until the certificate ends, negative after its end; null where no certificate was seen.
      type: int
      sample: 97
    certificate:
      description: The server certificate; null where none was seen.
      type: dict
      contains:
        subject:
          description: Distinguished name in the order of its encoding.
          type: str
          sample: C=JP, ST=tokyo, L=chofu, O=The University of Electro-Communications, CN=www.example.ac.jp
        issuer:
          description: Distinguished name of the issuer.
          type: str
          sample: C=JP, O=SECOM Trust Systems Co., Ltd., CN=NII Open Domain CA - G8 RSA
        serial:
          description: Serial number, decimal, as text because it exceeds what JSON numbers hold exactly.
          type: str
          sample: "133299186361286529352345186124012366605"
        not_before:
          description: Start of validity, UTC.
          type: str
          sample: "2026-10-01T03:00:00Z"
        not_after:
          description: End of validity, UTC.
          type: str
          sample: "2027-04-16T14:59:59Z"
        dns_names:
          description: The dNSNames.
          type: list
          elements: str
        ip_addresses:
          description: The iPAddresses.
          type: list
          elements: str
        key_type:
          description: Kind and size of the key.
          type: str
          sample: rsa2048
        sha256:
          description: Fingerprint of the certificate, hexadecimal.
          type: str
        spki_sha256:
          description: SHA-256 of the public key (SubjectPublicKeyInfo), hexadecimal.
          type: str
        generation:
          description: The UPKI generation that issued it, empty for other CAs.
          type: str
          sample: G8
        role:
          description: Always C(leaf), or what the certificate is where a server serves a CA certificate first.
          type: str
          sample: leaf
    chain:
      description: All certificates as they were sent, the server's own first.
      type: list
      elements: dict
      contains:
        subject:
          description: Distinguished name.
          type: str
        issuer:
          description: Distinguished name of the issuer.
          type: str
        sha256:
          description: Fingerprint, hexadecimal.
          type: str
        not_before:
          description: Start of validity, UTC.
          type: str
        not_after:
          description: End of validity, UTC.
          type: str
        generation:
          description: Generation of a UPKI intermediate, else empty.
          type: str
        role:
          description: One of C(leaf), C(intermediate), C(cross), C(root).
          type: str
    findings:
      description: What is wrong or noteworthy; empty when all is well.
      type: list
      elements: dict
      contains:
        code:
          description: Stable word, see the collection's documentation of findings.
          type: str
          sample: cross_missing
        severity:
          description: One of C(error), C(warning), C(info).
          type: str
          sample: error
        message:
          description: One sentence with the values seen and expected.
          type: str
        fix:
          description: What to type or change.
          type: str
counts:
  description: Number of findings by severity, over all endpoints.
  returned: always
  type: dict
  sample: {error: 1, warning: 0, info: 0}
next_steps:
  description:
    - What remains for a person although the endpoints are well, from O(expected). After a renewal, that the IT centre
      is to be told which old certificate to revoke.
  returned: always
  type: list
  elements: str
summary:
  description: Lines for a person, the most urgent endpoint first, the verdict last.
  returned: always
  type: list
  elements: str
query_result:
  description: What O(query) selected.
  returned: when O(query) is given
  type: raw
"""

import datetime

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.campus.upki.plugins.module_utils import _archive

_archive.compile_once()  # before the imports that it is for

from ansible_collections.campus.upki.plugins.module_utils import (
    _compare,
    _dns,
    _files,
    _reports,
    _requirements,
    _tls,
    _verify,
)
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._findings import count, reaches

ENDPOINT = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int"},
    "server_name": {"type": "str"},
    "starttls": {
        "type": "str",
        "choices": ["ftp", "imap", "ldap", "mysql", "nntp", "pop3", "postgres", "sieve", "smtp", "xmpp"],
    },
    "certificate_sha256": {"type": "str"},
    "dns_names": {"type": "list", "elements": "str"},
}
FILE = {
    "path": {"type": "path", "required": True},
    "server_name": {"type": "str"},
    "certificate_sha256": {"type": "str"},
    "dns_names": {"type": "list", "elements": "str"},
}
REPORT = {
    "format": {"type": "str", "required": True, "choices": ["csv", "json", "junit", "prometheus"]},
    "path": {"type": "path", "required": True},
}
ARGUMENTS = {
    "files": {"type": "list", "elements": "dict", "options": FILE},
    "endpoints": {"type": "list", "elements": "dict", "options": ENDPOINT},
    "certificates": {"type": "list", "elements": "dict"},
    "loopback": {"type": "str", "choices": ["as_written", "by_name"], "default": "as_written"},
    "expected": {"type": "list", "elements": "dict"},
    "ca_file": {"type": "path"},
    "stores": {"type": "dict"},
    "intermediates": {"type": "list", "elements": "path", "default": []},
    "warn_before": {"type": "str", "default": "1/3"},
    "revocation": {"type": "str", "choices": ["none", "crl", "ocsp", "both"], "default": "none"},
    "dns": {"type": "bool", "default": False},
    "dns_server": {"type": "str"},
    "caa_issuer": {"type": "str"},
    "all_addresses": {"type": "bool", "default": False},
    "protocols": {"type": "bool", "default": False},
    "retries": {"type": "int", "default": 0},
    "timeout": {"type": "float", "default": 10.0},
    "timeouts": {
        "type": "dict",
        "options": {
            "resolution": {"type": "float"},
            "connection": {"type": "float"},
            "starttls": {"type": "float"},
            "handshake": {"type": "float"},
        },
    },
    "parallel": {"type": "int", "default": 32},
    "fail_on": {"type": "str", "choices": ["error", "warning", "never"], "default": "error"},
    "reports": {"type": "list", "elements": "dict", "options": REPORT, "default": []},
    "progress_file": {"type": "path"},
    "table": {"type": "bool", "default": False},
    "query": {"type": "str"},
}


ONE_OF = [("endpoints", "certificates", "files")]


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, required_one_of=ONE_OF, supports_check_mode=True)
    _requirements.check(module)
    try:
        answer = run(module.params, module.check_mode)
    except UpkiError as error:
        module.fail_json(**error.result())
    if answer.get("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


def run(params, check_mode):
    """The module's result; also for the action plugin, which needs no process of its own on the controller."""
    results = look(params, datetime.datetime.now(datetime.timezone.utc))
    if not check_mode:
        _reports.write(params["reports"], results)
    findings = _verify.all_findings(results)
    steps = _verify.next_steps(results, params["expected"])
    answer = {
        "changed": False,
        "results": results,
        "counts": count(findings),
        "next_steps": steps,
        "summary": _verify.summary(results, steps),
    }
    if reaches(findings, params["fail_on"]):
        answer.update(failed=True, msg="\n".join(answer["summary"]), reason_code="findings")
    return answer


def look(params, now):
    """The results for the module's options."""
    limits = {phase: seconds for phase, seconds in (params["timeouts"] or {}).items() if seconds is not None}
    _verify.check_bounds(params["timeout"], params["parallel"], params["retries"], limits)
    _reports.check(params["reports"])
    rows = list(params["endpoints"] or [])
    rows += _verify.endpoints_of_certificates(params["certificates"] or [], params["loopback"], params["expected"])
    endpoints = _verify.endpoints_of(rows, limits)
    if params["all_addresses"]:
        endpoints = _verify.each_address(endpoints, params["timeout"], params["parallel"])
    warn_before = _verify.parse_warn_before(params["warn_before"])
    trust = _tls.Trust(params["ca_file"])
    around = _verify.surroundings(trust, params["intermediates"], now, warn_before, params["stores"])
    dns = None
    if params["dns"]:
        resolver = _dns.Resolver(params["timeout"], params["dns_server"])
        dns = {"resolver": resolver, "issuer": params["caa_issuer"]}
    more = (params["protocols"], params["retries"], params["progress_file"])
    extras = _verify.Extras(params["revocation"], open_url, dns, *more)
    results = _verify.run(endpoints, trust, around, params["timeout"], params["parallel"], extras)
    return _compare.with_store(results + _files.run(params["files"] or [], around), params["expected"])


if __name__ == "__main__":
    main()
