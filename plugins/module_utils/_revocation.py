# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a certificate is revoked, by CRL and by OCSP. What cannot be learned is said; silence never counts as good.

A verdict is (status, text): status `good`, `revoked` or `unknown`. The judging functions are pure; `Network` fetches.
"""

import threading
import urllib.parse

from ansible_collections.campus.upki.plugins.module_utils import _cards, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._findings import finding

LARGEST = 32 * 1024 * 1024  # bytes of a CRL; those of large public CAs have some megabytes
REDIRECTIONS = (301, 302, 303, 307, 308)
MAX_REDIRECTIONS = 3


def judge_crls(certificate, issuer, crls, now):
    """The verdict of the CRLs (bytes) that were found for a certificate."""
    reasons = []
    for data in crls:
        status, text = _judge_crl(certificate, issuer, data, now)
        if status != "unknown":
            return status, text
        reasons.append(text)
    return "unknown", "; ".join(reasons) or "no CRL was found"


def _judge_crl(certificate, issuer, data, now):
    try:
        crl = _x509.crl_from_bytes(data)
    except UpkiError as error:
        return "unknown", error.message.rstrip(".")
    begun, ended = _x509.crl_dates(crl)
    for fails, text in (
        (lambda: not _x509.crl_signed_by(crl, issuer), "the CRL is not signed by the certificate's issuer"),
        (lambda: _x509.crl_limits(crl), "the CRL cannot be used: {0}".format(_x509.crl_limits(crl))),
        (lambda: _x509.crl_excludes(crl, certificate), "the CRL is about other kinds of certificates"),
        (lambda: begun > now, "the CRL is of the future ({0})".format(begun)),
        (lambda: ended is not None and ended < now, "the CRL has ended on {0}".format(ended)),
    ):
        if fails():
            return "unknown", text
    try:
        entry = _x509.crl_entry(crl, certificate.serial_number)
    except UpkiError as error:
        return "unknown", error.message.rstrip(".")
    if entry is None or entry[1] == "removeFromCRL":
        return "good", "not on the CRL of {0}".format(begun.strftime("%Y-%m-%d"))
    return "revoked", "on {0}, reason {1}, by CRL".format(entry[0].strftime("%Y-%m-%d"), entry[1])


def judge_ocsp(certificate, issuer, data, now):
    """The verdict of an OCSP answer (bytes)."""
    try:
        answer = _x509.ocsp_answer(data, certificate, issuer)
    except UpkiError as error:
        return "unknown", error.message.rstrip(".")
    if not answer["signed"]:
        return "unknown", "the OCSP answer is about another certificate or not signed by the issuer"
    if answer["this"] > now or (answer["next"] is not None and answer["next"] < now):
        return "unknown", "the OCSP answer is not of this time ({0} to {1})".format(answer["this"], answer["next"])
    if answer["status"] == "revoked":
        text = "on {0}, reason {1}, by OCSP".format(answer["date"].strftime("%Y-%m-%d"), answer["reason"])
        return "revoked", text
    if answer["status"] == "good":
        return "good", "OCSP of {0}".format(answer["this"].strftime("%Y-%m-%d"))
    return "unknown", "the OCSP responder does not know this certificate"


# --- fetching ------------------------------------------------------------------------------------------------


class Network(object):
    """Fetches over HTTP, each CRL once a run, bounded in time and size.

    opener: ansible.module_utils.urls.open_url, which knows the host's proxies, or a function with its arguments.
    """

    def __init__(self, timeout, opener):
        self.timeout = timeout
        self.opener = opener
        self._kept = {}
        self._locks = {}
        self._lock = threading.Lock()

    def crl(self, url):
        """(bytes, '') or (None, why not)."""
        with self._lock:
            lock = self._locks.setdefault(url, threading.Lock())
        with lock:
            if url not in self._kept:
                self._kept[url] = self._within_time(url)
            return self._kept[url]

    def ocsp(self, url, request):
        """(bytes, '') or (None, why not)."""
        return self._within_time(url, data=request, headers={"Content-Type": "application/ocsp-request"})

    def _within_time(self, url, **more):
        """The opener's timeout is one for each packet; a server that trickles is given up after twice that."""
        found = []
        worker = threading.Thread(target=lambda: found.append(self._fetch(url, **more)), daemon=True)
        worker.start()
        worker.join(2 * self.timeout)
        return found[0] if found else (None, "{0}: no complete answer in time".format(url))

    def _fetch(self, url, **more):
        """Redirections are followed by hand, because a certificate's address may lead to http and https only."""
        place = url
        for _step in range(MAX_REDIRECTIONS + 1):
            if not place.lower().startswith(("http://", "https://")):
                return None, "{0} is no http address".format(place)
            try:
                with self.opener(place, timeout=self.timeout, follow_redirects="none", **more) as answer:
                    data = answer.read(LARGEST + 1)
            except Exception as error:  # OSErrors, http.client's own, and Ansible's
                place = _moved(place, error, more)
                if place is None:
                    return None, "{0}: {1}".format(url, _words(error))
                continue
            return (None, "{0} gives more than {1} bytes".format(url, LARGEST)) if len(data) > LARGEST else (data, "")
        return None, "{0}: more than {1} redirections".format(url, MAX_REDIRECTIONS)


def _moved(place, error, more):
    """The address that a redirection leads to; None for any other error, and for a request with a body."""
    headers = getattr(error, "headers", None)
    if getattr(error, "code", None) not in REDIRECTIONS or not headers or more:
        return None
    return urllib.parse.urljoin(place, headers.get("Location") or "")


def _words(error):
    if hasattr(error, "code") or isinstance(error, ValueError):
        return error
    return getattr(error, "reason", None) or str(error) or type(error).__name__


# --- both together -------------------------------------------------------------------------------------------


def check(pairs, mode, network, now):
    """Findings about (certificate card, issuer card) pairs of a chain. mode: crl, ocsp or both."""
    findings = []
    for row, issuer in pairs:
        verdicts = [_ask(way, row["certificate"], issuer["certificate"], network, now) for way in _ways(mode, row)]
        revoked = [text for status, text in verdicts if status == "revoked"]
        unknown = [text for status, text in verdicts if status == "unknown"]
        if revoked:
            findings.append(finding("revoked", subject=_cards.label(row), text=revoked[0]))
        elif unknown and len(unknown) == len(verdicts):
            findings.append(finding("revocation_unknown", subject=_cards.label(row), text="; ".join(unknown)))
    return findings


def _ways(mode, row):
    """CAs publish CRLs about intermediates; responders for those are rare, so OCSP is asked of servers only."""
    if mode == "both":
        return ("ocsp", "crl") if not row["ca"] else ("crl",)
    return ("crl",) if row["ca"] else (mode,)


def _ask(way, certificate, issuer, network, now):
    urls = _x509.crl_urls(certificate) if way == "crl" else _x509.access_urls(certificate, "ocsp")
    if not urls:
        return "unknown", "the certificate names no {0}".format("CRL" if way == "crl" else "OCSP responder")
    problems = []
    for url in urls[:3]:
        if way == "crl":
            data, problem = network.crl(url)
        else:
            data, problem = network.ocsp(url, _x509.ocsp_request(certificate, issuer))
        if data is None:
            problems.append(problem)
            continue
        judge = judge_ocsp if way == "ocsp" else _judge_crl
        status, text = judge(certificate, issuer, data, now)
        if status != "unknown":
            return status, text
        problems.append(text)
    return "unknown", "; ".join(problems)
