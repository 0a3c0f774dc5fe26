# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of the service's rules is watched: break the row, and a case notices."""

import copy

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _csr, _tsv_text
from ansible_collections.campus.upki.plugins.module_utils._keys import PROFILES
from ansible_collections.campus.upki.plugins.module_utils._rules import KEYS, KINDS, RULES, column, item
from ansible_collections.campus.upki.tests.unit import records as make
from ansible_collections.campus.upki.tests.unit import rule_cases


@pytest.mark.parametrize("case", rule_cases.CASES, ids=lambda case: case.name)
def test_case(case):
    assert case.probe(RULES) == case.expected


def test_table_equals_the_services_table_written_by_hand():
    assert KINDS == make.KINDS
    assert KEYS == make.KEYS
    for key in KEYS:
        marks = "".join(RULES["kinds"][kind][KEYS.index(key)] for kind in KINDS)
        assert (key, marks) == (key, make.MARKS[key])


def test_items_have_the_japanese_names():
    names = "主体者DN 証明書プロファイルID ACME 失効対象証明書シリアル番号 失効理由 失効理由コメント CSR"
    names += " 利用管理者氏名 利用管理者所属 利用管理者mail 利用管理者FQDN Webサーバソフトウェア名等 dNSName"
    assert [item(key).split(" ")[0] for key in KEYS] == names.split(" ")


def test_each_column_says_what_to_do_when_it_is_missing():
    assert all(column(key)["missing"].endswith(".") for key in KEYS)


def test_profiles_are_those_of_the_keys():
    assert RULES["profiles"] == PROFILES


# --- mutations ----------------------------------------------------------------------------------------------


def _mutation(name, change):
    """A broken copy of the table."""
    table = copy.deepcopy(dict(RULES))
    change(table)
    assert table != RULES, "{0} changes nothing".format(name)
    return pytest.param(table, id=name)


def _setting(*path):
    """A function that sets table[path] to a value."""

    def change_to(value):
        def change(table):
            place = table
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value

        return _mutation("{0} = {1!r}".format(".".join(map(str, path)), value), change)

    return change_to


def _numbers(*path):
    found = RULES
    for key in path:
        found = found[key]
    return [_setting(*path)(found - 1), _setting(*path)(found + 1)]


def _columns():
    for row in RULES["columns"]:
        for length in (row["max"] - 1, row["max"] + 1):
            rows = tuple(dict(one, max=length) if one is row else one for one in RULES["columns"])
            name = "max of {0} = {1}".format(row["key"], length)
            yield _mutation(name, lambda table, rows=rows: table.update(columns=rows))
        other = "text" if row["form"] != "text" else "account"
        rows = tuple(dict(one, form=other) if one is row else one for one in RULES["columns"])
        yield _mutation("form of " + row["key"], lambda table, rows=rows: table.update(columns=rows))


def _marks():
    for kind, marks in RULES["kinds"].items():
        for at, mark in enumerate(marks):
            for other in "○△—".replace(mark, ""):
                yield _setting("kinds", kind)(marks[:at] + other + marks[at + 1 :])


def _without(*path):
    """Each member of a tuple or dict left out."""
    found = RULES
    for key in path:
        found = found[key]
    for member in found:
        if isinstance(found, dict):
            rest = {key: value for key, value in found.items() if key != member}
        else:
            rest = tuple(one for one in found if one != member)
        yield _setting(*path)(rest)


def _patterns(*path):
    """A pattern that takes everything, one that takes nothing, and one for each allowed symbol left out."""
    found = RULES
    for key in path:
        found = found[key]
    yield _setting(*path)(r"(?s).*")
    yield _setting(*path)(r"(?!)")
    for piece in ("A-Z", "a-z", "0-9", "A-F", "a-f", " ", "'", "(", ")", ",", r"\-", ".", "/", ":", "=", "_"):
        start, end = found.find("["), found.rfind("]")
        if piece in found[start:end] and start >= 0:
            inner = found[start:end].replace(piece, "", 1)
            if inner != "[":
                yield _setting(*path)(found[:start] + inner + found[end:])


def _added(*path):
    """Patterns that take one symbol more."""
    found = RULES
    for key in path:
        found = found[key]

    def with_symbols(symbols):
        for symbol in symbols:
            yield _setting(*path)(found.replace("[", "[" + symbol, 1))

    return with_symbols


def _orders(*path):
    found = RULES
    for key in path:
        found = found[key]
    for at in range(len(found) - 1):
        order = list(found)
        order[at], order[at + 1] = order[at + 1], order[at]
        yield _setting(*path)(tuple(order))


def mutations():
    """All the tables with one broken row."""
    found = list(_columns()) + list(_marks())
    found += _numbers("file", "columns") + _numbers("file", "records")
    found += [_setting("file", "encoding")(one) for one in ("cp932", "utf-8", "euc_jp")]
    found += [_setting("file", "line_end")("\n"), _setting("file", "separator")(",")]
    found += list(_without("file", "extensions")) + [_setting("file", "extensions")((".tsv", ".txt", ".csv"))]
    found += list(_without("kind_names")) + list(_without("profiles")) + list(_without("reasons"))
    found += [_setting("profiles")({"3": "p384", "11": "rsa2048"})]
    found += [_setting("profiles")(dict(RULES["profiles"], **{number: "p384"})) for number in ("1", "2")]
    found += [_setting("reasons")(dict(list(RULES["reasons"].items()) + [(more, "x")])) for more in (2, 6, 9)]
    found += [_setting("reason_to_confirm")(one) for one in (None, 0, 3, 4, 5)]
    found += [_setting("reason_with_comment")(one) for one in (None, 1, 3, 4, 5)]
    found += list(_orders("subject", "order")) + list(_orders("subject", "csr_order"))
    found += list(_without("subject", "order")) + list(_without("subject", "csr_order"))
    found += [_setting("subject", "country")("US")]
    found += _numbers("subject", "organization_max") + _numbers("subject", "acme_values_max")
    for name in ("organization", "place"):
        found += list(_patterns("subject", name)) + list(_added("subject", name)("&+_é"))
    for name in ("one_place_enough", "old_unit_tolerated", "strict"):
        found += list(_without("subject", name))
        more = [kind for kind in KINDS if kind not in RULES["subject"][name]]
        found += [_setting("subject", name)(RULES["subject"][name] + (kind,)) for kind in more]
    for name in ("fqdn_max", "label_max", "dns_names"):
        found += _numbers("names", name)
    found += list(_patterns("names", "characters")) + list(
        _added("names", "characters")(["A-Z", "_", "*", " ", ",", "日"])
    )
    found += [_setting("names", "edge")(one) for one in (".", "-", "", ".-w")]
    found += [_setting("names", "prefix")(one) for one in ("DNS:", "dnsname=", "")]
    found += [_setting("names", "separator")(one) for one in (";", " ", ", ")]
    for path in (("serial", "decimal"), ("serial", "hexadecimal"), ("mail", "local"), ("mail", "domain")):
        found += list(_patterns(*path))
    found += list(_added("mail", "local")("+%!'")) + list(_added("mail", "domain")("_"))
    found += [_setting("account")(one) for one in (r"[ -~]+", r"(?s).*", r"(?!)", r"[0-9A-Za-z]+")]
    return found


def _noticed(table):
    """The first case that gives something else under a broken table, or None."""
    for case in rule_cases.CASES:
        try:
            if case.probe(table) != case.expected:
                return case.name
        except Exception as error:  # a table without a row that is needed
            return "{0}: {1!r}".format(case.name, error)
    return None


@pytest.fixture(scope="module")
def cached_csr():
    """Each CSR is verified once: the tables differ, the CSRs do not."""
    plain, known = _csr.read, {}

    def read(text):
        if text not in known:
            try:
                known[text] = plain(text)
            except Exception as error:
                known[text] = error
        if isinstance(known[text], Exception):
            raise known[text]
        return known[text]

    _csr.read = read
    yield
    _csr.read = plain


@pytest.mark.parametrize("table", mutations())
def test_a_broken_row_is_noticed(table, cached_csr):
    assert _noticed(table) is not None


def test_every_row_of_the_rules_is_broken_once():
    """A new row needs its mutation: each leaf of the table differs in at least one broken copy."""
    broken = [parameter.values[0] for parameter in mutations()]
    unbroken = [path for path in _leaves(RULES) if all(_at(table, path) == _at(RULES, path) for table in broken)]
    assert unbroken == []


def _leaves(table, path=()):
    for key, value in table.items():
        if isinstance(value, dict) and key not in ("profiles", "reasons", "kind_names"):
            yield from _leaves(value, path + (key,))
        else:
            yield path + (key,)


def _at(table, path):
    for key in path:
        table = table.get(key)
    return table


def test_the_reader_knows_the_anchors_by_their_place():
    places = [KEYS[place] for place, pattern, name in _tsv_text.ANCHORS]
    assert places == ["subject", "csr", "manager_email", "dns_names"]
