# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connect, shake hands, and bring home what the server sent. No judgement here.

An *observation* is a dict of plain facts: host, port, server_name, address, error (None or code, phase, text),
trusted (OpenSSL's own verdict, None where none was reached), verify_text, version, cipher, chain (DER bytes, leaf
first), whole_chain (False where this Python can show the leaf only), verified (the path that OpenSSL found, DER).

Two things are deliberate. The handshake accepts old protocols and weak keys, because the aim is to see and name
them. And a chain that OpenSSL refuses is fetched by a second connection without verification, because a failed
handshake does not show what was sent.
"""

import errno
import os
import socket
import ssl
import threading
import time
import warnings

from ansible_collections.campus.upki.plugins.module_utils import _match, _s_client, _starttls
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

# Where distributions keep the trust store as one file: Debian, Red Hat, SUSE, Alpine and the BSDs.
SYSTEM_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
# OpenSSL's reasons for "the other side does not speak TLS".
NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "UNKNOWN_PROTOCOL",
    "UNSUPPORTED_PROTOCOL_VERSION",
    "PACKET_LENGTH_TOO_LONG",
    "DATA_LENGTH_TOO_LONG",
    "ENCRYPTED_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "BAD_RECORD_TYPE",
    "UNEXPECTED_RECORD",
)
# ... and for "only versions that this OpenSSL does not offer".
TOO_OLD = ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW")
# Reasons that may have gone a second later: a restart, a full queue, a route.
PASSING = ("timeout", "connection_refused", "connection_closed", "host_unreachable", "name_not_resolved")
PAUSE = 1  # seconds before the next attempt
# The parts of one attempt that can have a time of their own, and how sentences call them.
PHASES = {
    "resolution": "name resolution",
    "connection": "connection",
    "starttls": "STARTTLS",
    "handshake": "TLS handshake",
}
SHORTEST = 0.1  # seconds that a step has even when the time is up, so that it fails by its own reason
UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.EADDRNOTAVAIL)


class SlowResolver(Exception):
    """No answer about a name within its time."""


class Clock(object):
    """The time of one attempt: for all together, and for each phase where it has a time of its own."""

    def __init__(self, timeout, limits=None):
        self.timeout, self.limits = timeout, limits or {}
        self.end = time.time() + timeout
        self.enter("resolution")

    def enter(self, phase):
        """A phase begins."""
        self.phase = phase
        self.seconds = min(self.timeout, self.limits.get(phase) or self.timeout)  # for the sentence about a timeout
        self.deadline = min(self.end, time.time() + self.seconds)

    def left(self):
        """Seconds that the phase has left, never none."""
        return max(SHORTEST, self.deadline - time.time())

    def is_over(self):
        return time.time() >= self.deadline


class Trust(object):
    """A trust store: its name for messages, its certificates as PEM text, and the two contexts made of it."""

    def __init__(self, ca_file=None):
        self.path = ca_file or system_store()
        self.name = ca_file or "the system's, {0}".format(self.path)
        self.pem = _read(self.path)
        self.strict = new_context()
        try:
            self.strict.load_verify_locations(cadata=self.pem)
        except (ssl.SSLError, ValueError) as error:
            raise UpkiError(
                "ca_file_broken",
                "The trust store '{0}' holds no certificate that OpenSSL can read ({1}).".format(self.path, error),
                "Give a PEM file with the roots, one after the other.",
            )
        self.strict.verify_mode = ssl.CERT_REQUIRED
        self.lenient = new_context()


def system_store():
    """The path of the system's trust store as one PEM file."""
    paths = ssl.get_default_verify_paths()
    for path in (os.environ.get(paths.openssl_cafile_env), paths.cafile) + SYSTEM_STORES:
        if path and os.path.isfile(path):
            return path
    raise UpkiError(
        "ca_file_missing",
        "This system has no trust store at any of the usual places ({0}).".format(", ".join(SYSTEM_STORES)),
        "Install the package 'ca-certificates', or give 'ca_file'.",
    )


def _read(path):
    """PEM text of a file, or of all .pem, .crt and .cer files of a folder."""
    files = [path]
    if os.path.isdir(path):
        files = [
            os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith((".pem", ".crt", ".cer"))
        ]
    try:
        texts = []
        for name in files:
            with open(name, "rb") as stream:
                texts.append(stream.read().decode("ascii", "replace"))
    except OSError as error:
        raise UpkiError(
            "ca_file_missing",
            "The trust store '{0}' cannot be read ({1}).".format(path, error.strerror),
            "Give the path of a PEM file on the machine where the check runs.",
        )
    # Bundles may carry comments in any encoding; OpenSSL wants ASCII.
    return "\n".join(texts).replace("\ufffd", "?")


def new_context():
    """A client's context that takes any certificate, old versions and weak keys, in order to see them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if hasattr(ssl, "PROTOCOL_TLS_CLIENT") else ssl.PROTOCOL_TLS)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
    if hasattr(ssl, "TLSVersion"):
        with warnings.catch_warnings():  # Python says that these versions are old; so will the finding
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
    # Without aNULL: a mail server that prefers anonymous suites would answer without any certificate.
    try:
        context.set_ciphers("ALL:!aNULL:@SECLEVEL=0")
    except ssl.SSLError:  # OpenSSL before 1.1.0 and LibreSSL know no levels
        context.set_ciphers("ALL:!aNULL")
    return context


def probe(endpoint, trust, timeout):
    """The observation of one endpoint {host, port, server_name}. Never raises for what a server does."""
    seen = dict(
        endpoint, address=None, error=None, trusted=None, verify_text="", version=None, cipher=None, seconds=timeout
    )
    seen.update(chain=[], whole_chain=True, verified=[])
    refused = attempt(seen, trust.strict, timeout)
    if getattr(refused, "reason", None) == "CERTIFICATE_VERIFY_FAILED":
        # verify_message exists from Python 3.7 on
        seen.update(trusted=False, verify_text=getattr(refused, "verify_message", str(refused)), error=None)
        attempt(seen, trust.lenient, timeout)
    if seen["error"] and seen["error"]["code"] == "handshake_failed" and not is_address(seen["server_name"]):
        seen["without_name"] = _without_name(seen, trust, timeout)
    if seen["chain"] and not seen["whole_chain"]:
        found = _s_client.chain(seen, seen["chain"][0], timeout)
        if found:
            seen.update(chain=found, whole_chain=True)
    return seen


def is_address(name):
    """Addresses are never sent as a server name."""
    return bool(_match.address(name))


def _without_name(seen, trust, timeout):
    """The certificate (DER) that a client gets that asks for no name where the name is refused; None for no answer."""
    again = dict(seen, server_name=None, error=None, chain=[])
    attempt(again, trust.lenient, timeout)
    return again["chain"][0] if again["chain"] else None


def patient(endpoint, trust, timeout, retries):
    """As probe(), again where a reason passes by itself; `earlier` has the reasons, `attempts` their number."""
    earlier = []
    while True:
        seen = probe(endpoint, trust, timeout)
        seen.update(earlier=earlier, attempts=len(earlier) + 1)
        if not seen["error"] or seen["error"]["code"] not in PASSING or len(earlier) >= retries:
            return seen
        earlier = earlier + [seen["error"]["code"]]
        time.sleep(PAUSE)


def attempt(seen, context, timeout):
    """One connection; fills in what was seen and returns the exception that ended it, or None."""
    clock = Clock(timeout, seen.get("limits"))
    try:
        plain = _connect(seen, clock)
        with plain:
            if seen.get("starttls"):
                clock.enter("starttls")
                _starttls.upgrade(plain, seen["starttls"], seen["server_name"] or seen["host"], clock.deadline)
            clock.enter("handshake")
            plain.settimeout(clock.left())
            with context.wrap_socket(plain, server_hostname=seen["server_name"]) as tls:
                _note(seen, tls, context)
        return None
    except _starttls.Refused as error:
        seen["error"] = {"code": "starttls_refused", "text": str(error), "phase": PHASES[clock.phase]}
        return error
    except (OSError, ValueError, SlowResolver) as error:  # ssl.SSLError and socket.gaierror are OSErrors
        seen["error"] = dict(explain(error), phase=PHASES[clock.phase])
        seen["seconds"] = clock.seconds
        return error


def _connect(seen, clock):
    """A connection to the first address of the name that answers; the last one's exception where none does.

    The time is shared out among the addresses, so that one that is silent leaves some for the others.
    """
    rows = resolve(seen.get("connect") or seen["host"], seen["port"], clock.left())
    clock.enter("connection")
    refused = None
    for place, (family, kind, protocol, _name, address) in enumerate(rows):
        if refused is not None and clock.is_over():
            break
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(clock.left() / (len(rows) - place))
            plain.connect(address)
        except OSError as error:
            plain.close()
            refused = error
            continue
        seen["address"] = address[0]
        return plain
    raise refused


def addresses(host, port):
    """What socket.getaddrinfo gives for TCP."""
    return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)


def resolve(host, port, seconds):
    """As addresses(), within a time: the system's resolver has none, and may hang for minutes.

    A question without an answer is left to its thread, which ends with the resolver's own patience or the program.
    """
    try:  # an address asks nobody
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        pass
    answers = []

    def ask():
        try:
            answers.append((addresses(host, port), None))
        except (OSError, UnicodeError) as error:
            answers.append((None, error))

    worker = threading.Thread(target=ask, daemon=True)
    worker.start()
    worker.join(seconds)
    if not answers:
        raise SlowResolver(host)
    rows, error = answers[0]
    if error is not None:
        raise error
    return rows


def _note(seen, tls, context):
    seen["version"] = tls.version()
    seen["cipher"] = (tls.cipher() or [None])[0]
    if context.verify_mode == ssl.CERT_REQUIRED:
        seen["trusted"] = True
        seen["verified"] = _chain_by(tls, "get_verified_chain") or []
    seen["chain"], seen["whole_chain"] = served_chain(tls)


def served_chain(tls):
    """([DER, …] as sent, True), or ([leaf], False) where this Python cannot show more."""
    chain = _chain_by(tls, "get_unverified_chain")
    if chain is not None:
        return chain, True
    leaf = tls.getpeercert(binary_form=True)
    return ([leaf] if leaf else []), False


def _chain_by(tls, method):
    """[DER, …], or None where this Python does not have the method."""
    if hasattr(tls, method):  # 3.13 and later
        return [bytes(row) for row in getattr(tls, method)()]
    inner = getattr(tls, "_sslobj", None)
    if hasattr(inner, method):  # 3.10 to 3.12
        return [row.public_bytes(ssl._ssl.ENCODING_DER) for row in getattr(inner, method)() or []]
    return None


def explain(error):
    """{'code': of the table, 'text': what was said} of an exception that a connection ended with."""
    if isinstance(error, SlowResolver):
        return {"code": "name_not_resolved", "text": "no answer in time", "variant": "slow"}
    if isinstance(error, socket.gaierror):
        return {"code": "name_not_resolved", "text": error.strerror or str(error)}
    if isinstance(error, UnicodeError):
        return {"code": "name_not_resolved", "text": "it is not a possible host name"}
    if isinstance(error, socket.timeout):
        return {"code": "timeout", "text": "timed out"}
    if isinstance(error, ssl.SSLError):
        return _explain_tls(error)
    if isinstance(error, ConnectionRefusedError):
        return {"code": "connection_refused", "text": "refused"}
    if isinstance(error, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)):
        return {"code": "connection_closed", "text": "reset"}
    if isinstance(error, OSError) and error.errno == errno.ETIMEDOUT:
        return {"code": "timeout", "text": "timed out"}
    if isinstance(error, OSError) and error.errno in UNREACHABLE:
        return {"code": "host_unreachable", "text": error.strerror}
    return {"code": "handshake_failed", "text": str(error)}


def _explain_tls(error):
    reason = getattr(error, "reason", None) or ""
    # The same event by Python: 3.10 and later, 3.8 and 3.9, older ones (which misname the reason of OpenSSL 3).
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or "unexpected eof" in str(error):
        return {"code": "connection_closed", "text": "closed"}
    text = reason.replace("_", " ").lower() or str(error)
    if reason in TOO_OLD:
        return {"code": "old_protocol", "text": text}
    return {"code": "not_tls" if reason in NOT_TLS else "handshake_failed", "text": text}
