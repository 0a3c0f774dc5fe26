# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in, certificates out: whole files, once each, also after an interruption."""

import datetime
import fcntl
import json
import os
import pathlib
import shutil

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _practice_desk as desk
from ansible_collections.campus.upki.plugins.module_utils import _x509
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import applications as make

NOW = datetime.datetime(2026, 11, 22, 3, 0, tzinfo=datetime.timezone.utc)


class Office(object):
    """A practice CA in a folder of its own with outbox and inbox."""

    def __init__(self, path):
        self.path = path
        self.outbox, self.inbox = path / "outbox", path / "inbox"
        self.outbox.mkdir()

    def put(self, name, *rows):
        (self.outbox / name).write_bytes(make.tsv(*rows))

    def run(self, check_mode=False, **options):
        params = {"path": str(self.path / "ca"), "outbox": [str(self.outbox)], "inbox": str(self.inbox)}
        return desk.run(dict(params, **options), NOW, check_mode)

    def listing(self):
        found = {}
        for folder, _folders, names in os.walk(str(self.path)):
            for name in names:
                with open(os.path.join(folder, name), "rb") as stream:
                    found[os.path.join(folder, name)] = stream.read()
        return found


@pytest.fixture(scope="module")
def hierarchy(tmp_path_factory):
    """Making the keys takes a second, so the tests begin with a copy."""
    path = tmp_path_factory.mktemp("hierarchy") / "ca"
    desk.run({"path": str(path)}, NOW)
    return path


@pytest.fixture
def office(tmp_path, hierarchy):
    shutil.copytree(str(hierarchy), str(tmp_path / "ca"))
    return Office(tmp_path)


def codes(result):
    return [[(fault["code"], fault["record"]) for fault in row["faults"]] for row in result["refused"]]


def test_the_first_run_makes_the_ca_and_the_second_nothing(tmp_path):
    office = Office(tmp_path)
    assert office.run(check_mode=True)["created"]
    assert office.listing() == {}
    first = office.run()
    assert (first["changed"], first["created"], first["issued"], first["refused"]) == (True, True, [], [])
    assert os.path.isfile(first["widely_trusted"])
    assert os.stat(str(office.path / "ca")).st_mode & 0o777 == 0o700
    before = office.listing()
    second = office.run()
    assert (second["changed"], second["created"]) == (False, False)
    assert office.listing() == before


def test_issue(office):
    office.put("a.tsv", make.issue(), make.issue("b.example.ac.jp"))
    result = office.run()
    assert [(row["name"], row["kind"]) for row in result["issued"]] == [
        (make.WWW, "server_issue"),
        ("b.example.ac.jp", "server_issue"),
    ]
    row = result["issued"][0]
    text = pathlib.Path(row["file"]).read_text()
    (certificate,) = _x509.certificates_from_pem(text)  # the leaf alone
    assert row["serial"] == str(certificate.serial_number)
    assert os.path.basename(row["file"]) == "{0:X}.cer".format(certificate.serial_number)
    assert sorted(os.listdir(str(office.inbox))) == sorted(os.path.basename(row["file"]) for row in result["issued"])
    assert os.path.isfile(row["mail"])


def test_an_accepted_file_is_never_taken_again_under_any_name(office):
    office.put("a.tsv", make.issue())
    office.run()
    os.rename(str(office.outbox / "a.tsv"), str(office.outbox / "b.txt"))
    before = office.listing()
    result = office.run()
    assert (result["changed"], result["issued"], result["refused"]) == (False, [], [])
    assert office.listing() == before


def test_a_certificate_that_was_taken_out_of_the_inbox_does_not_come_back(office):
    office.put("a.tsv", make.issue())
    os.unlink(office.run()["issued"][0]["file"])
    assert not office.run()["changed"]
    assert os.listdir(str(office.inbox)) == []


def test_one_bad_record_refuses_its_whole_file_and_no_other(office):
    office.put("a.tsv", make.issue(), make.issue("b.example.ac.jp", c12=""))
    office.put("b.tsv", make.issue("c.example.ac.jp"))
    result = office.run()
    assert codes(result) == [[(201, 2)]]
    assert result["refused"][0]["answer"].startswith("201:2,Webサーバソフトウェア名等,")
    assert [row["name"] for row in result["issued"]] == ["c.example.ac.jp"]


def test_a_refused_file_is_refused_again_and_changes_nothing(office):
    office.put("a.tsv", make.issue(c12=""))
    office.run()
    before = office.listing()
    result = office.run()
    assert (result["changed"], codes(result)) == (False, [[(201, 1)]])
    assert office.listing() == before


def test_a_corrected_file_is_accepted(office):
    office.put("a.tsv", make.issue(c12=""))
    office.run()
    office.put("a.tsv", make.issue())
    assert len(office.run()["issued"]) == 1


def test_a_later_file_sees_what_an_earlier_one_has_got(office):
    office.put("a.tsv", make.issue())
    office.put("b.tsv", make.issue(label="another"))
    result = office.run()
    assert (len(result["issued"]), codes(result)) == (1, [[(212, 1)]])


def test_the_cycle_issue_renew_revoke(office):
    office.put("1.tsv", make.issue())
    (first,) = office.run()["issued"]
    office.put("2.tsv", make.renew(first["serial"]))
    (second,) = office.run()["issued"]
    assert (second["kind"], second["name"]) == ("server_renew", make.WWW)
    office.put("3.tsv", make.revoke(first["serial"]))
    result = office.run()
    assert result["issued"] == []
    assert [(row["kind"], row["serial"]) for row in result["recorded"]] == [("server_revoke", first["serial"])]
    assert not office.run()["changed"]


def test_a_kind_for_all_files(office):
    office.put("a.tsv", make.issue())
    result = office.run(kind="server_renew")
    assert codes(result) == [[(201, 1)]]
    assert result["refused"][0]["kind"] == "server_renew"


def test_a_missing_file(office):
    result = office.run(outbox=[str(office.outbox / "a.tsv")])
    assert result["refused"][0]["answer"] == "208:,ファイル,there is no such file or folder"


def test_acme_accounts_are_reported(office):
    office.put("acme_create.tsv", make.acme_create())
    (row,) = office.run()["recorded"]
    assert row["account"].startswith("practice-")


def test_generation_and_lifetime(office):
    office.put("a.tsv", make.issue())
    (row,) = office.run(generation="g7", lifetime=47)["issued"]
    (certificate,) = _x509.certificates_from_pem(pathlib.Path(row["file"]).read_text())
    assert "G7 ECC" in _x509.name_text(certificate.issuer)
    assert row["not_after"] == "2027-01-08T02:55:00Z"


@pytest.mark.parametrize("options", [{"lifetime": 0}, {"lifetime": 10000}, {"backdate": -1}, {"backdate": 10000}])
@pytest.mark.parametrize("check_mode", [False, True])
def test_validity_that_cannot_be_changes_nothing(office, options, check_mode):
    office.run()
    office.put("a.tsv", make.issue())
    before = office.listing()
    with pytest.raises(UpkiError) as caught:
        office.run(check_mode, **options)
    assert caught.value.code == "practice_validity"
    assert office.listing() == before


def test_check_mode_predicts_and_changes_nothing(office):
    office.put("a.tsv", make.issue(), make.issue("b.example.ac.jp"))
    office.put("b.tsv", make.issue(label="another"))
    before = office.listing()
    predicted = office.run(check_mode=True)
    assert office.listing() == before
    real = office.run()
    assert predicted["changed"] is True
    assert codes(predicted) == codes(real) == [[(212, 1)]]
    for key in ("name", "kind", "not_after"):
        assert [row[key] for row in predicted["issued"]] == [row[key] for row in real["issued"]]
    assert {row["serial"] for row in predicted["issued"]} == {None}
    after = office.run(check_mode=True)
    assert (after["changed"], after["issued"]) == (False, [])


def test_diff_shows_register_lines(office):
    office.put("a.tsv", make.issue())
    result = office.run()
    assert result["diff"]["before"] == ""
    assert result["diff"]["after"] == "{0} {1} server_issue valid\n".format(result["issued"][0]["serial"], make.WWW)


def test_an_interrupted_delivery_is_finished_by_the_next_run(office, monkeypatch):
    office.put("a.tsv", make.issue())

    def full(*dummy_arguments):
        raise UpkiError("store_io", "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(desk, "_deliver", full)
        with pytest.raises(UpkiError):
            office.run()
    assert not office.inbox.exists()
    assert office.run(check_mode=True)["changed"]
    result = office.run()
    assert (result["changed"], result["issued"]) == (True, [])
    assert len(os.listdir(str(office.inbox))) == 1
    assert not office.run()["changed"]


def test_known_certificates_count_as_a_change_once(office, shared):
    path = str(shared / "certs" / "leaf" / "shibbi-pki-itc-u-tokyo-ac-jp-g8-rsa.pem")
    first, second = (office.run(known_certificates=[path]) for count in range(2))
    assert (first["changed"], second["changed"], second["known"]) == (True, False, [])
    (row,) = first["known"]
    assert (row["name"], row["serial"].isdigit()) == ("shibbi.pki.itc.u-tokyo.ac.jp", True)


def test_a_lost_hierarchy_is_not_replaced_in_silence(office):
    office.put("a.tsv", make.issue())
    os.unlink(office.run()["widely_trusted"])
    for check_mode in (True, False):
        with pytest.raises(UpkiError) as caught:
            office.run(check_mode)
        assert caught.value.code == "practice_ca_incomplete"


def test_no_private_key_leaves_the_ca(office):
    office.put("a.tsv", make.issue())
    result = office.run()
    assert "PRIVATE KEY" not in json.dumps(result)
    assert "PRIVATE KEY" not in (office.path / "ca" / "register.json").read_text(encoding="utf-8")


def test_two_runs_at_once(tmp_path):
    path = str(tmp_path / "lock")
    with open(path, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UpkiError) as caught, desk.locked(path, timeout=0):
            pass
        assert caught.value.code == "practice_locked"
    with desk.locked(path, timeout=0):
        pass


def test_the_message_of_a_refusal(office):
    office.put("a.tsv", make.issue(c12=""))
    text = desk.refusal_message(office.run()["refused"])
    assert "a.tsv: 201:1,Webサーバソフトウェア名等," in text
    assert "take the refused file out of the outbox" in text
