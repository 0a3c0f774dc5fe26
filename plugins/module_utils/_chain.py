# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates a server sends after its own, chosen from those at hand.

A path goes from the leaf over issuer name, key identifier, signature, CA flag, extended key usage and validity to a
root that was given, or over a certificate whose SHA-256 the catalogue pins to a root that the catalogue knows. Dates of
issuance choose nothing. Among several paths the one to the most widely trusted root wins, and roots are never served.
"""

import collections

from ansible_collections.campus.upki.plugins.module_utils import _catalogue, _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError

MAX_LENGTH = 8  # certificates above the leaf; the service's chains have one or two
MAX_STEPS = 200  # certificates tried as a next step; CAs that signed each other many times over make endless paths
WIDE, UNKNOWN, NARROW = range(3)

# certificates: what to serve after the leaf, in order. anchor: {subject, sha256, known}. notices: [{code, message}].
Chain = collections.namedtuple("Chain", "certificates anchor notices")
Path = collections.namedtuple("Path", "certificates anchor rank")


def build(leaf, candidates, roots, now):
    """The Chain of a leaf. candidates, roots: certificates in any order, of any kind. UpkiError when there is none."""
    pool = _unique(candidates)
    anchors = _unique(roots)
    paths = sorted(_paths(leaf, [], pool, anchors, now, iter(range(MAX_STEPS))), key=lambda path: path.rank)
    if not paths:
        raise _why_none(leaf, pool, anchors, now)
    best = paths[0]
    _demand_cross(best, now)
    return Chain(list(best.certificates), best.anchor, _notices(best, now))


def _unique(certificates):
    found = collections.OrderedDict((_x509.sha256(certificate), certificate) for certificate in certificates)
    return list(found.values())


# --- finding paths -----------------------------------------------------------------------------------------


def _paths(top, above, pool, anchors, now, steps):
    """All paths from here upwards. above: certificates chosen so far, from the leaf's issuer to `top`.

    steps: iterator that ends when enough has been tried.
    """
    for anchor in _anchors(top, above, anchors, now):
        yield Path(tuple(above), anchor["result"], anchor["rank"] + (len(above),))
    if len(above) >= MAX_LENGTH:
        return
    for issuer in pool:
        if issuer in above or refusal(top, issuer, len(above), now):
            continue
        if next(steps, None) is None:
            raise _too_many(top)
        yield from _paths(issuer, above + [issuer], pool, anchors, now, steps)


def _too_many(top):
    return UpkiError(
        "chain_endless",
        "So many CA certificates around '{0}' signed each other that no chain can be chosen.".format(
            _x509.name_text(top.issuer)
        ),
        "Take those that the CA did not publish out of upki_inbox and upki_intermediates.",
    )


def names_issuer(certificate, issuer):
    """True when the issuer's subject stands in the certificate as issuer."""
    return certificate.issuer == issuer.subject


def has_issuers_key(certificate, issuer):
    """True when the key identifiers do not contradict and the issuer's key made the signature."""
    if _key_ids_agree(certificate, issuer) is False:
        return False
    return _x509.signed_by(certificate, issuer.public_key())


def _key_ids_agree(certificate, issuer):
    """Whether the issuer's key identifier is the one that the certificate names; None where one has none."""
    wanted, found = _x509.authority_key_id(certificate), _x509.subject_key_id(issuer)
    return wanted == found if wanted and found else None


def refusal(certificate, issuer, below, now):
    """Why `issuer` cannot be served as the certificate's issuer: '' when it can, else one of REFUSALS' words.

    below: how many CA certificates stand between the leaf and this issuer.
    """
    if not names_issuer(certificate, issuer):
        return "other_name"
    if _x509.is_self_signed(issuer):
        return "root"
    if not has_issuers_key(certificate, issuer):
        return "damaged" if _key_ids_agree(certificate, issuer) else "other_key"
    return unfit(issuer, below, now)


def unfit(issuer, below, now):
    """Why a certificate cannot be a CA for TLS servers now, or ''."""
    limit = _x509.path_length(issuer)
    for word, fails in (
        ("not_a_ca", not _x509.is_ca(issuer)),
        ("too_long", limit is not None and below > limit),
        ("not_for_servers", not _x509.allows_server_auth(issuer)),
        ("not_yet_valid", now < _x509.not_before(issuer)),
        ("expired", now > _x509.not_after(issuer)),
    ):
        if fails:
            return word
    return ""


def _ended(root, now):
    """A root's own fields bind nobody but its dates: it is trusted because somebody says so."""
    return now > _x509.not_after(root)


REFUSALS = {
    "not_a_ca": "is no CA certificate",
    "too_long": "allows fewer certificates below it",
    "not_for_servers": "may not sign TLS server certificates (its extended key usage lacks serverAuth)",
    "not_yet_valid": "is not valid yet",
    "expired": "has expired",
    "other_key": "bears the issuer's name but another key",
    "damaged": "has the right key, but the signature does not hold",
    "root": "is a root and given as an intermediate, so nothing says that it is to be trusted",
}


def _anchors(top, above, roots, now):
    """What ends a path at `top`: given roots that signed it, and the catalogue's root where `top` is pinned."""
    for root in roots:
        if names_issuer(top, root) and has_issuers_key(top, root) and not _ended(root, now):
            yield {"result": _anchor(root), "rank": _rank(root)}
    row = _catalogue.pinned(_x509.sha256(top))
    root_row = row and _catalogue.root_of(row)
    if root_row and _catalogue.valid(root_row, now):
        yield {
            "result": {"subject": root_row["subject"], "sha256": root_row["sha256"], "known": True},
            "rank": (WIDE if root_row["widely_trusted"] else NARROW, ""),
        }


def _anchor(root):
    digest = _x509.sha256(root)
    return {"subject": _x509.name_text(root.subject), "sha256": digest, "known": _catalogue.pinned(digest) is not None}


def _rank(root):
    """Known roots by how widely they are trusted; of unknown ones the oldest, which most clients know."""
    row = _catalogue.pinned(_x509.sha256(root))
    if row is not None:
        return (WIDE if row["widely_trusted"] else NARROW, "")
    return (UNKNOWN, _x509.not_before(root).strftime("%Y-%m-%dT%H:%M:%SZ"))


# --- saying what is missing --------------------------------------------------------------------------------


def _demand_cross(path, now):
    """UpkiError when the path ends at a root that few clients know although a cross certificate leads further."""
    root = _catalogue.pinned(path.anchor["sha256"])
    if root is None or root["widely_trusted"]:
        return
    for row in _catalogue.by_key(root["subject"], root["subject_key_id"], ("cross",)):
        if _catalogue.usable(row, now):
            raise UpkiError(
                "cross_missing",
                "The cross certificate of '{0}' is missing; without it many clients do not trust the chain, because "
                "they lack this new root.".format(_catalogue.common_name(root)),
                "Put {0} into an intermediates folder (upki_intermediates).".format(_catalogue.where(row)),
                missing=_wanted(row),
            )


def _wanted(row):
    return {key: row[key] for key in ("subject", "sha256", "url", "generation")}


def _why_none(leaf, pool, anchors, now):
    """The UpkiError for a leaf without a path: climb as far as it goes and say what lacks there."""
    top, above = leaf, []
    while len(above) < MAX_LENGTH:
        issuers = [issuer for issuer in pool if issuer not in above and not refusal(top, issuer, len(above), now)]
        if not issuers:
            break
        top = issuers[0]
        above.append(top)
    if _x509.is_self_signed(leaf):
        return UpkiError(
            "untrusted_chain",
            "The certificate is self-signed, so no CA vouches for it.",
            "Take the certificate that the CA issued.",
        )
    refused = [
        (issuer, word)
        for issuer, word in [(issuer, refusal(top, issuer, len(above), now)) for issuer in pool]
        if word not in ("", "other_name", "root")
    ]
    refused += [(root, _root_refusal(top, root)) for root in anchors if names_issuer(top, root)]
    broken = [issuer for issuer, word in refused if word == "damaged"]
    if broken:
        return _damaged(top, broken[0])
    rows = _catalogue.by_key(_x509.name_text(top.issuer), _x509.authority_key_id(top), ("intermediate", "cross"))
    usable = [row for row in rows if _catalogue.usable(row, now)]
    if usable:
        return _missing_known(usable[-1], pool, refused, now)
    if rows:
        return _history(rows[-1])
    if refused:
        return _refused(top, refused)
    return _missing_unknown(top, above)


def _root_refusal(certificate, root):
    """Why a given root ends no path at this certificate, which names it."""
    if has_issuers_key(certificate, root):
        return "expired"
    return "damaged" if _key_ids_agree(certificate, root) else "other_key"


def _damaged(top, issuer):
    return UpkiError(
        "certificate_damaged",
        "The signature of '{0}' (serial {1}) does not hold with the key of '{2}', which it names: one of the two files "
        "is damaged.".format(_x509.name_text(top.subject), top.serial_number, _x509.name_text(issuer.subject)),
        "Save both again from where they came from.",
    )


def _history(row):
    """The issuer is in the catalogue, and no certificate of it may stand in a chain any more."""
    return UpkiError(
        "generation_ended",
        "The certificate was issued by '{0}' (generation {1}, in use {2}), of which nothing serves any more.".format(
            _catalogue.common_name(row), row["generation"] or "unknown", _catalogue.period(row) or "long ago"
        ),
        "Request a new certificate with campus.upki.request.",
    )


def _missing_known(row, pool, refused, now):
    """The issuer is in the catalogue and not at hand (or only in a form that does not serve)."""
    needed = [row] + _crosses_needed(row, pool, now)
    fix = "Put {0} into an intermediates folder (upki_intermediates).".format(
        "; and ".join(_catalogue.where(one) for one in needed)
    )
    if refused:
        fix = "{0} What lies there does not serve: {1}.".format(fix, _list_refused(refused))
    others = sorted({found["generation"] for found in _known(pool) if found["role"] == "intermediate"})
    if others and row["role"] == "intermediate" and row["generation"] not in others:
        return UpkiError(
            "wrong_generation",
            "The certificate was issued by '{0}' (generation {1}, in use {2}), but the intermediate at hand is of "
            "generation {3}.".format(
                _catalogue.common_name(row), row["generation"], _catalogue.period(row), " and ".join(others)
            ),
            fix,
            missing=_wanted(row),
        )
    return UpkiError(
        "intermediate_missing",
        "The intermediate '{0}' (generation {1}), which issued the certificate, is not at hand.".format(
            _catalogue.common_name(row), row["generation"] or "unknown"
        ),
        fix,
        missing=_wanted(row),
    )


def _crosses_needed(row, pool, now):
    """Rows of the cross certificates that a chain over this row's certificate will lack as well."""
    root = _catalogue.root_of(row)
    if root is None or root["widely_trusted"]:
        return []
    here = {_x509.sha256(certificate) for certificate in pool}
    return [
        cross
        for cross in _catalogue.by_key(root["subject"], root["subject_key_id"], ("cross",))
        if _catalogue.usable(cross, now) and cross["sha256"] not in here
    ]


def _known(pool):
    rows = [_catalogue.pinned(_x509.sha256(certificate)) for certificate in pool]
    return [row for row in rows if row is not None]


def _list_refused(refused):
    return "; ".join(
        "'{0}' (serial {1}) {2}".format(_x509.name_text(issuer.subject), issuer.serial_number, REFUSALS[word])
        for issuer, word in refused
    )


def _refused(top, refused):
    only_expired = all(word == "expired" for _issuer, word in refused)
    return UpkiError(
        "issuer_expired" if only_expired else "issuer_unfit",
        "No issuer at hand fits '{0}': {1}.".format(_x509.name_text(top.subject), _list_refused(refused)),
        "Put the CA's current certificate with the key identifier {0} into an intermediates folder "
        "(upki_intermediates).".format(_x509.authority_key_id(top) or "of the issuer"),
    )


def _missing_unknown(top, above):
    """An unknown CA: the next certificate upwards is not at hand, neither as intermediate nor as root."""
    issuer = _x509.name_text(top.issuer)
    key = _x509.authority_key_id(top)
    identity = "'{0}'{1}".format(issuer, " with the key identifier {0}".format(key) if key else "")
    urls = _x509.access_urls(top, "caIssuers")
    source = " The certificate names {0} as the place to find it.".format(urls[0]) if urls else ""
    if _catalogue.SERIES in issuer:
        source += (
            " The catalogue does not know this generation of UPKI. A newer one than G8: update the collection. G2 or "
            "G3: give its root in 'roots' (upki_roots) as well."
        )
    missing = {"subject": issuer, "sha256": "", "url": urls[0] if urls else "", "generation": ""}
    if above:
        return UpkiError(
            "untrusted_chain",
            "The chain ends at '{0}', whose issuer {1} is no trusted root and not at hand.".format(
                _x509.name_text(top.subject), identity
            ),
            "Give that root in 'roots' (upki_roots), or put the missing intermediate into an intermediates "
            "folder (upki_intermediates)." + source,
            missing=missing,
        )
    return UpkiError(
        "intermediate_missing",
        "The issuer of the certificate, {0}, is not at hand.".format(identity),
        "Put its certificate into an intermediates folder (upki_intermediates)." + source,
        missing=missing,
    )


def _notices(path, now):
    """What to tell the operator of a chain that serves: an unknown CA, a step of the chain that ends soon."""
    notices = []
    if not path.anchor["known"]:
        notices.append(
            {
                "code": "unknown_ca",
                "message": "The chain leads to '{0}', which the catalogue does not know; it is trusted because it was "
                "given in 'roots' (upki_roots). If this is UPKI's new generation, update the collection.".format(
                    path.anchor["subject"]
                ),
            }
        )
    for row in _known(path.certificates):
        if row["generation"] in ("G5", "G6"):
            notices.append(
                {
                    "code": "old_generation",
                    "message": "Generation {0} is history: all its certificates were revoked by 2021-04-27.".format(
                        row["generation"]
                    ),
                }
            )
    return notices
