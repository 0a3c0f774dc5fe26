# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What survives Shift_JIS, and what to write in place of what does not."""

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _characters as characters


def test_accepted_are_ascii_and_the_6879_characters_of_jis_x_0208():
    two_bytes = [chr(code) for code in range(0x80, 0x10000) if characters.accepted(chr(code))]
    assert len(two_bytes) == 6879
    assert all(characters.accepted(chr(code)) == (0x20 <= code < 0x7F) for code in range(0x80))


def test_accepted_characters_come_back_from_the_bytes():
    text = "".join(chr(code) for code in range(0x20, 0x10000) if characters.accepted(chr(code)))
    assert text.encode("shift_jis").decode("shift_jis") == text


@pytest.mark.parametrize(
    "character, wanted",
    [
        ("髙", "高"), ("\ufa11", "崎"), ("①", "1"), ("㈱", "(株)"), ("Ⅲ", "III"), ("℡", "TEL"), ("㎡", "m2"),
        ("ｱ", "ア"), ("ｶﾞ", "ガ"), ("ﾊﾟ", "パ"), ("～", "〜"), ("－", "−"), ("∥", "‖"), ("—", "―"), ("¥", "円"),
        ("𠮷", "吉"), ("德", "徳"), ("濵", "浜"), ("瀨", "瀬"), ("\u00a0", " "), ("\ufa19", "神"), ("か\u3099", "が"),
        ("é", ""), ("韓", ""), ("國語", ""), ("한", ""), ("😀", ""), ("\x00", ""),
    ],
)  # fmt: skip
def test_spelling(character, wanted):
    if all(characters.accepted(one) for one in character):
        assert characters.refused(character) == []
        return
    assert characters.spelling(character) == wanted


def test_every_spelling_of_the_table_is_for_a_refused_character_and_works():
    for character, wanted in characters.SPELLINGS.items():
        assert not characters.accepted(character), character
        assert all(characters.accepted(one) for one in wanted), character
        assert characters.spelling(character) == wanted


def test_refused_names_each_character_and_its_place():
    found = characters.refused("髙橋①")
    assert found == [(1, "髙"), (3, "①")]
    assert characters.describe(found) == "'髙' (U+9AD9) at position 1, '①' (U+2460) at position 3"
    assert characters.remedy(found) == "Write 髙 → 高, ① → 1."


def test_neighbours_are_spelled_together():
    assert characters.remedy(characters.refused("ｶﾞｸ生")) == "Write ｶﾞｸ → ガク."


def test_the_remedy_says_what_has_no_spelling():
    assert "Write the others" in characters.remedy(characters.refused("髙 é"))
    assert characters.remedy(characters.refused("é")).startswith("Write it with other characters")


@pytest.mark.parametrize("text", ["", "plain text", "山田 太郎", "〜−‖", "Ａ１", "\\~"])
def test_nothing_is_refused_in_good_text(text):
    assert characters.refused(text) == []


@pytest.mark.parametrize("text", ["a\tb", "a\nb", "a\x00", "a\x7f", "\u2028"])
def test_controls_are_refused_and_shown_as_text(text):
    found = characters.refused(text)
    assert len(found) == 1
    assert characters.describe(found).isprintable()


def test_many_refused_characters_are_counted():
    found = characters.refused("é" * 300)
    assert characters.describe(found).endswith("'é' (U+00E9) at position 5 and 295 more")
    assert len(characters.remedy(characters.refused("①a②b③c④d⑤e⑥f"))) < 80
