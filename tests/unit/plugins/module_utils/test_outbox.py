# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of TSV files: each application once, each file whole or absent."""

import errno
import fcntl
import hashlib
import os
import stat
import threading

import pytest
from ansible_collections.campus.upki.plugins.module_utils import _atomic, _outbox, _tsv, _tsv_set
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.tests.unit import records as make

DAY = "2026-11-22"


def lines_of(*records):
    rows, faults = _tsv.examine_set(list(records))[:2]
    assert faults == []
    return [(row.kind, _tsv_set.final_line(row)) for number, row in rows]


def deliver(path, *records, **options):
    box = _outbox.Outbox(str(path))
    with box.locked():
        return _outbox.deliver(lines_of(*records), box, options.get("day", DAY), write=True)


def revocations(*serials):
    return [make.record("server_revoke", serial=str(serial)) for serial in serials]


def names(path):
    return sorted(os.listdir(str(path)))


def test_one_file_for_each_kind(tmp_path):
    files, notes, diff = deliver(tmp_path, make.record("server_revoke"), make.record(), *revocations(7))
    assert names(tmp_path) == ["2026-11-22-server_renew-1.tsv", "2026-11-22-server_revoke-1.tsv"]
    assert [(one["kind"], one["records"], one["written"], one["sent"]) for one in files] == [
        ("server_renew", 1, True, False),
        ("server_revoke", 2, True, False),
    ]
    assert notes == []
    for one in files:
        with open(one["path"], "rb") as handle:
            assert hashlib.sha256(handle.read()).hexdigest() == one["sha256"]
        assert stat.S_IMODE(os.stat(one["path"]).st_mode) == 0o644
    assert diff[1]["after"].count("\n") == 2 and "更新のため" in diff[1]["after"]


def test_the_umask_does_not_decide(tmp_path):
    before = os.umask(0o077)
    try:
        (one,) = deliver(tmp_path, *revocations(1))[0]
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(one["path"]).st_mode) == 0o644


def test_a_second_run_writes_nothing(tmp_path):
    first = deliver(tmp_path, *revocations(1, 2))[0]
    before = os.stat(first[0]["path"])
    second, notes, diff = deliver(tmp_path, *revocations(1, 2), day="2026-11-23")
    assert [(one["path"], one["records"], one["written"]) for one in second] == [(first[0]["path"], 2, False)]
    assert second[0]["sha256"] == first[0]["sha256"]
    assert (notes, diff) == ([], [])
    after = os.stat(first[0]["path"])
    assert (after.st_mtime, after.st_ino) == (before.st_mtime, before.st_ino)


def test_only_what_is_new_is_written(tmp_path):
    deliver(tmp_path, *revocations(1, 2))
    files = deliver(tmp_path, *revocations(1, 2, 3))[0]
    assert [(os.path.basename(one["path"]), one["records"], one["written"]) for one in files] == [
        ("2026-11-22-server_revoke-2.tsv", 1, True),
        ("2026-11-22-server_revoke-1.tsv", 2, False),
    ]


def test_what_was_sent_is_not_written_again_and_its_number_stays_taken(tmp_path):
    deliver(tmp_path, *revocations(1))
    (tmp_path / "sent").mkdir()
    (tmp_path / "2026-11-22-server_revoke-1.tsv").rename(tmp_path / "sent" / "2026-11-22-server_revoke-1.tsv")
    files = deliver(tmp_path, *revocations(1, 2))[0]
    assert [(os.path.basename(one["path"]), one["written"], one["sent"]) for one in files] == [
        ("2026-11-22-server_revoke-2.tsv", True, False),
        ("2026-11-22-server_revoke-1.tsv", False, True),
    ]


@pytest.mark.parametrize("name", ["to the centre.txt", "2026-11-22-server_revoke-9.TSV"])
def test_a_renamed_file_counts(tmp_path, name):
    deliver(tmp_path, *revocations(1))
    (tmp_path / "2026-11-22-server_revoke-1.tsv").rename(tmp_path / name)
    assert [one["written"] for one in deliver(tmp_path, *revocations(1))[0]] == [False]


@pytest.mark.parametrize("name", ["copy.csv", ".2026-11-22-server_revoke-1.tsv", "2026-11-22-acme_revoke-1.tsv"])
def test_a_file_that_is_none_of_its_kind_does_not_count(tmp_path, name):
    deliver(tmp_path, *revocations(1))
    (tmp_path / "2026-11-22-server_revoke-1.tsv").rename(tmp_path / name)
    assert [one["written"] for one in deliver(tmp_path, *revocations(1))[0]] == [True]


def other(path, change):
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.decode("shift_jis").encode("utf-8"),
        lambda data: data.decode("shift_jis").encode("utf-8-sig"),
        lambda data: data.decode("shift_jis").encode("utf-16"),
        lambda data: data.replace(b"\t", b'"\t"'),
        lambda data: b"a header\r\n" + data,
    ],
    ids=["utf-8", "bom", "utf-16", "quotes", "header"],
)
def test_a_file_that_was_saved_again_is_not_mailed_without_a_word(tmp_path, change):
    deliver(tmp_path, make.record())
    path = tmp_path / "2026-11-22-server_renew-1.tsv"
    other(path, change)
    files, notes, _diff = deliver(tmp_path, make.record())
    if not files[0]["written"]:
        assert [(row["code"], row["value"], row["record"]) for row in notes] == [("saved_again", path.name, None)]
        assert str(path) in notes[0]["message"] and "Delete it" in notes[0]["fix"]
        path.unlink()
        assert deliver(tmp_path, make.record())[1] == []


def test_line_ends_and_what_was_sent_are_nobody_s_business(tmp_path):
    deliver(tmp_path, make.record())
    path = tmp_path / "2026-11-22-server_renew-1.tsv"
    other(path, lambda data: data.replace(b"\r\n", b"\n").rstrip(b"\n"))
    assert deliver(tmp_path, make.record())[1] == []
    other(path, lambda data: data.decode("shift_jis").encode("utf-8"))
    (tmp_path / "sent").mkdir()
    path.rename(tmp_path / "sent" / path.name)
    assert deliver(tmp_path, make.record())[1] == []


def test_the_same_csr_with_other_columns_is_written_with_a_note(tmp_path):
    deliver(tmp_path, make.record())
    files, notes, diff = deliver(tmp_path, make.record(manager_email="hanako@example.ac.jp"))
    assert [one["written"] for one in files] == [True]
    assert [(row["code"], row["record"], row["value"]) for row in notes] == [
        ("applied_before", 1, "2026-11-22-server_renew-1.tsv")
    ]


def test_the_same_csr_in_another_kind_has_no_note(tmp_path):
    """The answer 212 to an issue is a renewal with the same CSR."""
    deliver(tmp_path, make.record("server_issue"))
    assert deliver(tmp_path, make.record("server_renew"))[1] == []


def test_a_hundred_records_make_two_files(tmp_path):
    files = deliver(tmp_path, *revocations(*range(1, 101)))[0]
    assert [(os.path.basename(one["path"]), one["records"]) for one in files] == [
        ("2026-11-22-server_revoke-1.tsv", 99),
        ("2026-11-22-server_revoke-2.tsv", 1),
    ]


def test_check_mode_predicts_and_writes_nothing(tmp_path):
    dest = tmp_path / "not" / "yet"
    box = _outbox.Outbox(str(dest))
    rows = lines_of(*revocations(1)) + [("server_renew", None)]
    files, notes, diff = _outbox.deliver(rows, box, DAY, write=False)
    assert not dest.exists()
    assert [(os.path.basename(one["path"]), one["written"], one["sha256"] is None) for one in files] == [
        ("2026-11-22-server_renew-1.tsv", True, True),
        ("2026-11-22-server_revoke-1.tsv", True, False),
    ]
    written = deliver(dest, *revocations(1))[0]
    assert written[0]["sha256"] == files[1]["sha256"]


def test_a_missing_folder_is_made(tmp_path):
    deliver(tmp_path / "a" / "b", *revocations(1))
    assert stat.S_IMODE(os.stat(str(tmp_path / "a" / "b")).st_mode) == 0o755


def test_dest_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UpkiError):
        deliver(tmp_path / "file", *revocations(1))
    assert (tmp_path / "file").read_text() == "x"


class Full:
    """os.write or os.rename that fails at the n-th call."""

    def __init__(self, plain, at):
        self.plain, self.at, self.calls = plain, at, 0

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.at:
            raise OSError(errno.ENOSPC, "full")
        return self.plain(*arguments)


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "fchmod"])
@pytest.mark.parametrize("at", [1, 2])
def test_a_full_disk_leaves_whole_files_only_and_the_next_run_completes(tmp_path, monkeypatch, call, at):
    records = [make.record()] + revocations(1)
    monkeypatch.setattr(os, call, Full(getattr(os, call), at))
    with pytest.raises(UpkiError) as caught:
        deliver(tmp_path, *records)
    monkeypatch.undo()
    assert (caught.value.code, "Make room" in caught.value.fix) == ("outbox_io", True)
    assert all(name.endswith(".tsv") and not name.startswith(".") for name in names(tmp_path))
    for name in names(tmp_path):
        assert _tsv.parse((tmp_path / name).read_bytes(), _outbox.kind_of_name(name))[1] == []
    deliver(tmp_path, *records)
    assert len(names(tmp_path)) == 2
    assert [one["written"] for one in deliver(tmp_path, *records)[0]] == [False, False]


def test_leftovers_of_a_killed_run_go_away_and_other_files_stay(tmp_path):
    left = ".2026-11-22-server_renew-1.tsv.0a1b2c3d" + _atomic.TEMPORARY
    for name in (left, ".notes.tmp", "notes.tmp"):
        (tmp_path / name).write_text("x")
    deliver(tmp_path, *revocations(1))
    assert names(tmp_path) == [".notes.tmp", "2026-11-22-server_revoke-1.tsv", "notes.tmp"]


def test_another_run_is_waited_for_and_then_named(tmp_path):
    holder = os.open(str(tmp_path), os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        with pytest.raises(UpkiError) as caught, _outbox.Outbox(str(tmp_path)).locked(wait=0):
            pass
    finally:
        os.close(holder)
    assert (caught.value.code, str(tmp_path) in caught.value.message) == ("outbox_locked", True)
    deliver(tmp_path, *revocations(1))


def test_two_runs_at_once_write_each_application_once(tmp_path):
    errors = []

    def run():
        try:
            deliver(tmp_path, *revocations(1, 2, 3))
        except Exception as error:  # reported below; a thread's own traceback would pass in silence
            errors.append(error)

    threads = [threading.Thread(target=run) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert names(tmp_path) == ["2026-11-22-server_revoke-1.tsv"]


@pytest.mark.parametrize(
    "name, kind",
    [
        ("2026-11-22-server_renew-1.tsv", "server_renew"),
        ("/a/acme_revoke.txt", "acme_revoke"),
        ("server_renew-and-server_revoke.tsv", None),
        ("server_renewals.tsv", None),
        ("x.tsv", None),
    ],
)
def test_kind_of_name(name, kind):
    assert _outbox.kind_of_name(name) == kind


# --- labels: files of several folders come together without a clash ----------------------------------------------


def test_a_label_stands_in_the_names_and_has_numbers_of_its_own(tmp_path):
    for label, serial in (("job7", 1), ("job7", 2), ("job8", 3), ("", 4)):
        box = _outbox.Outbox(str(tmp_path), label)
        with box.locked():
            _outbox.deliver(lines_of(*revocations(serial)), box, DAY, write=True)
    found = [name for name in names(tmp_path) if name.endswith(".tsv")]
    assert found == [
        "2026-11-22-server_revoke-1.tsv",
        "2026-11-22-server_revoke-job7-1.tsv",
        "2026-11-22-server_revoke-job7-2.tsv",
        "2026-11-22-server_revoke-job8-1.tsv",
    ]
    assert {_outbox.kind_of_name(name) for name in found} == {"server_revoke"}


def test_a_record_under_another_label_is_not_written_again(tmp_path):
    deliver(tmp_path, *revocations(1))
    box = _outbox.Outbox(str(tmp_path), "job7")
    with box.locked():
        (one,) = _outbox.deliver(lines_of(*revocations(1)), box, DAY, write=True)[0]
    assert (one["written"], os.path.basename(one["path"])) == (False, "2026-11-22-server_revoke-1.tsv")


@pytest.mark.parametrize("label", ["a b", "a-b", "../a", "a" * 33, "一"])
def test_a_label_of_other_characters_is_refused(tmp_path, label):
    with pytest.raises(UpkiError) as caught:
        _outbox.Outbox(str(tmp_path), label)
    assert caught.value.code == "label_invalid" and label in caught.value.message


# --- file systems that lock no folder -----------------------------------------------------------------------------


def without_folder_locks(monkeypatch, code):
    """As NFS: a folder cannot be locked, a file can. Another file system's answer to the file is `code`."""
    real = fcntl.flock

    def flock(descriptor, operation):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if code:
            raise OSError(code, os.strerror(code))
        return real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_folder_that_cannot_be_locked_is_guarded_by_a_file_in_it(tmp_path, monkeypatch):
    without_folder_locks(monkeypatch, None)
    deliver(tmp_path, *revocations(1))
    assert names(tmp_path) == [".lock", "2026-11-22-server_revoke-1.tsv"]
    first, second = _outbox.Outbox(str(tmp_path)), _outbox.Outbox(str(tmp_path))
    with first.locked(), pytest.raises(UpkiError) as caught, second.locked(wait=0):
        pass
    assert caught.value.code == "outbox_locked"
    deliver(tmp_path, *revocations(2))
    assert len(names(tmp_path)) == 3


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    without_folder_locks(monkeypatch, errno.ENOLCK)
    with pytest.raises(UpkiError) as caught:
        deliver(tmp_path, *revocations(1))
    assert caught.value.code == "outbox_io" and str(tmp_path) in caught.value.message
    assert names(tmp_path) == [".lock"]
