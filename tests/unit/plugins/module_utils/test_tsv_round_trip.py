# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the builder writes, the reader gives back: hypothesis looks for a record that does not survive."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _characters, _subject, _tsv, _tsv_record, _tsv_text
from ansible_collections.campus.upki.tests.unit import records as make

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed for this Python")
from hypothesis import strategies as some  # noqa: E402

JIS = [chr(code) for code in range(0x20, 0x10000) if _characters.accepted(chr(code))]
TEXT = some.text(some.sampled_from(JIS), max_size=60).filter(lambda text: text.strip() and '"' not in text)
LABEL = some.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAME = some.builds("{0}.{1}.example.ac.jp".format, LABEL, LABEL)
ORGANIZATION = some.from_regex(
    r"[A-Za-z0-9'()\-./:][A-Za-z0-9 '(),\-./:=]{0,40}[A-Za-z0-9'()\-./:]", fullmatch=True
).filter(lambda text: not _subject.ATTRIBUTE.search("," + text))
PLACE = some.from_regex(r"[A-Za-z0-9][A-Za-z0-9 '()\-./:]{0,20}[A-Za-z0-9]", fullmatch=True)
SERIAL = some.integers(1, 2**160 - 1)
SPELLED = some.sampled_from(["{0}", "0x{0:x}", "0X{0:X}"])
MAIL = some.from_regex(r"[a-z0-9_-]{1,20}@[a-z0-9]{1,20}\.ac\.jp", fullmatch=True)


@some.composite
def records(draw):
    kind = draw(some.sampled_from(make.KINDS))
    name = draw(NAME)
    subject = {
        "common_name": name,
        "organization": draw(ORGANIZATION),
        "locality": draw(PLACE),
        "state": draw(PLACE),
    }
    values = {
        "account_id": draw(some.text(some.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128)),
        "serial": draw(SPELLED).format(draw(SERIAL)),
        "reason": draw(some.sampled_from([0, 3, 4, 5])),
        "comment": draw(TEXT),
        "manager_name": draw(TEXT),
        "manager_affiliation": "電" + draw(TEXT),  # some bytes that are no UTF-8, see _tsv_text.decode
        "manager_email": draw(MAIL),
        "fqdn": name,
        "software": draw(TEXT),
        "dns_names": draw(some.lists(NAME, max_size=3, unique=True)),
        "profile": draw(some.sampled_from(["3", "11"])),
        "csr": "",
    }
    if kind in ("server_issue", "server_renew"):
        fields = {"O": subject["organization"], "L": subject["locality"], "ST": subject["state"]}
        values["csr"] = make.csr_pem.__wrapped__(name, "hypothesis", **fields)
        values["profile"] = "11"
    for key in list(values):
        optional = make.mark(kind, key) == "△" and draw(some.booleans())
        if make.mark(kind, key) == "—" or optional:
            values[key] = [] if key == "dns_names" else None
    return dict(values, kind=kind, subject=subject)


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(some.lists(records(), min_size=1, max_size=3))
def test_round_trip(listed):
    rows, faults = _tsv.examine_set(listed)[:2]
    hypothesis.assume(not [row for row in faults if row["code"] in ("key_twice", 202, 212, "record_twice")])
    assert faults == []
    for kind, group in _tsv.split(listed):
        data = _tsv_record.encode([_tsv_record.build_line(record) for record in group])
        hypothesis.assume(_tsv_text.decode(data)[1] == "shift_jis")
        found, faults = _tsv.parse(data, kind)
        assert [row for row in faults if row["code"] != "key_twice"] == []
        for record, back in zip(group, found):
            back.pop("record")
            assert back == dict(record, serial=record["serial"] and str(int(record["serial"], 0)))
        assert _tsv_record.encode([_tsv_record.build_line(record) for record in found]) == data


@hypothesis.settings(max_examples=300, deadline=None, derandomize=True)
@hypothesis.given(some.binary(max_size=400), some.sampled_from(make.KINDS + (None,)))
def test_no_bytes_make_the_reader_fail(data, kind):
    found = _tsv.read(data, kind)
    assert found["faults"]


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(some.data())
def test_no_single_change_makes_the_reader_fail(data):
    line = make.data(make.texts("server_renew"))
    at = data.draw(some.integers(0, len(line)))
    cut = data.draw(some.integers(0, 3))
    _tsv.read(line[:at] + data.draw(some.binary(max_size=3)) + line[at + cut :], None)


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(
    some.fixed_dictionaries({key: some.text(max_size=20) for key in make.KEYS if key not in ("subject", "dns_names")})
)
def test_no_text_makes_the_check_fail(texts):
    for kind in make.KINDS:
        _tsv_record.check_record(
            dict(texts, kind=kind, subject={"common_name": texts["fqdn"]}, dns_names=[texts["software"]])
        )
