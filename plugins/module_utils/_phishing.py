# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server names that resemble well-known services.

UEC's instructions ("UPKI Server Certificate Issuance Service", as of 2026-11) warn that the CA delays or refuses such
names, naming Google, Microsoft and Amazon, and that it publishes no list. So this list is the collection's own guess
at what people confuse; it only warns. What keeps the warnings rare on ordinary names of universities:

* the institution's own domain (the label before ac.jp and its like) is not looked at;
* a name is read in words (between dots and hyphens); most services count only as a whole word, so that `pineapple`,
  `publicloud` and `mizuho` stay silent;
* longer, unmistakable names count inside a word as well, and with one letter more, less, other or swapped;
* words such as `login` that are ordinary at a university get a milder text (see `WORDS`).
"""

import functools
import re
import unicodedata

# Counted anywhere in a word, and with one wrong letter: long enough not to meet other words by chance.
ANYWHERE = {
    "google": "Google", "youtube": "Google (YouTube)", "microsoft": "Microsoft", "office365": "Microsoft (Office 365)",
    "onedrive": "Microsoft (OneDrive)", "sharepoint": "Microsoft (SharePoint)", "amazon": "Amazon",
    "paypal": "PayPal", "facebook": "Facebook", "instagram": "Instagram", "twitter": "Twitter", "netflix": "Netflix",
    "linkedin": "LinkedIn", "dropbox": "Dropbox", "github": "GitHub", "whatsapp": "WhatsApp", "rakuten": "Rakuten",
    "mercari": "Mercari", "docomo": "NTT docomo", "softbank": "SoftBank", "appleid": "Apple",
    "americanexpress": "American Express", "mastercard": "Mastercard", "jibunbank": "au Jibun Bank",
    "mizuhobank": "Mizuho Bank", "mufgbank": "MUFG Bank", "smbccard": "Sumitomo Mitsui Card",
    "japanpost": "Japan Post", "kuronekoyamato": "Yamato Transport",
}  # fmt: skip

# Counted as a whole word only, because other words contain them or differ from them by a letter.
WHOLE = {
    "apple": "Apple", "icloud": "Apple (iCloud)", "itunes": "Apple (iTunes)", "gmail": "Google (Gmail)",
    "outlook": "Microsoft (Outlook)", "azure": "Microsoft (Azure)", "hotmail": "Microsoft (Hotmail)",
    "aws": "Amazon (AWS)", "yahoo": "Yahoo!", "paypay": "PayPay", "zoom": "Zoom", "adobe": "Adobe",
    "smbc": "Sumitomo Mitsui Bank (SMBC)",
    "mufg": "MUFG Bank", "resona": "Resona Bank", "jcb": "JCB", "amex": "American Express", "visacard": "Visa",
    "jpbank": "Japan Post Bank", "yuchobank": "Japan Post Bank", "sbisec": "SBI Securities",
    "bank": "a bank", "netbank": "a bank", "onlinebank": "a bank", "ebank": "a bank", "banking": "a bank",
    "netbanking": "a bank", "onlinebanking": "a bank",
}  # fmt: skip

# Words of sign-in pages. Ordinary at a university (login.cc.example.ac.jp), so the text is milder.
WORDS = {
    "login": "a sign-in page", "logon": "a sign-in page", "signin": "a sign-in page", "secure": "a sign-in page",
    "account": "a page for accounts", "accounts": "a page for accounts", "myaccount": "a page for accounts",
    "password": "a page for passwords", "passwd": "a page for passwords", "verify": "a page that asks to confirm",
    "verification": "a page that asks to confirm", "webscr": "a PayPal sign-in page",
}  # fmt: skip

# Words that are near one of the above and mean something else.
INNOCENT = frozenset(("goggle", "amazonia", "amazonas", "amazonian", "rakuen", "microsoftmatter", "twister"))

# Look-alikes. Each reading is tried: 1 may stand for l or i.
DIGITS = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g"}
ONE_AS_L = str.maketrans(dict(DIGITS, **{"1": "l"}))
ONE_AS_I = str.maketrans(dict(DIGITS, **{"1": "i"}))
PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
# Letters that look like Latin ones: Cyrillic, Armenian, Greek, and Latin letters without an accent to take off.
CONFUSABLES = {
    "а": "a", "б": "b", "с": "c", "ԁ": "d", "е": "e", "һ": "h", "і": "i", "ј": "j", "к": "k", "ӏ": "l", "м": "m",
    "о": "o", "р": "p", "ԛ": "q", "г": "r", "ѕ": "s", "т": "t", "ԝ": "w", "х": "x", "у": "y",
    "ո": "n", "ս": "u", "օ": "o", "ց": "g", "հ": "h",
    "α": "a", "β": "b", "ε": "e", "ι": "i", "κ": "k", "ν": "v", "ο": "o", "ρ": "p", "τ": "t", "υ": "u", "χ": "x",
    "γ": "y", "ω": "w", "ı": "i", "ł": "l", "ø": "o", "ɡ": "g", "ɩ": "i", "ʟ": "l", "ᴢ": "z",
}  # fmt: skip

# The second level of jp: in example.ac.jp, `example` is the institution itself.
OWN_DOMAINS = frozenset(("ac", "ad", "co", "ed", "go", "gr", "lg", "ne", "or"))
PUBLIC = OWN_DOMAINS | frozenset(("com", "net", "org", "edu", "info", "biz", "jp"))


def labels(name):
    """The labels of a name without the institution's own domain."""
    parts = name.lower().rstrip(".").split(".")
    own = 3 if len(parts) > 2 and parts[-1] == "jp" and parts[-2] in OWN_DOMAINS else 1
    return [label for label in parts[:-own] if label not in PUBLIC]


def _decoded(label):
    """The letters of a punycode label."""
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode").lower()
    except (UnicodeError, ValueError):
        return label


def readings(word):
    """What the eye may take a word for: itself, without accents, digits as letters, rn as m."""
    plain = word
    if any(one > "~" for one in word):
        plain = unicodedata.normalize("NFKD", word)
        plain = "".join(CONFUSABLES.get(one, one) for one in plain if not unicodedata.combining(one))
    found = [word, plain, plain.translate(ONE_AS_L), plain.translate(ONE_AS_I)]
    for pair, letter in PAIRS:
        found += [text.replace(pair, letter) for text in found if pair in text]
    return tuple(dict.fromkeys(found))


def _shortened(word):
    """The word and all words with one letter less."""
    return {word} | {word[:index] + word[index + 1 :] for index in range(len(word))}


def _near_index():
    index = {}
    for brand in ANYWHERE:
        for shorter in _shortened(brand):
            index.setdefault(shorter, []).append(brand)
    return index


NEAR = _near_index()
INSIDE = re.compile("|".join(sorted(ANYWHERE, key=len, reverse=True)))
NUMBERED = 2  # a word with more digits is a numbered host, not a misspelt service
LENGTHS = frozenset(len(brand) + more for brand in ANYWHERE for more in (-1, 0, 1))


def one_letter_apart(first, second):
    """True for one letter more, less or other, or two neighbours swapped."""
    if abs(len(first) - len(second)) > 1 or first == second:
        return False
    start = next((at for at, pair in enumerate(zip(first, second)) if pair[0] != pair[1]), min(len(first), len(second)))
    rest, other = first[start:], second[start:]
    return (
        rest[1:] == other[1:]
        or rest[1:] == other
        or rest == other[1:]
        or (rest[:2] == other[:2][::-1] and rest[2:] == other[2:])
    )


def _service(word, joined=False):
    """(service, exact) that a word means or resembles, or None."""
    if word in INNOCENT:
        return None
    seen = readings(word)
    for reading in seen:
        service = ANYWHERE.get(reading) or WHOLE.get(reading)
        if service:
            return service, reading == word
    if joined:  # pay-pal counts as a whole only
        return None
    for reading in seen:
        match = INSIDE.search(reading)
        if match:
            return ANYWHERE[match.group()], match.group() in word
    return _misspelt(seen)


def _misspelt(seen):
    if sum(map(str.isdigit, seen[0])) > NUMBERED:
        return None
    for reading in seen:
        if len(reading) not in LENGTHS:
            continue
        for shorter in _shortened(reading):
            for brand in NEAR.get(shorter, ()):
                if one_letter_apart(reading, brand):
                    return ANYWHERE[brand], False
    return None


@functools.lru_cache(maxsize=4096)
def _look(label):
    """({service: sentence}, {mild: sentence}) of one label."""
    services, mild = {}, {}
    pieces = [piece for piece in _decoded(label).split("-") if piece]
    joined = [("".join(pieces), True)] if len(pieces) > 1 else []
    for word, whole in [(piece, False) for piece in pieces] + joined:
        found = _service(word, whole)
        if found:
            service, exact = found
            how = "holds the name of {0}" if exact else "looks like {0} ('{1}')"
            services.setdefault(service, how.format(service, word))
        elif word in WORDS:
            how = "holds the word '{0}', as {1} would; an ordinary word, so usually no more than a question comes"
            mild.setdefault(WORDS[word], how.format(word, WORDS[word]))
    return services, mild


def resembling(name):
    """[(what the name resembles, a sentence about it)]: services first; words of sign-in pages only without one."""
    services, mild = {}, {}
    for label in labels(name):
        found = _look(label)
        services.update(found[0])
        mild.update(found[1])
    return list((services or mild).items())
