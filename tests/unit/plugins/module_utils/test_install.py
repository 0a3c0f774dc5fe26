# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Matching, deciding and swapping, with a server that is simulated: what it serves is what it read at its reload."""

import datetime
import os
import signal

import pytest
from ansible_collections.campus.upki.plugins.module_utils import (
    _foreign,
    _health,
    _install,
    _inventory,
    _probe,
    _swap,
    _x509,
)
from ansible_collections.campus.upki.plugins.module_utils._errors import UpkiError
from ansible_collections.campus.upki.plugins.module_utils._store import Store
from ansible_collections.campus.upki.tests.unit import pki

NAME = "www.example.ac.jp"
OTHER = "mail.example.ac.jp"
ROOT = pki.CA("Install Root")
INTER = pki.CA("Install Inter", ROOT)
ROW = {"web": {"test": ["web-test"], "reload": ["web-reload"]}}


class Web(object):
    """A server: its commands and its ports. `broken` names the command that fails, `deaf` ignores reloads."""

    def __init__(self, store):
        self.store, self.commands = store, []
        self.serving, self.listening, self.broken, self.deaf = {}, True, {}, False
        self.default, self.closed, self.looked, self.chains, self.other_chain = None, (), [], {}, None

    def read(self):
        self.serving, self.chains = {}, {}
        for name in self.store.names():
            live = self.store.certificate(name).live
            if live is not None and live.certificate() is not None:
                self.serving[name] = _x509.der(live.certificate())
                with open(live.file("fullchain.pem")) as stream:
                    read = _x509.certificates_from_pem(stream.read())[1:]
                self.chains[name] = [_x509.der(one) for one in (read if self.other_chain is None else self.other_chain)]

    def run(self, argv, timeout):
        del timeout
        self.commands.append(argv[0])
        if argv[0] in self.broken and self.broken[argv[0]]():
            return _swap.Outcome(False, "exit status 1; it is broken")
        if argv[0] == "web-reload" and not self.deaf:
            self.read()
        return _swap.Outcome(True, "")

    def look(self, host, port, server_name, starttls="", timeout=5):
        del timeout
        self.looked.append((host, port, starttls))
        if not self.listening or port in self.closed:
            return _probe.Seen(None, "refused", "refused")
        leaf = self.serving.get(server_name, self.default)
        chain = [leaf] + self.chains.get(server_name, []) if leaf else None
        return _probe.Seen(leaf, "" if leaf else "tls", "" if leaf else "alert", chain)


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


class Host(object):
    def __init__(self, tmp_path, monkeypatch):
        self.store = Store(str(tmp_path / "store"))
        self.web = Web(self.store)
        self.candidates, self.unusable, self.others, self.made = [], [], "", 0
        monkeypatch.setattr(_swap, "run", self.web.run)
        monkeypatch.setattr(_swap._probe, "look", self.web.look)
        monkeypatch.setattr(_swap._servers, "_found", lambda program: True)
        monkeypatch.setattr(_swap, "PAUSE", 0.001)

    def request(self, name=NAME, dns_names=()):
        self.made += 1
        key = pki.key("request {0} {1}".format(name, self.made))
        created = (pki.NOW - pki.days(10) + datetime.timedelta(hours=self.made)).strftime("%Y-%m-%dT%H:%M:%SZ")
        spki = _x509.spki_sha256(key.public_key())
        meta = {"name": name, "created": created, "dns_names": list(dns_names), "spki_sha256": spki}
        meta["record"] = {"kind": "issue"}
        with self.store.lock():
            request = pki.pem(pki.csr(key, name))
            return self.store.certificate(name).add_generation(pki.key_pem(key), request, meta)

    def issue(self, generation, name=NAME, **shape):
        key = _x509.request_from_pem(generation.request()).public_key()
        leaf = INTER.issue(name, key, **shape)
        self.arrive(leaf)
        return leaf

    def arrive(self, leaf, **changes):
        row = {
            "certificate": pki.pem(leaf),
            "chain": [pki.pem(INTER.certificate)],
            "file": "inbox/{0}.cer".format(len(self.candidates)),
            "error": None,
            "notices": [],
        }
        self.candidates.append(dict(row, **changes))

    def run(self, *items, **options):
        check_mode = options.pop("check_mode", False)
        params = {
            "certificates": list(items or [{"name": NAME, "server": "web"}]),
            "store": self.store.path,
            "servers": ROW,
            "wait": 0.01,
            "candidates": self.candidates,
            "unusable": self.unusable,
            "others": self.others,
        }
        return _install.run(dict(params, **options), check_mode, pki.NOW)

    def served(self, name=NAME):
        return self.web.serving.get(name)

    def live(self, name=NAME):
        return self.store.certificate(name).link("live")

    def first(self, name=NAME):
        """A certificate that is live and served."""
        generation = self.request(name)
        leaf = self.issue(generation, name)
        self.run({"name": name})
        self.web.read()
        self.candidates = []
        return leaf


def tree(path):
    """Every path with its content or target."""
    found = {}
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            full = os.path.join(folder, name)
            if name == ".lock":
                continue
            if os.path.islink(full):
                found[full] = os.readlink(full)
            elif os.path.isfile(full):
                with open(full, "rb") as stream:
                    found[full] = stream.read()
    return found


def fails(host, code, *items, **options):
    """The run fails with this code, and the store and the wire are as before."""
    before, serving = tree(host.store.path), dict(host.web.serving)
    with pytest.raises(UpkiError) as caught:
        host.run(*items, **options)
    assert caught.value.code == code, str(caught.value)
    after = tree(host.store.path)
    assert {path: after[path] for path in before} == before
    assert all(path.endswith(("certificate.pem", "chain.pem", "fullchain.pem")) for path in set(after) - set(before))
    assert host.web.serving == serving
    return caught.value


def only(result):
    (row,) = result["certificates"]
    return row


# --- what is said when nothing is done -------------------------------------------------------------------------


def test_nothing_on_the_host_is_absent(host):
    row = only(host.run())
    assert (row["state"], row["reason_code"], row["changed"]) == ("absent", "no_request", False)
    assert host.web.commands == []


def test_nothing_arrived_is_pending_and_no_failure(host):
    host.request()
    row = only(host.run())
    assert (row["state"], row["reason_code"], row["changed"]) == ("pending", "waiting", False)
    assert host.web.commands == []


def test_a_live_certificate_with_a_waiting_request_is_renewing(host):
    leaf = host.first()
    host.request()
    row = only(host.run())
    assert (row["state"], row["reason_code"], row["serial"]) == ("renewing", "waiting", str(leaf.serial_number))


def test_a_live_certificate_that_ended_is_expired(host):
    host.first()
    result = _install.run({"certificates": [{"name": NAME}], "store": host.store.path}, False, pki.NOW + pki.days(300))
    assert only(result)["state"] == "expired"


# --- the swap ----------------------------------------------------------------------------------------------------


def test_what_arrived_goes_live_and_the_next_run_changes_nothing(host):
    host.first()
    leaf = host.issue(host.request())
    host.web.commands = []
    row = only(host.run())
    assert (row["state"], row["reason_code"], row["changed"]) == ("live", "installed", True)
    assert row["serial"] == str(leaf.serial_number)
    assert [link["sha256"] for link in row["chain"]] == [_x509.sha256(INTER.certificate)]
    assert host.served() == _x509.der(leaf)
    assert host.web.commands == ["web-test", "web-test", "web-reload"]
    assert host.store.certificate(NAME).pending is None
    host.web.commands = []
    again = host.run()
    assert again["changed"] is False
    assert host.web.commands == []
    assert [entry["reason_code"] for entry in again["ignored"]] == ["already_live"]


def test_check_mode_decides_the_same_and_touches_nothing(host):
    host.first()
    host.issue(host.request())
    before = tree(host.store.path)
    rehearsed = host.run(check_mode=True)
    assert tree(host.store.path) == before
    assert "web-reload" not in host.web.commands
    real = host.run()
    assert decided(rehearsed) == decided(real)


def decided(result):
    """All but what the store holds afterwards, which a rehearsal leaves as it was."""
    return {key: value for key, value in result.items() if key != "inventory"}


def test_the_result_says_what_the_store_holds_as_info_does(host):
    old = host.first()
    new = host.issue(host.request())
    (row,) = host.run(check_mode=True)["inventory"]
    assert row["live"]["serial"] == str(old.serial_number) and row["state"] == "renewing"
    result = host.run()
    (row,) = result["inventory"]
    assert row["live"]["serial"] == str(new.serial_number) and row["state"] == "live"
    assert [one["role"] for one in row["generations"]] == ["old", "live"]
    assert result["inventory"] == _inventory.inventory(host.store.path, [row["name"]], pki.NOW.timestamp())


def test_diff_shows_fields_before_and_after_and_no_key(host):
    old = host.first()
    new = host.issue(host.request())
    (diff,) = host.run()["diff"]
    assert "serial: {0}\n".format(old.serial_number) in diff["before"]
    assert "serial: {0}\n".format(new.serial_number) in diff["after"]
    assert "CN=Install Inter" in diff["after"]
    assert "BEGIN" not in str(diff)


def test_the_files_are_clean_pem_in_the_served_order(host):
    generation = host.request()
    leaf = host.issue(generation)
    host.run({"name": NAME})
    with open(generation.file("fullchain.pem")) as stream:
        assert stream.read() == pki.pem(leaf, INTER.certificate)
    assert os.stat(generation.key_path).st_mode & 0o777 == 0o600


def test_certificates_of_one_server_take_one_reload(host):
    host.first()
    host.first(OTHER)
    for name in (NAME, OTHER):
        host.issue(host.request(name), name)
    host.web.commands = []
    result = host.run({"name": NAME, "server": "web"}, {"name": OTHER, "server": "web"})
    assert [row["changed"] for row in result["certificates"]] == [True, True]
    assert host.web.commands == ["web-test", "web-test", "web-reload"]


def test_without_a_server_it_is_only_the_flip(host):
    host.issue(host.request())
    assert only(host.run({"name": NAME}))["state"] == "live"
    assert host.web.commands == []


def test_a_first_certificate_is_tested_only_after_the_flip(host):
    host.web.default = b"another host"
    host.issue(host.request())
    assert only(host.run())["state"] == "live"
    assert host.web.commands == ["web-test", "web-reload"]


def test_an_empty_endpoint_is_not_looked_at(host):
    host.web.listening = False
    host.issue(host.request())
    assert only(host.run({"name": NAME, "server": "web", "endpoint": ""}))["state"] == "live"


def test_of_two_certificates_for_one_request_the_newer_is_taken(host):
    generation = host.request()
    newer = host.issue(generation, start=pki.NOW - pki.days(1))
    host.issue(generation, start=pki.NOW - pki.days(3))
    assert only(host.run({"name": NAME}))["serial"] == str(newer.serial_number)


def test_a_run_killed_after_writing_the_files_is_continued_without_the_inbox(host):
    generation = host.request()
    leaf = host.issue(generation)
    host.store.certificate(NAME).complete(generation, pki.pem(leaf), pki.pem(INTER.certificate))
    host.candidates = []
    row = only(host.run({"name": NAME}))
    assert (row["state"], row["serial"]) == ("live", str(leaf.serial_number))


def test_a_run_killed_after_the_flip_is_reloaded(host):
    host.first()
    generation = host.request()
    leaf = host.issue(generation)
    host.run({"name": NAME})
    assert host.served() != _x509.der(leaf)
    row = only(host.run())
    assert (row["reason_code"], row["changed"]) == ("reloaded", True)
    assert host.served() == _x509.der(leaf)
    assert only(host.run())["changed"] is False


# --- refusals before anything changes --------------------------------------------------------------------------


def test_a_certificate_for_another_key_names_both(host):
    generation = host.request()
    leaf = INTER.issue(NAME, pki.key("stranger").public_key())
    host.arrive(leaf)
    error = fails(host, "other_key")
    assert generation.spki_sha256() in error.message
    assert _x509.spki_sha256(leaf.public_key()) in error.message


def test_a_damaged_certificate_with_another_key_is_called_damaged(host):
    host.request()
    error = {"code": "certificate_damaged", "message": "The signature does not hold.", "fix": "Save it again."}
    host.arrive(INTER.issue(NAME, pki.key("stranger").public_key()), chain=[], error=error)
    assert "The signature does not hold." in fails(host, "certificate_damaged").message


def test_a_certificate_for_another_key_is_only_listed_when_the_right_one_is_there(host):
    generation = host.request()
    host.arrive(INTER.issue(NAME, pki.key("stranger").public_key()))
    host.issue(generation)
    result = host.run({"name": NAME})
    assert [row["reason_code"] for row in result["ignored"]] == ["other_key"]


def test_the_previous_requests_certificate_is_listed_and_the_new_one_awaited(host):
    older = host.request()
    host.request()
    host.issue(older)
    result = host.run()
    assert only(result)["reason_code"] == "waiting"
    assert [row["reason_code"] for row in result["ignored"]] == ["older"]


def test_another_certificate_for_the_live_key_is_listed_and_not_installed(host):
    live = host.first()
    again = INTER.issue(NAME, live.public_key(), start=pki.NOW)
    host.arrive(again)
    result = host.run()
    assert result["changed"] is False
    assert [row["reason_code"] for row in result["ignored"]] == ["same_key"]
    assert host.served() == _x509.der(live)


def test_an_inbox_that_is_never_emptied_stops_nothing_when_generations_were_pruned(host):
    for _number in range(5):
        host.issue(host.request())
        host.run({"name": NAME})
    assert len(host.store.certificate(NAME).generations()) == 3
    host.request()
    result = host.run({"name": NAME})
    assert only(result)["reason_code"] == "waiting"
    assert [row["reason_code"] for row in result["ignored"]] == ["older"] * 4 + ["already_live"]


def test_a_quiet_run_makes_no_store_and_waits_for_no_lock(host):
    assert host.run({"name": NAME})["changed"] is False
    assert not os.path.exists(host.store.path)
    host.request()
    with host.store.lock():
        assert only(host.run({"name": NAME}, lock_timeout=0))["reason_code"] == "waiting"
        host.issue(host.store.certificate(NAME).pending)
        assert fails(host, "store_locked", {"name": NAME}, lock_timeout=0)


def test_a_first_certificate_without_a_virtual_host_says_what_to_write(host):
    host.issue(host.request())
    host.web.listening = False
    error = fails(host, "port_closed")
    assert "upki_nginx_manage" in error.fix and host.live() is None


def test_the_right_key_under_a_strange_name_is_told(host):
    key = host.request().spki_sha256()
    host.others = _foreign.pack(["f" * 64, key, "0" * 64])
    error = fails(host, "names_missing")
    assert _foreign.known_as(key) in error.message and NAME in error.message and key[:16] in error.message


def test_keys_of_other_certificates_are_no_fault(host):
    key = host.request().spki_sha256()
    host.others = _foreign.pack(["0" * 8 + key[:56], key[8:] + "0" * 8])
    assert key[:16] in host.others  # but across two of them
    assert only(host.run({"name": NAME}))["reason_code"] == "waiting"


@pytest.mark.parametrize("where", ["item", "request"])
def test_a_name_that_was_wanted_and_is_not_in_the_certificate(host, where):
    host.issue(host.request(dns_names=["example.ac.jp"] if where == "request" else []))
    item = {"name": NAME, "dns_names": ["example.ac.jp"] if where == "item" else []}
    assert "example.ac.jp" in fails(host, "names_missing", item).message


def test_an_unusable_file_matters_to_whom_waits(host):
    host.unusable = [
        {
            "fault": True,
            "file": "inbox/a.cer",
            "message": "The file 'inbox/a.cer' is an HTML page.",
            "fix": "Save it again.",
            "code": "html",
        }
    ]
    assert only(host.run())["state"] == "absent"
    generation = host.request()
    error = fails(host, "unusable_file")
    assert "HTML page" in error.message and error.fix == "Save it again."
    host.unusable.append(dict(host.unusable[0], file="inbox/b.cer", message="The file 'inbox/b.cer' is empty."))
    error = fails(host, "unusable_file")
    assert error.fix == "For 'inbox/a.cer': Save it again. For 'inbox/b.cer': Save it again."
    assert "is empty" in error.message
    assert error.details["errors"][0]["fix"] == error.fix
    host.issue(generation)
    assert only(host.run({"name": NAME}))["state"] == "live"


def test_a_file_of_words_stops_nobody(host):
    host.unusable = [{"fault": False, "file": "inbox/a.txt", "message": "words", "fix": "", "code": "text"}]
    host.request()
    assert only(host.run())["reason_code"] == "waiting"


def test_a_chain_that_the_controller_could_not_build_is_told_with_its_remedy(host):
    generation = host.request()
    leaf = INTER.issue(NAME, _x509.request_from_pem(generation.request()).public_key())
    host.arrive(leaf, chain=[], error={"code": "cross_missing", "message": "It is missing.", "fix": "Get X."})
    error = fails(host, "cross_missing")
    assert error.fix == "Get X." and "inbox/0.cer" in error.message


def test_a_key_that_was_changed_by_hand_is_refused(host):
    generation = host.request()
    host.issue(generation)
    with open(generation.key_path, "wb") as stream:
        stream.write(pki.key_pem(pki.key("stranger")))
    fails(host, "key_mismatch")


def test_an_encrypted_key_is_refused(host):
    generation = host.request()
    host.issue(generation)
    with open(generation.key_path, "wb") as stream:
        stream.write(pki.key_pem(pki.key("request {0} 1".format(NAME)), b"secret"))
    fails(host, "key_encrypted")


def test_all_certificates_of_the_host_wait_for_the_faulty_one_and_all_faults_are_told(host):
    host.issue(host.request())
    host.issue(host.request(OTHER), OTHER, usages=[pki.CLIENT])
    third = "third.example.ac.jp"
    host.issue(host.request(third), third, end=pki.NOW - pki.days(1), start=pki.NOW - pki.days(2))
    items = [{"name": name} for name in (NAME, OTHER, third)]
    error = fails(host, "several", *items)
    assert [row["reason_code"] for row in error.details["errors"]] == ["not_for_servers", "expired"]
    assert host.live() is None
    assert OTHER in error.message and third in error.message


@pytest.mark.parametrize(
    "item, code",
    [
        ({"name": NAME, "server": "lighttpd"}, "server_unknown"),
        ({"name": NAME, "server": "web", "endpoint": "443"}, "endpoint_invalid"),
        ({"name": NAME, "server": "web", "endpoint": "127.0.0.1:99999"}, "endpoint_invalid"),
        ({"name": NAME, "server": "web", "endpoint": ["127.0.0.1:443", "::1"]}, "endpoint_invalid"),
        ({"name": "../etc", "server": "web"}, "name_unsafe"),
    ],
)
def test_options_that_cannot_be_meant(host, item, code):
    host.request()
    fails(host, code, item)


def test_a_name_listed_twice_is_refused(host):
    fails(host, "name_twice", {"name": NAME}, {"name": NAME.upper() + "."})


# --- what goes wrong during the swap ---------------------------------------------------------------------------


def renewal(host):
    host.first()
    return host.issue(host.request())


def test_a_configuration_broken_before_the_swap_stops_it(host):
    renewal(host)
    host.web.broken["web-test"] = lambda: True
    error = fails(host, "config_test_failed")
    assert "nothing was changed" in error.message and "it is broken" in error.message
    assert host.web.commands[-1] == "web-test"


def test_a_configuration_that_breaks_with_the_flip_is_put_back(host):
    renewal(host)
    old = host.live()
    host.web.broken["web-test"] = lambda: host.live() != old
    assert fails(host, "config_test_failed").details["rolled_back"] is True


def test_a_failing_reload_is_put_back(host):
    renewal(host)
    host.web.broken["web-reload"] = lambda: True
    assert fails(host, "reload_failed").details["rolled_back"] is True


def test_a_server_that_goes_on_with_the_old_certificate_is_put_back(host):
    renewal(host)
    host.web.deaf = True
    error = fails(host, "served_other")
    assert error.details["rolled_back"] is True
    assert "Everything was put back" in error.message


def test_another_virtual_host_is_noticed_and_a_first_certificate_taken_back(host):
    host.issue(host.request())
    host.web.default = pki.der(INTER.issue("default.example.ac.jp"))
    host.web.deaf = True
    error = fails(host, "served_other")
    assert "default.example.ac.jp" in error.message
    assert host.live() is None


def test_a_stopped_server_stops_a_renewal_before_the_flip(host):
    renewal(host)
    host.web.listening = False
    fails(host, "port_closed")


def test_a_port_that_stays_closed_takes_a_first_certificate_back(host):
    host.issue(host.request())
    host.web.listening = False
    fails(host, "port_closed")
    assert host.live() is None


def test_a_server_that_dies_of_the_reload_is_told_and_the_files_put_back(host):
    renewal(host)
    old = host.live()

    def die():
        host.web.listening = False
        return False

    host.web.broken["web-reload"] = die
    with pytest.raises(UpkiError) as caught:
        host.run()
    assert caught.value.code == "port_closed"
    assert caught.value.details["rolled_back"] is False
    assert "GOING BACK WAS NOT CLEAN" in caught.value.message
    assert host.live() == old


def test_a_second_server_that_fails_leaves_the_first_ones_success_and_says_so(host):
    host.first()
    host.first(OTHER)
    leaf = host.issue(host.request())
    host.issue(host.request(OTHER), OTHER)
    rows = {"web": ROW["web"], "bad": {"test": [], "reload": ["bad-reload"]}}
    host.web.broken["bad-reload"] = lambda: True
    with pytest.raises(UpkiError) as caught:
        host.run({"name": NAME, "server": "web"}, {"name": OTHER, "server": "bad"}, servers=rows)
    assert caught.value.details["done"] == [NAME]
    assert caught.value.details["changed"] is True
    assert host.served() == _x509.der(leaf)


def test_a_stopped_server_is_a_warning_when_nothing_is_due(host):
    host.first()
    host.web.listening = False
    result = host.run()
    assert result["changed"] is False
    assert "nothing listens" in result["warnings"][0]


def test_a_lock_left_by_a_killed_run_holds_nobody_up(host):
    host.issue(host.request())
    child = os.fork()
    if not child:
        with host.store.lock(0):
            os.kill(os.getpid(), signal.SIGKILL)
    _pid, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert "pid {0} ".format(child) in host.store.holder()
    assert only(host.run({"name": NAME}, lock_timeout=0))["state"] == "live"


def test_the_lock_is_held_during_tests_and_reload(host):
    renewal(host)
    held = []

    def locked():
        with pytest.raises(UpkiError) as caught, Store(host.store.path).lock(0):
            pass
        held.append(caught.value.code)
        return False

    host.web.broken = {"web-test": locked, "web-reload": locked}
    host.run()
    assert held == ["store_locked"] * 3
    with host.store.lock(0):
        pass  # and given back


def test_the_store_is_locked_during_the_swap(host):
    host.issue(host.request())
    with host.store.lock():
        with pytest.raises(UpkiError) as caught:
            host.run({"name": NAME}, lock_timeout=0.1)
        assert caught.value.code == "store_locked"
        assert host.run({"name": NAME}, check_mode=True)["changed"] is True


# --- back by hand, links, old generations ----------------------------------------------------------------------


def test_previous_goes_back_one_generation_and_a_normal_run_leaves_it(host):
    old = host.first()
    new = renewal(host)
    del new
    host.run()
    row = only(host.run({"name": NAME, "server": "web", "state": "previous"}))
    assert (row["reason_code"], row["changed"]) == ("went_back", True)
    assert row["serial"] != str(old.serial_number)
    assert host.served() == _x509.der(host.store.certificate(NAME).live.certificate())
    assert only(host.run())["changed"] is False


def test_previous_leaves_a_waiting_request_alone_whose_certificate_then_goes_live(host):
    host.first()
    renewal(host)
    host.run()
    waiting = host.request()
    host.run({"name": NAME, "server": "web", "state": "previous"})
    assert host.store.certificate(NAME).pending == waiting
    newer = host.issue(waiting)
    assert only(host.run())["serial"] == str(newer.serial_number)
    assert host.served() == _x509.der(newer)


def test_previous_without_one_is_an_error(host):
    host.first()
    assert "upki_rollback" in fails(host, "no_previous", {"name": NAME, "server": "web", "state": "previous"}).fix


def test_previous_that_has_expired_is_refused(host):
    generation = host.request()
    host.issue(generation, start=pki.NOW - pki.days(9), end=pki.NOW + pki.days(1))
    host.run({"name": NAME})
    host.web.read()
    host.candidates = []
    host.issue(host.request())
    host.run()
    params = {"certificates": [{"name": NAME, "state": "previous"}], "store": host.store.path}
    with pytest.raises(UpkiError) as caught:
        _install.run(params, False, pki.NOW + pki.days(2))
    assert caught.value.code == "expired"


def test_old_generations_go_after_a_swap(host):
    for _number in range(5):
        host.candidates = []
        host.issue(host.request())
        row = only(host.run())
    generations = [one.id for one in host.store.certificate(NAME).generations()]
    assert len(generations) == 3
    assert generations[-1] == row["generation"]
    assert len(row["pruned"]) == 1


def test_links_are_made_with_the_swap_and_mended_by_the_next_run(host, tmp_path):
    path = tmp_path / "www.crt"
    item = {"name": NAME, "server": "web", "links": [{"path": str(path), "what": "fullchain", "copy": True}]}
    host.first()
    leaf = host.issue(host.request())
    host.run(item)
    assert path.read_text() == pki.pem(leaf, INTER.certificate)
    assert only(host.run(item))["changed"] is False
    path.write_text("somebody else's\n")
    row = only(host.run(item))
    assert (row["reason_code"], row["changed"]) == ("links", True)
    assert str(path) in row["reason"]
    assert path.read_text() == pki.pem(leaf, INTER.certificate)


def test_links_go_back_with_the_swap(host, tmp_path):
    path = tmp_path / "www.crt"
    path.write_text("made by hand\n")
    renewal(host)
    host.web.deaf = True
    item = {"name": NAME, "server": "web", "links": [{"path": str(path), "what": "fullchain"}]}
    fails(host, "served_other", item)
    assert path.read_text() == "made by hand\n"
    assert not path.is_symlink()


# --- damage ------------------------------------------------------------------------------------------------------


def spoil(generation, *names):
    for name in names:
        with open(generation.file(name), "w") as stream:
            stream.write("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n")


def test_a_damaged_old_generation_stops_nothing(host):
    old = host.request()
    host.first()
    spoil(old, "request.pem")
    leaf = host.issue(host.request())
    host.run()
    assert host.served() == _x509.der(leaf)
    assert only(host.run())["changed"] is False


def no_certificate(slot):
    spoil(slot.live, "certificate.pem", "fullchain.pem")


def no_key(slot):
    os.unlink(slot.live.key_path)


def no_request(slot):
    spoil(slot.pending, "request.pem")


def no_record(slot):
    os.unlink(slot.pending.file("request.json"))


def no_generation(slot):
    os.unlink(os.path.join(slot.path, "live"))
    os.symlink("generations/20200101T000000Z-00000000", os.path.join(slot.path, "live"))


@pytest.mark.parametrize("damage", [no_certificate, no_key, no_request, no_record, no_generation])
@pytest.mark.parametrize("check_mode", [False, True])
def test_a_damaged_store_is_refused_in_the_words_of_info_and_request(host, damage, check_mode):
    """Also when a new certificate has arrived: there would be nothing whole to go back to."""
    host.first()
    host.issue(host.request())
    slot = host.store.certificate(NAME)
    damage(slot)
    (problem,) = _health.problems(slot)
    error = fails(host, problem["code"], check_mode=check_mode)
    assert error.message == problem["message"]
    assert error.fix == problem["fix"]
    assert error.details["errors"][0]["name"] == NAME


def test_all_damage_is_told_at_once_beside_other_faults(host):
    host.first()
    host.request()
    slot = host.store.certificate(NAME)
    no_certificate(slot)
    no_request(slot)
    host.issue(host.request(OTHER), OTHER, usages=[pki.CLIENT])
    error = fails(host, "several", {"name": NAME, "server": "web"}, {"name": OTHER, "server": "web"})
    codes = [(row["name"], row["reason_code"]) for row in error.details["errors"]]
    assert codes == [(NAME, "generation_broken"), (NAME, "generation_broken"), (OTHER, "not_for_servers")]


def test_adoption_does_not_cover_a_dangling_live_link(host, tmp_path):
    host.first()
    no_generation(host.store.certificate(NAME))
    item = {"name": NAME, "adopt": {"key": str(tmp_path / "k"), "certificate": str(tmp_path / "c"), "chain": None}}
    fails(host, "link_dangling", item)


def test_damaged_files_of_a_killed_run_are_written_again(host):
    generation = host.request()
    leaf = host.issue(generation)
    host.store.certificate(NAME).complete(generation, pki.pem(leaf), pki.pem(INTER.certificate))
    spoil(generation, "certificate.pem", "chain.pem")
    assert only(host.run({"name": NAME}))["state"] == "live"
    assert generation.certificate() == leaf
    assert generation.chain() == [INTER.certificate]


@pytest.mark.parametrize("usages, told", [([pki.SERVER], ["no_client_auth"]), ([pki.SERVER, pki.CLIENT], [])])
def test_the_end_of_client_authentication_is_noticed(host, usages, told):
    host.issue(host.request(), usages=[pki.SERVER, pki.CLIENT])
    first = only(host.run({"name": NAME}))
    assert first["notices"] == []
    host.candidates = []
    host.issue(host.request(), usages=usages)
    assert [notice["code"] for notice in only(host.run({"name": NAME}))["notices"]] == told


# --- several ports, and numbers ----------------------------------------------------------------------------------

TWO = {"name": NAME, "server": "web", "endpoint": ["127.0.0.1:993", "[::1]:995", "127.0.0.1:143", "127.0.0.1:993"]}


def test_all_ports_are_looked_at_each_in_its_protocol_and_once(host):
    renewal(host)
    host.web.looked = []
    assert only(host.run(TWO))["reason_code"] == "installed"
    places = {("127.0.0.1", 993, ""), ("::1", 995, ""), ("127.0.0.1", 143, "imap")}
    assert set(host.web.looked) == places
    host.web.looked = []
    assert only(host.run(TWO))["changed"] is False
    assert sorted(host.web.looked) == sorted(places)


def test_a_renewal_with_one_of_the_ports_closed_changes_nothing(host):
    renewal(host)
    host.web.closed = (995,)
    error = fails(host, "port_closed", TWO)
    assert "[::1]:995" in error.message and "993" not in error.message


def test_a_port_that_does_not_come_back_takes_everything_back(host):
    renewal(host)
    old = host.live()
    host.web.broken["web-reload"] = lambda: host.web.__setattr__("closed", (995,) if host.live() != old else ())
    error = fails(host, "port_closed", TWO)
    assert "[::1]:995" in error.message
    assert error.details["rolled_back"] is True


def test_a_closed_port_is_a_warning_of_its_own_when_nothing_is_due(host):
    host.first()
    host.web.closed = (143,)
    (warning,) = host.run(TWO)["warnings"]
    assert "127.0.0.1:143" in warning and "upki_certificates" in warning


def test_a_single_empty_endpoint_among_several_is_no_place(host):
    host.first()
    host.web.looked = []
    host.run({"name": NAME, "server": "web", "endpoint": ["", "127.0.0.1:443"]})
    assert host.web.looked == [("127.0.0.1", 443, "")]
    host.run({"name": NAME, "server": "web", "endpoint": [""]})
    assert len(host.web.looked) == 1


def test_a_wait_of_nothing_looks_once(host, monkeypatch):
    renewal(host)
    host.web.deaf = True
    monkeypatch.setattr(_swap.time, "sleep", lambda seconds: pytest.fail("it waited"))
    fails(host, "served_other", wait=0)


def test_none_to_keep_leaves_the_two_that_always_stay(host):
    for _number in range(3):
        host.candidates = []
        host.issue(host.request())
        host.run(keep=0)
    assert len(host.store.certificate(NAME).generations()) == 2


@pytest.mark.parametrize("option", ["wait", "keep", "lock_timeout"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_a_number_below_nothing_is_refused(host, option, value):
    host.issue(host.request())
    error = fails(host, "number_invalid", **{option: value})
    assert "'{0}'".format(option) in error.message


# --- a chain that grew old ---------------------------------------------------------------------------------------

OLDER = pki.CA("Older Root", start=pki.NOW - pki.days(2000))
CROSS = pki.CA("Install Root", OLDER, label="Install Root").certificate
ENDED = pki.CA("Install Root", OLDER, label="Install Root", end=pki.NOW - pki.days(1)).certificate
AT_HAND = {
    "authorities": [pki.pem(INTER.certificate), pki.pem(CROSS)],
    "anchors": [pki.pem(OLDER.certificate)],
}


def aged(host, chain=(INTER.certificate,), name=NAME):
    """A live certificate with this chain, served so."""
    leaf = host.first(name)
    slot = host.store.certificate(name)
    slot.complete(slot.live, pki.pem(leaf), pki.pem(*chain))
    host.web.read()
    return leaf


def text(host, name):
    with open(host.store.certificate(NAME).live.file(name)) as stream:
        return stream.read()


def test_a_chain_that_lacks_something_is_mended_and_the_next_run_changes_nothing(host):
    leaf = aged(host)
    live, before = host.live(), tree(host.store.path)
    host.web.commands = []
    rehearsed = host.run(check_mode=True, **AT_HAND)
    assert tree(host.store.path) == before
    assert host.web.commands == ["web-test"]
    result = host.run(**AT_HAND)
    assert decided(result) == decided(rehearsed)
    row = only(result)
    assert (row["state"], row["reason_code"], row["changed"]) == ("live", "chain_mended", True)
    assert [link["subject"].split("CN=")[1] for link in row["chain"]] == ["Install Inter", "Install Root"]
    assert result["diff"][0]["before"].count("  - ") == 1 and result["diff"][0]["after"].count("  - ") == 2
    assert host.web.commands == ["web-test", "web-test", "web-test", "web-reload"]
    assert host.live() == live
    assert text(host, "fullchain.pem") == pki.pem(leaf, INTER.certificate, CROSS)
    assert text(host, "chain.pem") == pki.pem(INTER.certificate, CROSS)
    assert host.web.chains[NAME] == [pki.der(INTER.certificate), pki.der(CROSS)]
    assert not os.path.exists(host.store.certificate(NAME).live.file("chain-before.pem"))
    host.web.commands = []
    again = host.run(**AT_HAND)
    assert (again["changed"], again["warnings"], host.web.commands) == (False, [], [])
    assert only(again)["notices"] == []


@pytest.mark.parametrize(
    "chain, words",
    [
        ([INTER.certificate, ENDED], "has expired"),
        ([], "is empty"),
        ([pki.CA("Install Inter of before", ROOT).certificate], "does not vouch"),
    ],
)
def test_an_expired_a_missing_and_a_wrong_chain_are_mended(host, chain, words):
    leaf = aged(host, chain)
    row = only(host.run(**AT_HAND))
    assert row["reason_code"] == "chain_mended" and words in row["reason"]
    assert text(host, "fullchain.pem") == pki.pem(leaf, INTER.certificate, CROSS)


def test_a_good_chain_stays_also_when_another_would_be_chosen(host):
    aged(host)
    before = tree(host.store.path)
    both = dict(AT_HAND, anchors=[pki.pem(OLDER.certificate, ROOT.certificate)])
    result = host.run(**both)
    assert (result["changed"], result["warnings"]) == (False, [])
    assert tree(host.store.path) == before


def left(host, words, **options):
    """The run changes nothing and says why."""
    before, reloads = tree(host.store.path), host.web.commands.count("web-reload")
    result = host.run(**dict(AT_HAND, **options))
    (notice,) = only(result)["notices"]
    assert notice["code"] == "chain_outdated" and words in notice["message"]
    assert "{0}: {1}".format(NAME, notice["message"]) in result["warnings"]
    assert result["changed"] is False
    assert tree(host.store.path) == before and host.web.commands.count("web-reload") == reloads


def test_a_lost_reload_and_an_old_chain_are_made_up_for_together(host):
    leaf = aged(host)
    host.web.serving[NAME], host.web.chains[NAME] = pki.der(INTER.issue(NAME)), []
    row = only(host.run(**AT_HAND))
    assert (row["reason_code"], row["notices"]) == ("chain_mended", [])
    assert host.served() == _x509.der(leaf) and len(host.web.chains[NAME]) == 2
    assert host.web.commands.count("web-reload") == 1


def test_it_can_be_switched_off(host):
    aged(host)
    left(host, "upki_mend_chain", mend_chain=False)


def test_what_was_adopted_is_left_until_the_server_reads_the_store(host, tmp_path):
    """Before that a new chain could not be seen, and would be put back at every run."""
    leaf = INTER.issue(NAME, pki.key("by hand").public_key())
    (tmp_path / "key").write_bytes(pki.key_pem(pki.key("by hand")))
    (tmp_path / "crt").write_text(pki.pem(leaf, INTER.certificate))
    adopt = {"key": str(tmp_path / "key"), "certificate": str(tmp_path / "crt"), "chain": None}
    item = {"name": NAME, "server": "web", "adopt": adopt}
    assert only(host.run(item, **AT_HAND))["reason_code"] == "adopted"
    host.web.read()
    host.web.deaf = True  # it reads its own files
    host.web.commands = []
    result = host.run(item, **AT_HAND)
    assert result["changed"] is False and host.web.commands == []
    assert "take 'adopt' away" in only(result)["notices"][0]["message"]
    host.web.deaf = False
    linked = dict(item, links=[{"path": str(tmp_path / "crt"), "what": "fullchain"}])
    assert only(host.run(linked, check_mode=True, **AT_HAND))["reason_code"] == "chain_mended"
    assert only(host.run(**AT_HAND))["reason_code"] == "chain_mended"
    assert only(host.run(item, **AT_HAND))["changed"] is False


def test_it_is_left_while_the_server_is_stopped(host):
    aged(host)
    host.web.listening = False
    left(host, "nothing answers on 127.0.0.1:443")


def test_it_is_left_where_the_server_reads_other_files(host):
    host.web.other_chain = [pki.CA("Stranger").certificate, CROSS]
    aged(host)
    left(host, "the server reads other files")


def test_it_is_left_where_nothing_better_is_at_hand(host):
    aged(host, [INTER.certificate, ENDED])
    left(host, "has expired", authorities=[], anchors=[])


def test_the_chain_of_an_expired_certificate_is_nobodys_concern(host):
    aged(host)
    params = dict(AT_HAND, certificates=[{"name": NAME}], store=host.store.path)
    result = _install.run(params, False, pki.NOW + pki.days(300))
    assert (result["changed"], result["warnings"]) == (False, [])


@pytest.mark.parametrize("what", ["web-test", "web-reload"])
def test_a_mended_chain_that_the_server_refuses_is_put_back(host, what):
    leaf = aged(host)
    before = tree(host.store.path)
    host.web.broken[what] = lambda: "Older" in text(host, "fullchain.pem") or text(host, "chain.pem").count("END") > 1
    code = {"web-test": "config_test_failed", "web-reload": "reload_failed"}[what]
    error = fails(host, code, **AT_HAND)
    assert error.details["rolled_back"] is True
    assert tree(host.store.path) == before
    assert host.served() == _x509.der(leaf)


def test_a_mended_chain_that_the_server_does_not_send_is_put_back(host):
    aged(host)
    before = tree(host.store.path)
    host.web.deaf = True
    error = fails(host, "served_other_chain", **AT_HAND)
    assert "127.0.0.1:443" in error.message and error.details["rolled_back"] is True
    assert tree(host.store.path) == before


@pytest.mark.parametrize("written", ["nothing", "chain.pem", "all"])
@pytest.mark.parametrize("mend_chain", [True, False])
def test_a_run_that_was_killed_while_mending_is_finished_by_the_next(host, written, mend_chain):
    leaf = aged(host)
    generation = host.store.certificate(NAME).live
    with open(generation.file("chain-before.pem"), "w") as stream:
        stream.write(pki.pem(INTER.certificate))
    new = pki.pem(INTER.certificate, CROSS)
    for name, content in (("chain.pem", new), ("fullchain.pem", pki.pem(leaf) + new)):
        if written in (name, "all"):
            with open(generation.file(name), "w") as stream:
                stream.write(content)
    row = only(host.run(mend_chain=mend_chain, **AT_HAND))
    assert (row["reason_code"], row["changed"]) == ("chain_mended", True)
    chain = [INTER.certificate, CROSS] if mend_chain or written != "nothing" else [INTER.certificate]
    assert text(host, "fullchain.pem") == pki.pem(leaf, *chain)
    assert text(host, "chain.pem") == pki.pem(*chain)
    assert host.web.chains[NAME] == [pki.der(one) for one in chain]
    assert host.web.commands[-1] == "web-reload"
    assert only(host.run(mend_chain=mend_chain, **AT_HAND))["changed"] is False


def test_a_chain_does_not_hold_up_a_renewal(host):
    aged(host)
    host.first(OTHER)
    leaf = host.issue(host.request(OTHER), OTHER)
    host.web.broken["web-test"] = lambda: text(host, "chain.pem").count("END") > 1
    with pytest.raises(UpkiError) as caught:
        host.run({"name": NAME, "server": "web"}, {"name": OTHER, "server": "web"}, **AT_HAND)
    assert caught.value.details["done"] == [OTHER]
    assert host.served(OTHER) == _x509.der(leaf)


def test_copies_get_the_mended_chain_and_go_back_with_it(host, tmp_path):
    leaf = aged(host)
    path = tmp_path / "www.crt"
    item = {"name": NAME, "server": "web", "links": [{"path": str(path), "what": "fullchain", "copy": True}]}
    host.run(item)
    old = path.read_text()
    assert old == pki.pem(leaf, INTER.certificate)
    host.web.deaf = True
    fails(host, "served_other_chain", item, **AT_HAND)
    assert path.read_text() == old
    host.web.deaf = False
    assert only(host.run(item, **AT_HAND))["reason_code"] == "chain_mended"
    assert path.read_text() == pki.pem(leaf, INTER.certificate, CROSS)
    assert only(host.run(item, **AT_HAND))["changed"] is False


def test_a_chain_is_mended_while_a_request_waits(host):
    aged(host)
    waiting = host.request()
    row = only(host.run(**AT_HAND))
    assert (row["state"], row["reason_code"]) == ("renewing", "chain_mended")
    assert host.store.certificate(NAME).pending == waiting
