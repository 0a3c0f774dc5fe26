# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with an endpoint or a chain, as one table: code, severity, sentences, how to see it by hand.

The codes are part of the interface. A test holds docs/findings.md against this table.
"""

SEVERITIES = ("error", "warning", "info")


def _row(severity, meaning, by_hand, **variants):
    """One code. variants: name → (message, fix), both templates for str.format; most codes have only `usual`."""
    return {"severity": severity, "meaning": meaning, "by_hand": by_hand, "variants": variants}


_S_CLIENT = "openssl s_client -connect HOST:PORT -servername NAME -showcerts </dev/null"
_X509 = _S_CLIENT + " | openssl x509 -noout -text"

FINDINGS = {
    # --- the connection --------------------------------------------------------------------------------------
    "name_not_resolved": _row(
        "error",
        "The host's name has no address where the check runs, or the resolver does not answer.",
        "getent ahosts HOST",
        usual=(
            "The name '{host}' has no address ({text}).",
            "Correct the name, or add it to the DNS that the checking machine uses.",
        ),
        slow=(
            "The name '{host}' was not resolved within {seconds} seconds.",
            "Check the name servers of the domain and the resolver of the checking machine (/etc/resolv.conf).",
        ),
    ),
    "connection_refused": _row(
        "error",
        "The machine answers, but nothing listens on the port.",
        "ss -ltn 'sport = :PORT'   (on the server)",
        usual=(
            "Nothing listens on {where}: the connection was refused.",
            "Start the server or correct the port; see 'systemctl status nginx' or 'apache2' and their logs.",
        ),
    ),
    "host_unreachable": _row(
        "error",
        "No way leads to the address, or a firewall says so.",
        "ip route get ADDRESS; ping HOST",
        usual=("{where} cannot be reached ({text}).", "Check the routes and the firewall between here and the server."),
    ),
    "timeout": _row(
        "error",
        "No answer within the time allowed.",
        "openssl s_client -connect HOST:PORT -servername NAME",
        usual=(
            "{where} gave no complete answer within {seconds} seconds ({phase}).",
            "Check the firewall (a dropped packet looks like this) and the load of the server; a slow link needs a "
            "larger 'timeout'.",
        ),
    ),
    "not_tls": _row(
        "error",
        "Something answers on the port, but not in TLS.",
        "curl -v http://HOST:PORT/",
        usual=(
            "{where} answers, but not with TLS ({text}).",
            "Check the port; in nginx the line must read 'listen PORT ssl', in Apache the virtual host needs "
            "'SSLEngine on'; for mail and directory servers set 'starttls'.",
        ),
    ),
    "starttls_refused": _row(
        "error",
        "The server speaks its plain protocol and does not change to TLS.",
        "openssl s_client -connect HOST:PORT -starttls PROTOCOL -servername NAME",
        usual=(
            "{where} does not change to TLS when asked in the words of {starttls} ({text}).",
            "Switch STARTTLS on in the server's configuration, or correct 'starttls' and the port.",
        ),
    ),
    "handshake_failed": _row(
        "error",
        "The server speaks TLS and refuses this handshake.",
        _S_CLIENT,
        usual=(
            "{where} refuses the TLS handshake for the name '{server_name}' ({text}).",
            "Look into the server's error log of this minute; a missing certificate for this name and a client "
            "certificate that the server demands look like this.",
        ),
        with_name=(
            "{where} refuses the TLS handshake for the name '{server_name}' ({text}), but answers a client that asks "
            "for no name, with a certificate for {names}.",
            "Add a virtual host for '{server_name}'; the server knows only other names and its default one.",
        ),
    ),
    "sni_required": _row(
        "error",
        "The server refuses clients that do not say which name they want.",
        "openssl s_client -connect HOST:PORT -noservername </dev/null",
        usual=(
            "{where} refuses the handshake without a server name ({text}), and an address such as '{server_name}' "
            "cannot be sent as one.",
            "Give 'server_name'; if clients must reach it by address, the server needs a default certificate.",
        ),
    ),
    "connection_closed": _row(
        "error",
        "The server hangs up before the handshake is complete.",
        _S_CLIENT,
        usual=(
            "{where} closed the connection during the {phase}.",
            "Look into the server's error log; a worker that dies and a firewall that resets look like this.",
        ),
    ),
    "old_protocol": _row(
        "error",
        "The server offers nothing newer than TLS 1.1.",
        "openssl s_client -connect HOST:PORT -servername NAME -tls1_2",
        usual=(
            "{where} speaks {version} at best; browsers demand TLS 1.2 or newer.",
            "Allow it: 'ssl_protocols TLSv1.2 TLSv1.3;' in nginx, 'SSLProtocol -all +TLSv1.2 +TLSv1.3' in Apache.",
        ),
    ),
    "old_protocol_accepted": _row(
        "warning",
        "The server accepts TLS 1.0 or 1.1 beside newer versions.",
        "openssl s_client -connect HOST:PORT -servername NAME -tls1_1 -cipher ALL:@SECLEVEL=0 </dev/null",
        usual=(
            "{where} also accepts {versions}, which RFC 8996 withdraws.",
            "Switch it off: 'ssl_protocols TLSv1.2 TLSv1.3;' in nginx, 'SSLProtocol -all +TLSv1.2 +TLSv1.3' in Apache.",
        ),
    ),
    "retried": _row(
        "info",
        "The endpoint did not answer at the first attempt.",
        "journalctl -u nginx --since -10min   (on the server)",
        usual=(
            "{where} answered at attempt {attempts} only; before that: {reasons}.",
            "Nothing, if the server was being restarted; else look for load, a full queue or a route that comes and "
            "goes.",
        ),
    ),
    "file_unreadable": _row(
        "error",
        "A file that was to be examined cannot be read or holds no certificate.",
        "openssl x509 -in FILE -noout -subject",
        usual=("'{where}' cannot be examined: {text}.", "Give a PEM file with the server certificate first."),
    ),
    # --- the certificate -------------------------------------------------------------------------------------
    "certificate_unreadable": _row(
        "error",
        "What stands in a certificate's place cannot be read as one.",
        _S_CLIENT,
        usual=(
            "Certificate number {position} of what is served cannot be read ({text}).",
            "Put the file together again from the files that the CA gave.",
        ),
    ),
    "expired": _row(
        "error",
        "The server certificate is past its end.",
        _S_CLIENT + " | openssl x509 -noout -enddate",
        usual=(
            "The certificate expired {days} ago, on {not_after}.",
            "Deploy its successor; if none was requested, run the playbook campus.upki.request now.",
        ),
    ),
    "expires_soon": _row(
        "warning",
        "The server certificate is in the last part of its life.",
        _S_CLIENT + " | openssl x509 -noout -enddate",
        usual=(
            "The certificate expires in {days}, on {not_after}; the warning starts at {warn_before}.",
            "Request or deploy its successor (playbook campus.upki.renew).",
        ),
    ),
    "not_yet_valid": _row(
        "error",
        "The certificate's validity has not begun.",
        _S_CLIENT + " | openssl x509 -noout -startdate; date -u",
        usual=(
            "The certificate is valid only from {not_before}.",
            "Check the clock of the machine where this ran; otherwise keep the old certificate until then.",
        ),
    ),
    "name_mismatch": _row(
        "error",
        "The certificate is not for the name that was asked for.",
        _S_CLIENT + " | openssl x509 -noout -ext subjectAltName",
        usual=(
            "The certificate is for {names}, not for '{server_name}'.",
            "Check that a virtual host with server name '{server_name}' exists on this port and names its own "
            "certificate; else a default one answers.",
        ),
    ),
    "names_missing": _row(
        "error",
        "Names that were wanted are not in the certificate.",
        _S_CLIENT + " | openssl x509 -noout -ext subjectAltName",
        usual=(
            "The certificate lacks the wanted names {missing}; it has {names}.",
            "Request a certificate with these names (column dNSName of the application), or correct 'dns_names'.",
        ),
    ),
    "self_signed": _row(
        "error",
        "The server certificate is signed by its own key.",
        _S_CLIENT,
        usual=(
            "The certificate of '{subject}' is self-signed; no client trusts it.",
            "Serve the certificate that the CA issued; a self-signed one is often the distribution's default file.",
        ),
    ),
    "unexpected_certificate": _row(
        "error",
        "Another certificate is served than the one expected.",
        _S_CLIENT + " | openssl x509 -noout -fingerprint -sha256",
        usual=(
            "The served certificate has SHA-256 {found} (serial {serial}, until {not_after}); expected is {expected}.",
            "Reload the server: it may still hold the old file; then check that this virtual host names the "
            "'live' files of the store.",
        ),
    ),
    "weak_key": _row(
        "error",
        "The key is too short.",
        _X509,
        usual=(
            "The key of '{subject}' is {key}; clients refuse RSA below 2048 bit and curves below 256 bit.",
            "Make a new key of type rsa2048 or p384 and request a certificate for it.",
        ),
    ),
    "weak_signature": _row(
        "error",
        "A signature uses a broken hash.",
        _X509,
        usual=(
            "The certificate of '{subject}' is signed with {hash}; clients refuse it.",
            "Replace it by one signed with SHA-256 or better.",
        ),
    ),
    "wrong_eku": _row(
        "error",
        "The certificate is not meant for TLS servers.",
        _S_CLIENT + " | openssl x509 -noout -ext extendedKeyUsage",
        usual=(
            "The certificate's extended key usage ({usages}) lacks serverAuth.",
            "Serve a server certificate; this one was issued for another purpose.",
        ),
    ),
    "ca_certificate": _row(
        "warning",
        "The first certificate served is that of a CA.",
        _S_CLIENT,
        usual=(
            "The first certificate served, '{subject}', is a CA certificate, not a server's.",
            "Put the server certificate first in the file, the intermediates after it.",
        ),
    ),
    "ou_in_subject": _row(
        "info",
        "A UPKI certificate from before the abolition of OU.",
        _S_CLIENT + " | openssl x509 -noout -subject",
        usual=(
            "The subject of this UPKI certificate has the OU '{ou}', which the service abolished on 2022-07-26.",
            "Apply for its successor as 新規発行 (server_issue) without OU, not as 更新; campus.upki.request does so.",
        ),
    ),
    "key_reused": _row(
        "warning",
        "Different certificates share one key.",
        _S_CLIENT + " | openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum",
        usual=(
            "The key is also that of another certificate, served at {others}.",
            "Request a certificate with a new key; a key that leaks must take one service with it only, and UPKI "
            "refuses a key that was used before.",
        ),
        generation=(
            "The key is also that of an earlier certificate of {name} (serial {serial}, generation {generation} in the "
            "store).",
            "Request a certificate with a new key; UPKI refuses a key that was used before.",
        ),
    ),
    "mixed_certificates": _row(
        "warning",
        "One name is answered with different certificates, as on a cluster where one machine was forgotten.",
        "getent ahosts HOST; openssl s_client -connect ADDRESS:PORT -servername NAME </dev/null",
        usual=(
            "Another certificate than at {others} is served for '{server_name}'; this one is valid from {not_before}, "
            "that one from {other}.",
            "Deploy the newer certificate here as well.",
        ),
    ),
    "lifetime_too_long": _row(
        "warning",
        "The validity is longer than the limit in force when the certificate was issued.",
        _S_CLIENT + " | openssl x509 -noout -dates",
        usual=(
            "The certificate lives {days} days; the limit for one issued on {issued} is {limit} days ({source}).",
            "Harmless for a private CA up to 825 days, beyond which Apple's systems refuse it; a public one must not "
            "have issued it, and browsers may refuse it.",
        ),
    ),
    "revoked": _row(
        "error",
        "The CA has revoked a certificate of the chain.",
        "openssl verify -crl_check -CRLfile CRL.pem -untrusted CHAIN.pem CERTIFICATE.pem",
        usual=(
            "The certificate '{subject}' has been revoked ({text}).",
            "Deploy its successor at once; if there is none, request one with a new key.",
        ),
    ),
    "revocation_unknown": _row(
        "warning",
        "Whether a certificate is revoked could not be learned.",
        "openssl x509 -in CERTIFICATE.pem -noout -ext crlDistributionPoints,authorityInfoAccess; curl -I URL",
        usual=(
            "Whether '{subject}' is revoked could not be learned: {text}.",
            "Let the checking machine reach these addresses over HTTP, and run again; a CA's outage passes.",
        ),
    ),
    "staple_invalid": _row(
        "error",
        "The OCSP answer that the server sends along is stale, of another certificate, or lacks where it is demanded.",
        "openssl s_client -connect HOST:PORT -servername NAME -status </dev/null",
        usual=(
            "{where} staples an OCSP answer that clients refuse: {text}.",
            "Reload the server, and let it reach the CA's OCSP responder; until then switch stapling off "
            "('ssl_stapling off;' in nginx, 'SSLUseStapling off' in Apache).",
        ),
        missing=(
            "The certificate '{subject}' demands a stapled OCSP answer (must-staple), but {where} sends none.",
            "Switch stapling on ('ssl_stapling on;' in nginx, 'SSLUseStapling on' in Apache).",
        ),
    ),
    "staple_unseen": _row(
        "info",
        "Whether the server staples an OCSP answer could not be looked at.",
        "openssl s_client -connect HOST:PORT -servername NAME -status </dev/null",
        usual=(
            "Whether {where} staples an OCSP answer was not looked at: {text}.",
            "Install the program openssl where the check runs; Python cannot show stapled answers.",
        ),
    ),
    # --- DNS -----------------------------------------------------------------------------------------------------
    "caa_forbids": _row(
        "warning",
        "A CAA record in DNS forbids the CA to issue the next certificate.",
        "dig +short CAA DOMAIN   (the nearest domain above the name that has such records counts)",
        usual=(
            "The CAA records of '{domain}' ({records}) do not allow '{issuer}' to issue for {names}; the next "
            "application would be refused.",
            'Add to DNS: {domain}. CAA 0 issue "{issuer}" (for names with a wildcard see issuewild).',
        ),
    ),
    "tlsa_mismatch": _row(
        "error",
        "TLSA records exist in DNS, and none fits what is served, so mail servers that use DANE refuse it.",
        "dig +short TLSA _PORT._tcp.NAME",
        usual=(
            "None of the TLSA records of '{owner}' ({records}) fits what is served.",
            "Add to DNS: {owner}. TLSA 3 1 1 {spki}; at a renewal do this before the new certificate goes live, and "
            "remove the old record afterwards.",
        ),
    ),
    "tlsa_unsecured": _row(
        "warning",
        "TLSA records exist in DNS, but DNSSEC does not secure them, so clients ignore them.",
        "dig +dnssec TLSA _PORT._tcp.NAME   (by a resolver that validates; 'ad' must be among the flags)",
        usual=(
            "The TLSA records of '{owner}' ({records}) are not secured by DNSSEC, so clients that use DANE ignore "
            "them; they {would} fit what is served.",
            "Sign the zone with DNSSEC and have its DS record put into the parent zone, or remove the TLSA records.",
        ),
    ),
    "dnssec_unknown": _row(
        "info",
        "TLSA records exist in DNS, and whether DNSSEC secures them could not be learned.",
        "dig +dnssec SOA .   (a resolver that validates has 'ad' among the flags)",
        usual=(
            "Whether DNSSEC secures the TLSA records of '{owner}' is not known: the resolver does not validate.",
            "Ask a resolver that does with 'dns_server', unbound on the checking machine for example.",
        ),
    ),
    "dns_unknown": _row(
        "warning",
        "What DNS says about the certificate could not be learned.",
        "dig CAA NAME; dig TLSA _PORT._tcp.NAME",
        usual=(
            "DNS gave no answer that could be used ({text}).",
            "Check the name servers of the domain and the resolver of the checking machine; a CA refuses to issue "
            "when this question fails.",
        ),
    ),
    # --- the chain -------------------------------------------------------------------------------------------
    "chain_unknown": _row(
        "info",
        "Only the server certificate could be looked at.",
        _S_CLIENT,
        usual=(
            "The chain was not examined: Python {python} cannot show what a server sends (3.10 or newer can), and the "
            "program openssl did not show it either.",
            "Run the check with a newer Python (ansible_python_interpreter), on the controller for example, or install "
            "openssl.",
        ),
    ),
    "chain_incomplete": _row(
        "error",
        "An intermediate certificate is missing from what the server sends.",
        _S_CLIENT,
        known=(
            "The server does not send the intermediate '{needed}', which issued '{subject}'.",
            "Append {file} to the served chain: {origin}.",
        ),
        usual=(
            "The server does not send the certificate of the issuer '{issuer}', and the trust store has none.",
            "Append the issuer's certificate to the served chain: {origin}.",
        ),
    ),
    "cross_missing": _row(
        "error",
        "The cross certificate is missing, so clients without the newer root fail.",
        _S_CLIENT,
        usual=(
            "The chain ends at '{top}' without the cross certificate '{needed}' signed by '{above}': clients that do "
            "not have the newer root fail (such as Debian 12's ca-certificates, and Chrome, for the SECOM roots "
            "of 2024).",
            "Append {file} to the end of the served chain: {origin}.",
        ),
    ),
    "wrong_intermediate": _row(
        "error",
        "An intermediate certificate is served, but not the one that signed.",
        _S_CLIENT,
        generation=(
            "The certificate was issued by '{issuer}', but the server sends '{served}': the intermediate of another "
            "generation.",
            "Replace it by {file}: {origin}.",
        ),
        other_key=(
            "The served certificate '{served}' has the issuer's name but another key (its key identifier is "
            "{found}, needed is {expected}), so it did not sign '{subject}'.",
            "Replace it by {file}: {origin}.",
        ),
        usage=(
            "The served certificate '{served}' is a re-issue that is not meant for TLS servers (extended key usage "
            "{usages}).",
            "Replace it by {file}: {origin}.",
        ),
    ),
    "chain_order": _row(
        "warning",
        "The certificates are sent in the wrong order.",
        _S_CLIENT,
        usual=(
            "The server sends the chain in the order {found}; it must be {expected}.",
            "Write the served file anew: server certificate first, then each certificate's issuer after it.",
        ),
    ),
    "chain_duplicate": _row(
        "warning",
        "A certificate is sent more than once.",
        _S_CLIENT,
        usual=(
            "The server sends '{subject}' {times} times (places {places}).",
            "Leave one; nginx and Apache send what stands in the certificate file, Apache also what "
            "SSLCertificateChainFile names.",
        ),
    ),
    "root_included": _row(
        "warning",
        "The self-signed root is sent as well.",
        _S_CLIENT,
        usual=(
            "The server sends the root '{subject}'; clients ignore it, each handshake carries it.",
            "Remove it from the end of the served file.",
        ),
    ),
    "extra_certificates": _row(
        "warning",
        "Certificates are sent that do not belong to the chain.",
        _S_CLIENT,
        usual=(
            "The server sends {count} that no chain of this certificate needs: {subjects}.",
            "Remove them from the served file.",
        ),
    ),
    "chain_expired": _row(
        "error",
        "A certificate of the chain is outside its validity.",
        _S_CLIENT,
        known=(
            "The served intermediate '{subject}' is valid only from {not_before} to {not_after}.",
            "Replace it by {file}: {origin}.",
        ),
        usual=(
            "The served intermediate '{subject}' is valid only from {not_before} to {not_after}.",
            "Get a certificate from the CA's present intermediate, or its re-issue from the CA's repository.",
        ),
    ),
    "chain_invalid": _row(
        "error",
        "A certificate of the chain breaks a rule that clients hold it to.",
        "openssl verify -x509_strict -untrusted CHAIN.pem CERTIFICATE.pem",
        usual=(
            "The chain reaches the trust store, but clients refuse it: {reasons}.",
            "Serve the CA's proper intermediate; if this is it, the CA must issue the certificate anew.",
        ),
    ),
    "strict_clients": _row(
        "warning",
        "Most clients accept the chain, some stricter ones refuse it.",
        "openssl verify -x509_strict -untrusted CHAIN.pem CERTIFICATE.pem",
        usual=(
            "Some clients refuse this chain: {reasons}.",
            "The CA must issue the certificate named (or its own) anew, with these extensions; a private CA's are "
            "often made without them.",
        ),
    ),
    "untrusted_root": _row(
        "error",
        "The chain ends at a CA that the trust store does not have.",
        _S_CLIENT,
        usual=(
            "The chain ends at '{top}', which the trust store ({store}) does not have.",
            "If this CA is the right one, give its root as 'ca_file'; if not, serve the certificate of the right CA.",
        ),
        openssl=(
            "OpenSSL does not accept the chain with the trust store {store}: {text}.",
            "See 'openssl verify -untrusted chain.pem certificate.pem' with the served files.",
        ),
    ),
    "untrusted_in_store": _row(
        "warning",
        "Clients with one trust store accept the chain, clients with another refuse it.",
        "openssl verify -CAfile STORE.pem -untrusted CHAIN.pem CERTIFICATE.pem",
        usual=(
            "Clients with the trust store {refusing} refuse this chain, clients with {accepting} accept it. {reason}.",
            "{fix}.",
        ),
    ),
}


def finding(code, variant="usual", **values):
    """A finding of the table with its sentences filled in; a missing value is a programming error and raises."""
    row = FINDINGS[code]
    message, fix = row["variants"][variant]
    return {
        "code": code,
        "severity": row["severity"],
        "message": message.format(**values),
        "fix": fix.format(**values),
    }


def count(findings):
    """{'error': n, 'warning': n, 'info': n} of a list of findings."""
    return {severity: sum(1 for row in findings if row["severity"] == severity) for severity in SEVERITIES}


def reaches(findings, fail_on):
    """True when a finding is at or above the severity; 'never' is never reached."""
    if fail_on == "never":
        return False
    wanted = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    return any(row["severity"] in wanted for row in findings)
