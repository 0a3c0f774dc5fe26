# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run over many endpoints: what was asked for, looked at with a bound, judged, summed up."""

import concurrent.futures
import os
import re

from ansible_collections.campus.upki.plugins.module_utils import (
    _cards,
    _compare,
    _dns,
    _judge,
    _lifecycle,
    _match,
    _probe,
    _progress,
    _protocols,
    _revocation,
    _staple,
    _starttls,
    _stores,
    _tls,
    _x509,
)
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._findings import SEVERITIES, count
from ansible_collections.campus.upki.plugins.module_utils._where import place

HOST = re.compile(r"^[A-Za-z0-9_.-]{1,253}$")
ZONE = re.compile(r"^[A-Za-z0-9_.-]{1,64}$")  # of an IPv6 address: fe80::1%eth0
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
NAME = re.compile(r"^(?=.{1,253}$)(" + _LABEL + r"\.)*" + _LABEL + r"\.?$")
NO_HOST = "host '{0}' is no host name or address, with or without ':port' (an IPv6 address with a port in brackets)"
SHA256 = re.compile(r"^[0-9a-f]{64}$")
LOOPBACK = re.compile(r"^(localhost|127\.\d+\.\d+\.\d+|::1)$")
CERTIFICATE_FILES = (".pem", ".cer", ".crt")


# --- what to look at -----------------------------------------------------------------------------------------


def split_host(text):
    """(host, port or None) of 'host', 'host:port', '[v6]:port' or a bare IPv6 address; else the text as it is."""
    match = re.match(r"^\[([^\[\]]*:[^\[\]]*)\](?::(\d{1,5}))?$", text) or re.match(r"^([^:\[\]]+):(\d{1,5})$", text)
    if match:
        return match.group(1), int(match.group(2)) if match.group(2) else None
    return text, None


def is_host(text):
    """A name or an address to connect to; a colon belongs to an IPv6 address only."""
    if ":" in text:
        address, percent, zone = text.partition("%")
        return bool(_match.address(address)) and (not percent or bool(ZONE.match(zone)))
    return bool(HOST.match(text))


def endpoints_of(rows, limits=None):
    """Complete endpoints of the option; UpkiError lists every fault of every row. limits: see check_bounds."""
    faults, endpoints = [], []
    for number, row in enumerate(rows, 1):
        endpoint = dict(_endpoint(row), limits=limits or {})
        wrong = _faults(endpoint)
        faults += ["endpoint {0}: {1}".format(number, text) for text in wrong]
        endpoints.append(endpoint)
    if faults:
        raise UpkiError("endpoint_invalid", "; ".join(faults) + ".", "Correct 'endpoints'.")
    return endpoints


def _endpoint(row):
    host, port = split_host(str(row.get("host") or "").strip())
    if port is None:
        usual = _starttls.PORTS.get(row.get("starttls"), 443)
        port = usual if row.get("port") is None else row["port"]
    digest = re.sub(r"[^0-9A-Za-z]", "", row.get("certificate_sha256") or "").lower()
    return {
        "host": host,
        "port": port,
        "server_name": row.get("server_name") or host,
        "starttls": row.get("starttls") or None,
        "certificate_sha256": digest or None,
        "dns_names": list(row.get("dns_names") or []),
    }


def _faults(endpoint):
    name = endpoint["server_name"]
    digest = endpoint["certificate_sha256"]
    rules = (
        (is_host(endpoint["host"]), NO_HOST.format(endpoint["host"][:80])),
        (1 <= endpoint["port"] <= 65535, "port {0} is not between 1 and 65535".format(endpoint["port"])),
        (
            name == endpoint["host"] or NAME.match(name) or _match.address(name),
            "server_name '{0}' is no DNS name or address".format(name),
        ),
        (
            not endpoint["starttls"] or endpoint["starttls"] in _starttls.PORTS,
            "starttls '{0}' is none of {1}".format(endpoint["starttls"], ", ".join(sorted(_starttls.PORTS))),
        ),
        (not digest or SHA256.match(digest), "certificate_sha256 '{0}' is not 64 hexadecimal digits".format(digest)),
    )
    return [text for holds, text in rules if not holds]


def endpoints_of_certificates(certificates, loopback, expected=None):
    """Rows for `endpoints` of certificates as the roles know them. expected: what campus.upki.info returned."""
    stored = {row.get("name"): row.get("live") or {} for row in expected or []}
    rows, places = [], set()
    for certificate in certificates:
        name = certificate.get("name")
        if not name:
            raise UpkiError("certificate_name_missing", "A certificate has no 'name'.", "Give its FQDN as 'name'.")
        for host, port, starttls in _written_places(certificate):
            if loopback == "by_name" and LOOPBACK.match(host):
                host = name
            if (host, port or 443, name) in places:
                continue  # found on the host, and named in the inventory too
            places.add((host, port or 443, name))
            rows.append(
                {
                    "host": host,
                    "port": port,
                    "server_name": name,
                    "starttls": starttls,
                    "dns_names": certificate.get("dns_names") or [],
                    "certificate_sha256": stored.get(name, {}).get("sha256"),
                }
            )
    return rows


def _written_places(certificate):
    """[(host, port or None, STARTTLS)] of a certificate: one, several, or none where nothing serves it over TLS."""
    name, starttls = certificate["name"], certificate.get("starttls")
    endpoint = certificate.get("public_endpoint") or certificate.get("endpoint")
    if endpoint is None:
        return [(name, None, _starttls.of_certificate(starttls, None))]
    texts = endpoint if isinstance(endpoint, (list, tuple)) else [endpoint]
    return [_written_place(name, str(text), starttls) for text in texts if text]


def _written_place(name, endpoint, starttls):
    """The same form as where the certificate is deployed, and the same error."""
    try:
        return _probe.parse_place(endpoint, starttls)
    except UpkiError as error:
        raise UpkiError(error.code, "{0}: {1}".format(name, error.message), error.fix)


def parse_warn_before(text):
    """As renew_before of campus.upki.request is written, with an error that names this option."""
    try:
        return _lifecycle.parse_renew_before(text)
    except UpkiError as error:
        raise UpkiError("warn_before_invalid", error.message.replace("renew_before", "warn_before"), error.fix)


def check_bounds(timeout, parallel, retries=0, limits=None):
    """UpkiError unless all bounds are sensible. limits: seconds of single phases."""
    for phase, seconds in sorted((limits or {}).items()):
        if seconds is not None and not 0 < seconds <= timeout:
            text = "timeouts.{0} {1:g} is not between 0 and the {2:g} seconds of 'timeout'.".format(
                phase, seconds, timeout
            )
            raise UpkiError("timeout_invalid", text, "Raise 'timeout', or lower it.")
    if not 0 < timeout <= 600:
        raise UpkiError("timeout_invalid", "timeout {0} is not between 0 and 600 seconds.".format(timeout), "Try 10.")
    if not 0 <= retries <= 20:
        raise UpkiError("retries_invalid", "retries {0} is not between 0 and 20.".format(retries), "Try 2.")
    if not 1 <= parallel <= 1000:
        raise UpkiError("parallel_invalid", "parallel {0} is not between 1 and 1000.".format(parallel), "Try 32.")


# --- what is known -------------------------------------------------------------------------------------------


class Anchors(object):
    """The trust store's certificates by subject; each is examined only when a chain asks for its name."""

    def __init__(self, pem):
        self._rows = {}
        for label, der in _x509.pem_blocks(pem):
            if label in ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"):
                self._add(der)

    def _add(self, der):
        try:
            certificate = _x509.certificate_from_der(der)
            subject = _x509.name_text(certificate.subject)
        except Exception:  # one odd root among a hundred and forty must not end the check
            return
        self._rows.setdefault(subject, []).append(certificate)

    def get(self, subject, default=()):
        """The cards of the certificates with this subject."""
        found = self._rows.get(subject)
        if found and not isinstance(found[0], dict):
            found = [_cards.card(certificate) for certificate in found if not _x509.unreadable(certificate)]
            self._rows[subject] = found
        return found or default


def known_cards(paths):
    """The catalogue, and the certificates of the files and folders given as 'intermediates'."""
    cards = []
    for path in paths:
        for name in _files(path):
            cards += [_cards.card(one, name) for one in _certificates(name) if not _x509.unreadable(one)]
    return cards + _cards.known_cards()


def _files(path):
    paths = [path]
    if os.path.isdir(path):
        paths = [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(CERTIFICATE_FILES)]
    return [name for name in paths if os.path.isfile(name)]  # a pipe might never end


def _certificates(path):
    with open(path, "rb") as stream:
        data = stream.read()
    if b"-----BEGIN" in data:
        return _x509.certificates_from_pem(data.decode("ascii", "replace"))
    return [_x509.certificate_from_der(data)]


# --- the run -------------------------------------------------------------------------------------------------


def surroundings(trust, intermediates, now, warn_before, stores=None):
    """What all results of one run share. stores: {name: path} of further trust stores."""
    more = [(name, Anchors(pem)) for name, pem in _stores.load(stores)]
    return _judge.Surroundings(Anchors(trust.pem), trust.name, known_cards(intermediates), now, warn_before, more)


def each_address(endpoints, timeout, parallel):
    """One endpoint for each address of its name; names without an address stay as they are."""

    def places(endpoint):
        try:
            rows = _tls.resolve(endpoint["host"], endpoint["port"], _tls.Clock(timeout, endpoint["limits"]).left())
        except (OSError, ValueError, _tls.SlowResolver):
            return [endpoint]
        found = []
        for row in rows:
            if row[4][0] not in found:
                found.append(row[4][0])
        return [dict(endpoint, connect=one) for one in found]

    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(parallel, len(endpoints) or 1))) as pool:
        return [one for found in pool.map(places, endpoints) for one in found]


class Extras(object):
    """What is looked at on request only.

    opener: see _revocation.Network, needed for revocation. dns: arguments of _dns.check, None for no questions.
    """

    def __init__(self, revocation="none", opener=None, dns=None, protocols=False, retries=0, progress_file=None):
        self.revocation, self.opener, self.dns, self.retries = revocation, opener, dns, retries
        self.progress_file = progress_file
        self.contexts = _protocols.Contexts() if protocols else None


def run(endpoints, trust, around, timeout, parallel, extras=None):
    """The results of all endpoints, in their order."""
    extras = extras or Extras()
    network = _revocation.Network(timeout, extras.opener)
    progress = _progress.Progress(extras.progress_file, len(endpoints))

    def look(endpoint):
        seen = _tls.patient(endpoint, trust, timeout, extras.retries)
        result = _judge.judge(seen, seen, around)
        result["protocols"] = {}
        if result["certificate"]:
            _look_closer(seen, result, around, timeout, network, extras)
        progress.step()
        return result

    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(parallel, len(endpoints) or 1))) as pool:
        return _compare.together(list(pool.map(look, endpoints)))


def _look_closer(seen, result, around, timeout, network, extras):
    """Revocation, DNS and protocols, where they were asked for."""
    asks = extras.revocation != "none" or extras.dns is not None
    pairs = _judge.issued_pairs(seen, around) if asks else []
    if extras.revocation != "none":
        findings, stapled = _staple.check(pairs, seen, timeout, around.now)
        others = _judge.at_hand(seen, around)
        add(result, findings + _revocation.check(pairs, extras.revocation, network, around.now, stapled, others))
    if extras.dns is not None:
        add(result, _dns.check(seen, pairs, **extras.dns))
    if extras.contexts is not None:
        result["protocols"] = _protocols.accepted(_place(seen), extras.contexts, timeout)
        add(result, _protocols.check(seen, result["protocols"]))


def _place(seen):
    """The endpoint of an observation, at the address that answered."""
    kept = {key: seen.get(key) for key in ("host", "port", "server_name", "starttls")}
    return dict(kept, connect=seen["address"])


def add(result, findings):
    """Further findings of a result."""
    result["findings"] += findings
    result["ok"] = result["ok"] and not any(row["severity"] == "error" for row in findings)


# --- the summary ---------------------------------------------------------------------------------------------


def all_findings(results):
    """The findings of all results in one list."""
    return [row for result in results for row in result["findings"]]


def summary(results, steps=()):
    """Lines for a person: each endpoint's state, what to do, what remains, and a last line with the verdict."""
    lines = []
    for result in sorted(results, key=_rank):
        lines.append("{0}: {1}".format(place(result), _state(result)))
        for row in sorted(result["findings"], key=lambda row: SEVERITIES.index(row["severity"])):
            lines.append("  {0} {1}: {2}".format(row["severity"], row["code"], row["message"]))
            lines.append("    → {0}".format(row["fix"]))
    return lines + list(steps) + [verdict(results, steps)]


def _rank(result):
    severities = [SEVERITIES.index(row["severity"]) for row in result["findings"]]
    return (min(severities) if severities else len(SEVERITIES), result["days_left"] or 0)


def _state(result):
    if result["certificate"] is None:
        return "no certificate seen"
    text = "{0}, {1} days left, until {2}, chain of {3}".format(
        "well" if result["ok"] else "WRONG",
        result["days_left"],
        result["certificate"]["not_after"][:10],
        len(result["chain"]),
    )
    accepted = ", ".join(sorted(name for name, holds in (result.get("protocols") or {}).items() if holds))
    text += ", " + result["tls_version"] if result["tls_version"] else ""
    generation = result["certificate"].get("generation")
    text += ", issued by UPKI {0}".format(generation) if generation else ""
    return text + (" (accepts {0})".format(accepted) if accepted else "")


def verdict(results, steps=()):
    """The last line."""
    counts = count(all_findings(results))
    if not results:
        return "No endpoint was looked at."
    looked = _looked_at(results)
    if counts["error"] or counts["warning"]:
        return "{0} looked at: {1}, {2}. Do what the arrows say, most urgent first.".format(
            looked, _plural(counts["error"], "error"), _plural(counts["warning"], "warning")
        )
    if steps:
        return "All is well: {0} looked at. What remains for you stands above.".format(looked)
    return "All is well: {0} looked at, nothing to do.".format(looked)


def _looked_at(results):
    """'2 endpoints and 1 file'"""
    files = sum(1 for result in results if result.get("file"))
    parts = [(len(results) - files, "endpoint"), (files, "file")]
    return " and ".join(_plural(number, word) for number, word in parts if number)


def next_steps(results, expected):
    """What remains for a person after a renewal: the old certificate is not revoked by itself.

    expected: what campus.upki.info returned. A replaced certificate counts while it is still valid, and only once its
    successor is what the endpoint serves.
    """
    served = {row["certificate"]["sha256"] for row in results if row["certificate"]}
    steps = []
    for certificate in expected or []:
        live = certificate.get("live") or {}
        if live.get("sha256") in served:
            steps += [_tell(certificate["name"], row) for row in _replaced(certificate, live)]
    return steps


def _replaced(certificate, live):
    rows = [row for row in certificate.get("generations") or [] if row.get("role") == "old" and row.get("serial")]
    rows = [row for row in rows if (row.get("days_left") or 0) >= 0 and row["serial"] != live.get("serial")]
    before = live.get("replaces") or {}
    ended = before.get("days_left") is not None and before["days_left"] < 0
    if before.get("serial") and not ended and before["serial"] not in [row["serial"] for row in rows]:
        rows.append(before)
    return rows


def _tell(name, row):
    return (
        "Tell the IT centre that {0} has been replaced, so that the old certificate with serial {1} (valid until {2}) "
        "is revoked; if this was done already, nothing remains."
    ).format(name, row["serial"], str(row.get("not_after"))[:10])


def _plural(number, word):
    return "{0} {1}{2}".format(number, word, "" if number == 1 else "s")
