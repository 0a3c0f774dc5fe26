# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""X.509 objects, with the differences between cryptography 3.2 and the newest hidden here.

No other file of the collection imports cryptography, except the practice CA. Where the library is missing,
importing this file still works and IMPORT_ERROR says why, so that _requirements.py can tell the operator.
"""

import base64
import binascii
import datetime
import hashlib
import re
import sys
import warnings

try:
    from cryptography import x509
    from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.backends import default_backend
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
    from cryptography.x509 import ocsp
    from cryptography.x509.oid import ExtensionOID, NameOID

    # All that the library raises at malformed or exotic input; the last three are no ValueErrors.
    BROKEN = (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    )
    IMPORT_ERROR = None
except ImportError as error:  # reported by the module, see _requirements.py
    BROKEN = (ValueError, TypeError)
    IMPORT_ERROR = error

from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._keys import KEY_TYPES

MINIMUM_CRYPTOGRAPHY = (3, 2)
PEM_MARKER = re.compile(r"-----(BEGIN|END) ([A-Z0-9 ]+)-----")
CERTIFICATE_LABELS = ("CERTIFICATE", "X509 CERTIFICATE")
REQUEST_LABELS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "1.2.840.113549.1.9.1": "emailAddress",
}
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
ANY_USAGE = "2.5.29.37.0"
OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"


def installed_version():
    """cryptography's version as text, or '' when it is missing; known also where a part of it cannot be imported."""
    return getattr(sys.modules.get("cryptography"), "__version__", "")


# --- reading ---------------------------------------------------------------------------------------------


def pem_blocks(text):
    """[(label, DER bytes)] of every PEM block in the text, in order; a broken or cut-off one raises UpkiError."""
    blocks = []
    markers = list(PEM_MARKER.finditer(text))
    for begin, end in zip(markers, markers[1:] + [None]):
        label = begin.group(2)
        if begin.group(1) == "END" or label.startswith("PGP "):  # a mail's signature is no object of ours
            continue
        if end is None or end.groups() != ("END", label):
            raise UpkiError(
                "pem_broken",
                "A PEM block '{0}' begins and does not end.".format(label),
                "The file is cut off: take it again from where it came from.",
            )
        blocks.append((label, _pem_body(label, text[begin.end() : end.start()])))
    return blocks


def _pem_body(label, body):
    # An encrypted key of the old form has header lines ("Proc-Type: …") and an empty line before its body.
    if ":" in body:
        body = re.split(r"\r?\n[ \t]*\r?\n", body, maxsplit=1)[-1]
    try:
        return base64.b64decode("".join(body.split()).encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise UpkiError(
            "pem_broken",
            "A PEM block '{0}' is not valid base64.".format(label),
            "Take the file again from where it came from.",
        )


def certificate_from_der(der):
    """An x509.Certificate; UpkiError `certificate_broken` when the bytes are none."""
    try:
        with warnings.catch_warnings():
            # Security Communication RootCA2 has serial number 0, which newer versions warn about.
            warnings.simplefilter("ignore")
            return x509.load_der_x509_certificate(der, default_backend())
    except BROKEN as error:
        raise UpkiError("certificate_broken", "This is not a valid X.509 certificate ({0}).".format(error))


def checked_certificate(data):
    """certificate_from_der for data of unknown origin: also what is read later (names, dates, key) must be readable."""
    certificate = certificate_from_der(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            certificate.public_key()
            len(certificate.extensions)
            for name in (certificate.subject, certificate.issuer):
                name_text(name)
            not_before(certificate)
            not_after(certificate)
            sha256(certificate)
    except BROKEN + (KeyError,) as error:  # KeyError: cryptography 36 to 41, a name with an unknown kind of string
        raise UpkiError("certificate_broken", "This certificate cannot be used ({0}).".format(error))
    return certificate


def certificates_from_pem(text):
    """All certificates of a PEM text, in their order."""
    return [certificate_from_der(data) for label, data in pem_blocks(text) if label in CERTIFICATE_LABELS]


def request_from_pem(text):
    """The x509.CertificateSigningRequest in a PEM text, the first where there are several."""
    try:
        requests = [data for label, data in pem_blocks(text) if label in REQUEST_LABELS]
    except UpkiError as error:
        raise UpkiError("csr_broken", "This is not a valid CSR ({0})".format(error.message), error.fix)
    if not requests:
        raise UpkiError("csr_broken", "This is not a valid CSR (there is no PEM block 'CERTIFICATE REQUEST').")
    return request_from_der(requests[0])


def request_from_der(data):
    """The x509.CertificateSigningRequest in DER bytes; its subject can be read too."""
    try:
        request = x509.load_der_x509_csr(data, default_backend())
        name_text(request.subject)
        return request
    except BROKEN as error:
        raise UpkiError("csr_broken", "This is not a valid CSR ({0}).".format(error))


def request_unread(data):
    """The request in DER bytes, its subject not looked at: for a caller that reads thousands of them its own way."""
    try:
        return x509.load_der_x509_csr(data, default_backend())
    except BROKEN as error:
        raise UpkiError("csr_broken", "This is not a valid CSR ({0}).".format(error))


def private_key_from_pem(data):
    """An unencrypted private key; UpkiError `key_encrypted` or `key_broken` without a word of its content."""
    try:
        return serialization.load_pem_private_key(data, None, default_backend())
    except TypeError:
        raise UpkiError(
            "key_encrypted",
            "The private key has a passphrase.",
            "Remove it (openssl pkey -in key.pem -out new.pem): a server cannot start with it unattended.",
        )
    except (ValueError, UnsupportedAlgorithm):
        raise UpkiError("key_broken", "The private key cannot be read as PEM.")


def certificates_from_pkcs7(data):
    """All certificates of a PKCS#7 structure in DER, in its order, which says nothing."""
    # Here, since it brings the library for mail along, and what runs on hosts never comes by.
    from cryptography.hazmat.primitives.serialization import pkcs7

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(pkcs7.load_der_pkcs7_certificates(data))
    except BROKEN + (InternalError,) as error:
        raise UpkiError("pkcs7_broken", "This is not a readable PKCS#7 file ({0}).".format(error))


# --- facts of a certificate, request or key --------------------------------------------------------------


def der(certificate):
    """DER bytes of a certificate or request."""
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(certificate):
    """Clean PEM text of a certificate or request, with a final newline."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def sha256(certificate):
    """SHA-256 fingerprint, lower-case hexadecimal without colons."""
    return hashlib.sha256(der(certificate)).hexdigest()


def spki_der(public_key):
    """SubjectPublicKeyInfo in DER: what two equal keys share in every version of the library."""
    return public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def spki_sha256(public_key):
    """SHA-256 of the SubjectPublicKeyInfo, lower-case hexadecimal."""
    return hashlib.sha256(spki_der(public_key)).hexdigest()


def _utc(certificate, name):
    value = getattr(certificate, name + "_utc", None)  # cryptography 42 and later
    return value or getattr(certificate, name).replace(tzinfo=datetime.timezone.utc)


def not_before(certificate):
    """Start of validity, aware datetime in UTC."""
    return _utc(certificate, "not_valid_before")


def not_after(certificate):
    """End of validity, aware datetime in UTC."""
    return _utc(certificate, "not_valid_after")


def name_fields(name):
    """[(short name, value)] of an x509.Name in the order of its encoding; unknown types by dotted OID."""
    fields = []
    for attribute in name:
        dotted = attribute.oid.dotted_string
        value = attribute.value
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        fields.append((SHORT_NAMES.get(dotted, dotted), value))
    return fields


def name_text(name):
    """One line such as 'C=JP, ST=tokyo, O=…, CN=…' for messages, in the order of the encoding."""
    return ", ".join("{0}={1}".format(key, value) for key, value in name_fields(name))


def name_value(name, field):
    """The first value of CN, O, L, ST, C or OU in a name, or ''."""
    for key, value in name_fields(name):
        if key == field:
            return value
    return ""


def _extension(certificate, oid_name):
    try:
        return certificate.extensions.get_extension_for_oid(getattr(ExtensionOID, oid_name)).value
    except x509.ExtensionNotFound:
        return None
    except BROKEN as error:  # duplicate or undecodable extensions
        raise UpkiError("certificate_broken", "The certificate's extensions cannot be read ({0}).".format(error))


def dns_names(certificate):
    """dNSNames of the subjectAltName, in order, as they stand in the certificate."""
    names = _extension(certificate, "SUBJECT_ALTERNATIVE_NAME")
    return list(names.get_values_for_type(x509.DNSName)) if names is not None else []


def ip_addresses(certificate):
    """iPAddresses of the subjectAltName as canonical text."""
    names = _extension(certificate, "SUBJECT_ALTERNATIVE_NAME")
    return [str(value) for value in names.get_values_for_type(x509.IPAddress)] if names is not None else []


def is_ca(certificate):
    """True when basicConstraints says CA."""
    constraints = _extension(certificate, "BASIC_CONSTRAINTS")
    return constraints is not None and bool(constraints.ca)


def path_length(certificate):
    """How many CA certificates may stand below this one, or None where basicConstraints sets no limit."""
    constraints = _extension(certificate, "BASIC_CONSTRAINTS")
    return None if constraints is None else constraints.path_length


def usages(certificate):
    """Dotted OIDs of the extended key usage as a list, or None where the extension is absent."""
    extension = _extension(certificate, "EXTENDED_KEY_USAGE")
    return None if extension is None else [usage.dotted_string for usage in extension]


def allows_server_auth(certificate):
    """True when the extended key usage is absent or names serverAuth (or any)."""
    found = usages(certificate)
    return found is None or SERVER_AUTH in found or ANY_USAGE in found


def subject_key_id(certificate):
    """Lower-case hexadecimal, or '' where absent."""
    extension = _extension(certificate, "SUBJECT_KEY_IDENTIFIER")
    return "" if extension is None else binascii.hexlify(extension.digest).decode("ascii")


def authority_key_id(certificate):
    """Lower-case hexadecimal, or '' where absent."""
    extension = _extension(certificate, "AUTHORITY_KEY_IDENTIFIER")
    if extension is None or extension.key_identifier is None:
        return ""
    return binascii.hexlify(extension.key_identifier).decode("ascii")


def may_sign_certificates(certificate):
    """What keyUsage says about keyCertSign; None where the extension is absent."""
    extension = _extension(certificate, "KEY_USAGE")
    return None if extension is None else bool(extension.key_cert_sign)


def unknown_critical(certificate):
    """Dotted OIDs of critical extensions that the library cannot read, so that nobody here obeys them."""
    return [
        row.oid.dotted_string
        for row in certificate.extensions
        if row.critical and isinstance(row.value, x509.UnrecognizedExtension)
    ]


def critical_extensions(certificate):
    """Dotted OIDs of the extensions that are marked critical."""
    return [row.oid.dotted_string for row in certificate.extensions if row.critical]


def extensions(certificate):
    """Dotted OIDs of all extensions."""
    return [row.oid.dotted_string for row in certificate.extensions]


def authority_serial(certificate):
    """The issuer's serial number by the authorityKeyIdentifier, or None where it names none."""
    extension = _extension(certificate, "AUTHORITY_KEY_IDENTIFIER")
    return None if extension is None else extension.authority_cert_serial_number


def usable_for_tls(certificate):
    """What keyUsage says about a server's key: signing, enciphering or agreeing on keys; None where it is absent."""
    extension = _extension(certificate, "KEY_USAGE")
    if extension is None:
        return None
    return bool(extension.digital_signature or extension.key_encipherment or extension.key_agreement)


def general_name(name):
    """(kind, plain value) of a GeneralName: dns, email, uri as text, ip, directory as its fields, else other."""
    if isinstance(name, x509.DirectoryName):
        return "directory", tuple(name_fields(name.value))
    for kind, type_ in (("dns", x509.DNSName), ("email", x509.RFC822Name), ("uri", x509.UniformResourceIdentifier)):
        if isinstance(name, type_):
            return kind, name.value
    return ("ip", name.value) if isinstance(name, x509.IPAddress) else ("other", type(name).__name__)


def alternative_names(certificate):
    """The subjectAltName as general_name() gives it; [] where absent."""
    names = _extension(certificate, "SUBJECT_ALTERNATIVE_NAME")
    return [general_name(name) for name in names] if names is not None else []


def name_constraints(certificate):
    """(permitted, excluded) as lists of general_name(), or None where the extension is absent."""
    extension = _extension(certificate, "NAME_CONSTRAINTS")
    if extension is None:
        return None
    permitted, excluded = extension.permitted_subtrees or (), extension.excluded_subtrees or ()
    return [general_name(name) for name in permitted], [general_name(name) for name in excluded]


def is_version_3(certificate):
    """True for X.509 version 3, the only one that carries extensions."""
    return certificate.version is x509.Version.v3


def has_explicit_curve(certificate):
    """True for an elliptic-curve key that spells out its curve instead of naming it."""
    identifier = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"  # id-ecPublicKey; a sequence after it is the curve
    return identifier + b"\x30" in certificate.tbs_certificate_bytes


def access_urls(certificate, method):
    """URLs of the authorityInfoAccess, method 'caIssuers' or 'ocsp'."""
    wanted = {"caIssuers": "1.3.6.1.5.5.7.48.2", "ocsp": "1.3.6.1.5.5.7.48.1"}[method]
    extension = _extension(certificate, "AUTHORITY_INFORMATION_ACCESS")
    if extension is None:
        return []
    return [
        row.access_location.value
        for row in extension
        if row.access_method.dotted_string == wanted and isinstance(row.access_location, x509.UniformResourceIdentifier)
    ]


# --- revocation ------------------------------------------------------------------------------------------


def crl_urls(certificate):
    """http addresses of the certificate's CRLs."""
    points = _extension(certificate, "CRL_DISTRIBUTION_POINTS")
    names = [name for point in points or () for name in point.full_name or ()]
    return [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]


def crl_from_bytes(data):
    """An x509.CertificateRevocationList from DER or PEM; UpkiError `crl_broken` when the bytes are none."""
    load = x509.load_pem_x509_crl if data.lstrip()[:5] == b"-----" else x509.load_der_x509_crl
    try:
        return load(data, default_backend())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UpkiError("crl_broken", "This is not a valid CRL ({0}).".format(error))


def crl_signed_by(crl, issuer):
    """True when the issuer's certificate may sign CRLs and its key signed this one."""
    usage = _extension(issuer, "KEY_USAGE")
    if crl.issuer != issuer.subject or (usage is not None and not usage.crl_sign):
        return False
    try:
        return bool(crl.is_signature_valid(issuer.public_key()))
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def may_sign_crls(certificate):
    """True when keyUsage says so in as many words."""
    usage = _extension(certificate, "KEY_USAGE")
    return usage is not None and bool(usage.crl_sign)


def crl_limits(crl):
    """Words for what keeps a CRL from answering for every certificate of its issuer, or ''."""
    try:
        kinds = {row.oid.dotted_string: row.critical for row in crl.extensions}
    except ValueError as error:
        return "its extensions cannot be read ({0})".format(error)
    if "2.5.29.20" not in kinds or kinds["2.5.29.20"]:
        return "its CRL number is absent or marked critical"
    others = [oid for oid, critical in kinds.items() if critical and oid not in ("2.5.29.27", "2.5.29.28")]
    return "it has an unknown critical extension {0}".format(others[0]) if others else ""


def crl_numbers(crl):
    """(its number, the number of the CRL that it is a delta of or None); what is not there or unreadable is None."""
    found = []
    for oid, field in (("2.5.29.20", "crl_number"), ("2.5.29.27", "crl_number")):
        try:
            found.append(getattr(crl.extensions.get_extension_for_oid(x509.ObjectIdentifier(oid)).value, field))
        except (x509.ExtensionNotFound,) + BROKEN:
            found.append(None)
    return tuple(found)


def crl_delta_urls(crl, certificate):
    """http addresses of delta CRLs, named by the CRL or by the certificate (freshestCRL, RFC 5280 5.2.6)."""
    points = []
    for thing in (crl, certificate):
        try:
            points += list(thing.extensions.get_extension_for_oid(x509.ObjectIdentifier("2.5.29.46")).value)
        except (x509.ExtensionNotFound,) + BROKEN:
            continue
    names = [name.value for point in points for name in point.full_name or () if hasattr(name, "value")]
    return [name for name in names if isinstance(name, str) and name.lower().startswith("http")]


def crl_excludes(crl, certificate):
    """True when the CRL's issuingDistributionPoint says that it is not about certificates of this kind."""
    try:
        point = crl.extensions.get_extension_for_oid(ExtensionOID.ISSUING_DISTRIBUTION_POINT).value
    except x509.ExtensionNotFound:
        return False
    kind = point.only_contains_user_certs if is_ca(certificate) else point.only_contains_ca_certs
    return bool(kind or point.only_contains_attribute_certs or point.only_some_reasons or point.indirect_crl)


def crl_entry(crl, serial):
    """(revocation date, reason) of a serial number, or None where the CRL does not list it; UpkiError `crl_broken`."""
    try:
        if serial >= 0:
            row = crl.get_revoked_certificate_by_serial_number(serial)
        else:  # against the rules, and the library's search refuses it
            row = next((one for one in crl if one.serial_number == serial), None)
        if row is None:
            return None
        known = {one.oid.dotted_string: one for one in row.extensions}
    except BROKEN as error:
        raise UpkiError("crl_broken", "The CRL's entries cannot be read ({0}).".format(error))
    reason = known["2.5.29.21"].value.reason.value if "2.5.29.21" in known else "unspecified"
    return _crl_date(row, "revocation_date"), reason


def crl_dates(crl):
    """(this update, next update or None) as aware datetimes."""
    return _crl_date(crl, "last_update"), _crl_date(crl, "next_update")


def _crl_date(thing, name):
    """An aware date of a CRL, its entry or an OCSP answer; None where it has none."""
    if hasattr(thing, name + "_utc"):  # cryptography 42 and later
        return getattr(thing, name + "_utc")
    value = getattr(thing, name)
    return None if value is None else value.replace(tzinfo=datetime.timezone.utc)


def must_staple(certificate):
    """True when the certificate demands that an OCSP answer is stapled (TLS feature, RFC 7633)."""
    feature = _extension(certificate, "TLS_FEATURE")
    return feature is not None and any(one.name == "status_request" for one in feature)


def ocsp_request(certificate, issuer):
    """The DER bytes of an OCSP request; SHA-1 identifies here, it protects nothing (RFC 6960)."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())
    return builder.build().public_bytes(serialization.Encoding.DER)


def ocsp_answer(data, certificate, issuer):
    """{'status': good, revoked or unknown, 'signed', 'this', 'next', 'date', 'reason'}; UpkiError where it is none."""
    try:
        answer = ocsp.load_der_ocsp_response(data)
        if answer.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise UpkiError("ocsp_failed", "The responder answers '{0}'.".format(answer.response_status.name.lower()))
        reason = answer.revocation_reason
        return {
            "status": answer.certificate_status.name.lower(),
            "signed": answer.serial_number == certificate.serial_number and _ocsp_signed(answer, issuer),
            "this": _crl_date(answer, "this_update"),
            "next": _crl_date(answer, "next_update"),
            "date": _crl_date(answer, "revocation_time"),
            "reason": "unspecified" if reason is None else reason.value,
        }
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UpkiError("ocsp_broken", "This is not a valid OCSP answer ({0}).".format(error))


def _ocsp_signed(answer, issuer):
    """By the issuer itself, or by a responder to which the issuer gave a certificate for this purpose."""
    signers = [issuer]
    for one in answer.certificates:
        if signed_by(one, issuer.public_key()) and OCSP_SIGNING in (usages(one) or []):
            signers.append(one)
    return any(_signed_bytes(answer, one.public_key()) for one in signers)


def _signed_bytes(answer, key):
    signature, data, algorithm = answer.signature, answer.tbs_response_bytes, answer.signature_hash_algorithm
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(algorithm))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True


def signature_hash(signed):
    """Name of the signature's hash ('sha256', …), or '' for algorithms without one (Ed25519)."""
    try:
        algorithm = signed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "unknown"
    return algorithm.name if algorithm is not None else ""


def key_type(public_key):
    """'rsa2048', 'p384' (what the service accepts) or a name of the same style: 'rsa4096', 'secp256r1', 'ed25519'."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return "rsa{0}".format(public_key.key_size)
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return "p384" if public_key.curve.name == "secp384r1" else public_key.curve.name
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(public_key, ed448.Ed448PublicKey):
        return "ed448"
    return type(public_key).__name__.lower().replace("publickey", "").strip("_")


def weak_key(public_key, smallest_rsa, smallest_curve):
    """True for DSA, and for RSA and elliptic curves below the sizes given in bits."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return public_key.key_size < smallest_rsa
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return public_key.curve.key_size < smallest_curve
    return not isinstance(public_key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey))


def unreadable(certificate):
    """Why the library cannot read the key or the extensions of a certificate that it did load, or ''."""
    try:
        key_type(certificate.public_key())
        readers = (is_ca, usages, dns_names, ip_addresses, subject_key_id, authority_key_id, name_constraints)
        for reader in readers + (alternative_names, may_sign_certificates):
            reader(certificate)
        name_text(certificate.subject)
        name_text(certificate.issuer)
    except Exception as error:  # each version of the library raises other things for malformed fields
        return str(error) or type(error).__name__
    return ""


def signed_by(certificate, issuer_key):
    """True when the public key made the certificate's signature."""
    try:
        if isinstance(issuer_key, rsa.RSAPublicKey):
            issuer_key.verify(
                certificate.signature,
                certificate.tbs_certificate_bytes,
                padding.PKCS1v15(),
                certificate.signature_hash_algorithm,
            )
        elif isinstance(issuer_key, ec.EllipticCurvePublicKey):
            issuer_key.verify(
                certificate.signature,
                certificate.tbs_certificate_bytes,
                ec.ECDSA(certificate.signature_hash_algorithm),
            )
        elif isinstance(issuer_key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            issuer_key.verify(certificate.signature, certificate.tbs_certificate_bytes)
        else:
            return False
    except (InvalidSignature,) + BROKEN:
        return False
    return True


def is_self_signed(certificate):
    """True for a root: subject equals issuer and its own key made the signature."""
    if certificate.subject != certificate.issuer:
        return False
    try:
        key = certificate.public_key()
    except BROKEN:  # a kind of key that this version of the library does not know
        return False
    return signed_by(certificate, key)


def request_signature_holds(request):
    """True when the CSR is signed by the key that it carries."""
    try:
        return bool(request.is_signature_valid)
    except (InvalidSignature,) + BROKEN:
        return False


def request_has_extensions(request):
    """True when the CSR asks for X.509 extensions."""
    try:
        return len(request.extensions) > 0
    except BROKEN:  # unreadable ones are extensions all the same
        return True


# --- making ----------------------------------------------------------------------------------------------


def generate_key(name):
    """A new private key of one of KEY_TYPES."""
    row = KEY_TYPES[name]
    if row["algorithm"] == "rsa":
        return rsa.generate_private_key(65537, row["bits"], default_backend())
    return ec.generate_private_key(ec.SECP384R1(), default_backend())


def private_key_pem(key):
    """Unencrypted PKCS#8 PEM bytes; secret."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def build_request(key, fields, hash_name):
    """A CSR without any extension. fields: [('C', 'JP'), …] in the order to encode."""
    oids = {
        "C": NameOID.COUNTRY_NAME,
        "ST": NameOID.STATE_OR_PROVINCE_NAME,
        "L": NameOID.LOCALITY_NAME,
        "O": NameOID.ORGANIZATION_NAME,
        "CN": NameOID.COMMON_NAME,
    }
    name = x509.Name([x509.NameAttribute(oids[field], value) for field, value in fields])
    algorithm = {"sha256": hashes.SHA256, "sha384": hashes.SHA384}[hash_name]()
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, algorithm, default_backend())
