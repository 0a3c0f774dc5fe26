# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What DNS says about certificates: CAA (who may issue, RFC 8659) and TLSA (what must be served, RFC 6698).

Whether DNSSEC secures TLSA records is the resolver's word (the bit AD of its answer), which is believed.

The questions are asked with dnspython, an optional library; the judging functions are pure.
"""

import hashlib
import threading

from ansible_collections.campus.upki.plugins.module_utils import _cards, _match, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._findings import finding
from ansible_collections.campus.upki.plugins.module_utils._judge import is_upki

UPKI_ISSUER = "secomtrust.net"  # source: NII, UPKI certificate issuing service, on CAA records
MAX_NAMES = 100  # names of one certificate whose CAA records are looked up
CRITICAL = 128
USAGES_OF_CAS = (0, 2)  # TLSA: PKIX-TA and DANE-TA; 1 and 3 mean the server certificate


class Unknown(Exception):
    """No answer that could be judged; the text says why."""


class Resolver(object):
    """The system's resolver, or the one at 'address' or 'address:port'; each question is asked once a run."""

    def __init__(self, timeout, server=None):
        self._dns = _library()
        self.timeout = timeout
        self._resolver = _resolver(self._dns, server)
        # AD in the question asks for it in the answer (RFC 6840, 5.7).
        self._resolver.set_flags(self._dns.flags.RD | self._dns.flags.AD)
        self._kept = {}
        self._secured = set()
        self._lock = threading.Lock()

    def caa(self, name):
        """[(flags, tag, value)]"""
        return [
            (row.flags, row.tag.decode("ascii", "replace").lower(), row.value.decode("utf-8", "replace"))
            for row in self._ask(name, "CAA")
        ]

    def tlsa(self, name):
        """[(usage, selector, matching type, bytes)]"""
        return [(row.usage, row.selector, row.mtype, bytes(row.cert)) for row in self._ask(name, "TLSA")]

    def secured(self, name):
        """Whether the resolver says that DNSSEC secures a name's TLSA records; None where it does not look at DNSSEC.

        One that validates says so of the root zone, which is signed.
        """
        self._ask(name, "TLSA")
        if (name, "TLSA") in self._secured:
            return True
        try:
            self._ask(".", "SOA")
        except Unknown:
            return None
        return False if (".", "SOA") in self._secured else None

    def _ask(self, name, kind):
        with self._lock:
            found = self._kept.get((name, kind))
        if found is None:
            found = self._answer(name, kind)
            with self._lock:
                self._kept[(name, kind)] = found
        rows, problem = found
        if problem:
            raise Unknown(problem)
        return rows

    def _answer(self, name, kind):
        ask = getattr(self._resolver, "resolve", None) or self._resolver.query  # 2.0 and later, or older
        try:
            answer = ask(name.rstrip(".") + ".", kind, lifetime=self.timeout)
            if answer.response.flags & self._dns.flags.AD:
                self._secured.add((name, kind))
            return list(answer), ""
        except (self._dns.resolver.NXDOMAIN, self._dns.resolver.NoAnswer):
            return [], ""
        except (self._dns.exception.DNSException, OSError, ValueError) as error:
            return [], "{0} of '{1}': {2}".format(kind, name, str(error)[:200] or type(error).__name__)


def _library():
    """dnspython, imported only when it is wanted."""
    try:
        import dns.exception
        import dns.flags
        import dns.resolver
    except Exception as error:  # missing, or made for another Python
        raise UpkiError(
            "dnspython_missing",
            "The option 'dns' needs the Python library dnspython on the machine where the check runs ({0}).".format(
                error
            ),
            "Install it there (python3-dnspython in Debian, python3-dns in Red Hat, or pip install dnspython).",
        )
    return dns


def _resolver(dns, server):
    if not server:
        try:
            return dns.resolver.Resolver()
        except (dns.exception.DNSException, OSError) as error:
            raise UpkiError(
                "dns_server_missing",
                "The system's resolver is not configured ({0}).".format(error),
                "Give a name server as 'dns_server'.",
            )
    address, port = server, 53
    if server.startswith("[") or server.count(":") == 1:
        address, _colon, number = server.rpartition(":")
        address, port = address.strip("[]"), int(number) if number.isdigit() else 0
    if not _match.address(address) or not 1 <= port <= 65535:
        raise UpkiError(
            "dns_server_invalid",
            "dns_server '{0}' is neither an IP address nor 'address:port'.".format(server),
            "Write it like 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53.",
        )
    made = dns.resolver.Resolver(configure=False)
    made.nameservers, made.port = [address], port
    return made


def check(seen, pairs, resolver, issuer=None):
    """Findings about one observation. pairs: as for _revocation.check; issuer: the CA's name in CAA records."""
    if not seen["chain"]:
        return []
    leaf = _cards.card(_x509.certificate_from_der(seen["chain"][0]))
    ders = list(seen["chain"]) + [_x509.der(above["certificate"]) for _below, above in pairs]
    findings = []
    for part in (lambda: _caa(leaf, resolver, issuer), lambda: _tlsa(seen, ders, resolver)):
        try:
            findings += part()
        except Unknown as error:
            findings.append(finding("dns_unknown", text=error))
    return findings


# --- CAA -----------------------------------------------------------------------------------------------------


def _caa(leaf, resolver, issuer):
    """Whether the CA might issue these names again; of other CAs' certificates nothing is said unless asked."""
    if not issuer and not is_upki(leaf):
        return []
    wanted = (issuer or UPKI_ISSUER).lower()
    refused = {}
    for name in _x509.dns_names(leaf["certificate"])[:MAX_NAMES]:
        domain, records = _relevant(name, resolver)
        if not caa_allows(records, wanted, name.startswith("*.")):
            refused.setdefault((domain, tuple(records)), []).append(name)
    return [
        finding(
            "caa_forbids",
            domain=domain,
            records=", ".join('{0} {1} "{2}"'.format(*row) for row in records[:10]),
            issuer=wanted,
            names=", ".join("'{0}'".format(name) for name in names[:10]),
        )
        for (domain, records), names in sorted(refused.items())
    ]


def _relevant(name, resolver):
    """(domain, its CAA records): of the name itself or of the nearest domain above that has some."""
    labels = (name[2:] if name.startswith("*.") else name).split(".")
    for place in range(len(labels)):
        domain = ".".join(labels[place:])
        records = resolver.caa(domain)
        if records:
            return domain, records
    return "", []


def caa_allows(records, issuer, wildcard):
    """Source: RFC 8659, sections 4 and 5. No record at all allows every CA."""
    if any(flags & CRITICAL and tag not in ("issue", "issuewild", "iodef") for flags, tag, _value in records):
        return False
    tags = [tag for _flags, tag, _value in records]
    tag = "issuewild" if wildcard and "issuewild" in tags else "issue"
    rows = [value for _flags, of_tag, value in records if of_tag == tag]
    return not rows or issuer in [value.partition(";")[0].strip().lower().rstrip(".") for value in rows]


# --- TLSA ----------------------------------------------------------------------------------------------------


def _tlsa(seen, ders, resolver):
    if _match.address(seen["server_name"]):
        return []
    owner = "_{0}._tcp.{1}".format(seen["port"], seen["server_name"].rstrip("."))
    records = resolver.tlsa(owner)
    if not records:
        return []
    values = {
        "owner": owner,
        "records": ", ".join("{0} {1} {2} {3}".format(*row[:3] + (row[3].hex()[:16] + "…",)) for row in records[:5]),
    }
    fits = any(tlsa_matches(row, ders) for row in records)
    secured = resolver.secured(owner)
    if secured is False:  # clients must ignore them, right or wrong (RFC 7671, section 2; RFC 6698, 4.1)
        return [finding("tlsa_unsecured", would="would" if fits else "would not", **values)]
    findings = [finding("dnssec_unknown", owner=owner)] if secured is None else []
    if not fits:
        spki = _x509.spki_sha256(_x509.certificate_from_der(ders[0]).public_key())
        findings.insert(0, finding("tlsa_mismatch", spki=spki, **values))
    return findings


def tlsa_matches(record, ders):
    """Whether a record fits what was served (the server certificate first, CAs after it)."""
    usage, selector, kind, data = record
    rows = ders[1:] if usage in USAGES_OF_CAS else ders[:1] if usage in (1, 3) else []
    digest = {0: bytes, 1: _sha256, 2: _sha512}.get(kind)
    return digest is not None and any(digest(_selected(der, selector)) == data for der in rows)


def _selected(der, selector):
    """The whole certificate or its public key; of an unreadable certificate nothing fits."""
    if selector == 0:
        return der
    try:
        return _x509.spki_der(_x509.certificate_from_der(der).public_key()) if selector == 1 else b""
    except Exception:  # hostile bytes; the reader of chains says what is wrong with them
        return b""


def _sha256(data):
    return hashlib.sha256(data).digest()


def _sha512(data):
    return hashlib.sha512(data).digest()
