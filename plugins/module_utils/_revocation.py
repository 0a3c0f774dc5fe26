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
MAX_URLS = 3  # addresses of one certificate that are asked


def judge_crls(certificate, issuer, crls, now, signers=()):
    """The verdict of the CRLs (bytes), complete ones and deltas, that were found for a certificate.

    signers: further certificates of the issuer whose keys may sign its CRLs, see crl_signers().
    """
    issuers = [issuer] + list(signers)
    reasons, complete, deltas = [], [], []
    for data in crls:
        try:
            crl = _x509.crl_from_bytes(data)
        except UpkiError as error:
            reasons.append(error.message.rstrip("."))
            continue
        if _x509.crl_numbers(crl)[1] is None:
            complete.append(crl)
        elif crl.issuer == issuer.subject:
            deltas.append(crl)
    for crl in complete:
        status, text = _judge_crl(certificate, issuers, crl, deltas, now)
        if status != "unknown":
            return status, text
        reasons.append(text)
    if deltas and not complete:
        reasons.append("the CRL is a delta of another CRL, which was not found")
    return "unknown", "; ".join(reasons) or "no CRL was found"


def _judge_crl(certificate, issuers, crl, deltas, now):
    """The verdict of a complete CRL, mended by deltas of it; a delta that cannot be used leaves good unknown."""
    problem = _unfit(crl, certificate, issuers, now)
    if problem:
        return "unknown", problem
    begun, number = _x509.crl_dates(crl)[0], _x509.crl_numbers(crl)[0]
    verdict = _listed(crl, certificate) or ("good", "not on the CRL of {0}".format(begun.strftime("%Y-%m-%d")))
    for delta in sorted(deltas, key=lambda one: _x509.crl_numbers(one)[0] or 0):
        newer, base = _x509.crl_numbers(delta)
        if newer is not None and newer <= number:
            continue  # the complete CRL says it all
        problem = _unfit(delta, certificate, issuers, now)
        if not problem and base > number:
            problem = "it is a delta of the CRL number {0}, but there is number {1}".format(base, number)
        if problem and verdict[0] == "good":
            return "unknown", "a delta CRL cannot be used: {0}".format(problem)
        verdict = verdict if problem else _listed(delta, certificate) or verdict
    return verdict


def crl_signers(issuer, upper, others, now, is_good):
    """Those of other CA certificates with which the issuer signs CRLs where it keeps a key of its own for that.

    The same CA must have given both, which is `upper`, and must not have revoked it: is_good(certificate). Source:
    RFC 5280, 6.3.3 (f). All are cards, None for upper where the issuer is the trust store's own.
    """
    if upper is None:
        return []
    found = []
    for one in others:
        fits = one["subject"] == issuer["subject"] and one["sha256"] != issuer["sha256"] and _cards.issues(upper, one)
        if fits and _x509.may_sign_crls(one["certificate"]) and _cards.valid(one, now) and is_good(one["certificate"]):
            found.append(one["certificate"])
    return found


def _unfit(crl, certificate, issuers, now):
    """Why a CRL says nothing about a certificate, or ''."""
    begun, ended = _x509.crl_dates(crl)
    for fails, text in (
        (
            lambda: not any(_x509.crl_signed_by(crl, one) for one in issuers),
            "the CRL is not signed by the certificate's issuer",
        ),
        (lambda: _x509.crl_limits(crl), "the CRL cannot be used: {0}".format(_x509.crl_limits(crl))),
        (lambda: _x509.crl_excludes(crl, certificate), "the CRL is about other kinds of certificates"),
        (lambda: begun > now, "the CRL is of the future ({0})".format(begun)),
        (lambda: ended is not None and ended < now, "the CRL has ended on {0}".format(ended)),
    ):
        if fails():
            return text
    return ""


def _listed(crl, certificate):
    """The verdict of a CRL's entry for the certificate, or None where it has none."""
    try:
        entry = _x509.crl_entry(crl, certificate.serial_number)
    except UpkiError as error:
        return "unknown", error.message.rstrip(".")
    if entry is None:
        return None
    if entry[1] == "removeFromCRL":
        return "good", "taken off the CRL again on {0}".format(entry[0].strftime("%Y-%m-%d"))
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


def check(pairs, mode, network, now, stapled=(), others=()):
    """Findings about (certificate card, issuer card) pairs of a chain. mode: crl, ocsp or both.

    stapled: verdicts about the first certificate that the server brought along. others: further certificates at hand,
    among which a CA's own for CRLs may be.
    """
    findings = []
    for place, (row, issuer) in enumerate(pairs):
        verdicts = [] if place else list(stapled)
        upper = pairs[place + 1][1] if place + 1 < len(pairs) else None
        signers = _Signers(issuer, upper, others, network, now)
        verdicts += [_ask(way, row["certificate"], signers, network, now) for way in _ways(mode, row)]
        revoked = [text for status, text in verdicts if status == "revoked"]
        unknown = [text for status, text in verdicts if status == "unknown"]
        if revoked:
            findings.append(finding("revoked", subject=_cards.label(row), text=revoked[0]))
        elif unknown and len(unknown) == len(verdicts):
            findings.append(finding("revocation_unknown", subject=_cards.label(row), text="; ".join(unknown)))
    return findings


class _Signers(object):
    """The certificates that sign an issuer's CRLs; the less usual ones are looked for only where its own did not."""

    def __init__(self, issuer, upper, others, network, now):
        self.certificate = issuer["certificate"]
        self._arguments = (issuer, upper, others, now, lambda one: self._is_good(one, upper, network, now))

    def others(self):
        return crl_signers(*self._arguments)

    @staticmethod
    def _is_good(certificate, upper, network, now):
        return _ask("crl", certificate, _Signers(upper, None, (), network, now), network, now)[0] == "good"


def _ways(mode, row):
    """CAs publish CRLs about intermediates; responders for those are rare, so OCSP is asked of servers only."""
    if mode == "both":
        return ("ocsp", "crl") if not row["ca"] else ("crl",)
    return ("crl",) if row["ca"] else (mode,)


def _ask(way, certificate, signers, network, now):
    urls = _x509.crl_urls(certificate) if way == "crl" else _x509.access_urls(certificate, "ocsp")
    if not urls:
        return "unknown", "the certificate names no {0}".format("CRL" if way == "crl" else "OCSP responder")
    problems = []
    for url in urls[:MAX_URLS]:
        ask = _by_crl if way == "crl" else _by_ocsp
        status, text = ask(url, certificate, signers, network, now)
        if status != "unknown":
            return status, text
        problems.append(text)
    return "unknown", "; ".join(problems)


def _by_ocsp(url, certificate, signers, network, now):
    issuer = signers.certificate
    data, problem = network.ocsp(url, _x509.ocsp_request(certificate, issuer))
    return ("unknown", problem) if data is None else judge_ocsp(certificate, issuer, data, now)


def _by_crl(url, certificate, signers, network, now):
    """A CRL and the deltas that it, or the certificate, names; a good answer counts only with all it names."""
    data, problem = network.crl(url)
    if data is None:
        return "unknown", problem
    deltas, missed = _deltas(data, certificate, network)
    status, text = judge_crls(certificate, signers.certificate, [data] + deltas, now)
    if status == "unknown":
        more = signers.others()
        status, text = (
            judge_crls(certificate, signers.certificate, [data] + deltas, now, more) if more else (status, text)
        )
    if status == "good" and missed and not deltas:
        return "unknown", "its delta CRL is missing, {0}".format("; ".join(missed))
    return status, text


def _deltas(data, certificate, network):
    """([bytes of delta CRLs], [why others could not be had])."""
    try:
        urls = _x509.crl_delta_urls(_x509.crl_from_bytes(data), certificate)
    except UpkiError:
        return [], []
    answers = [network.crl(url) for url in urls[:MAX_URLS]]
    return [found for found, _problem in answers if found], [problem for found, problem in answers if not found]
