# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself: hosts that answer, and nothing left behind however a run ends."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from ansible_collections.campus.upki.tests.lab import lab as tool

TOOL = pathlib.Path(tool.__file__)
PROJECT = TOOL.parents[2]


@pytest.fixture
def work(lab: tool.Lab, tmp_path: pathlib.Path) -> pathlib.Path:
    """A work folder of its own; `lab` is there to skip where no lab can run."""
    return tmp_path


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Where the tests run in the background, a shell has them and all that they start ignore the interruption."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if before[signal.SIGHUP] is signal.SIG_IGN:  # by nohup; what has a handler is as new in what we start
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def command(work: pathlib.Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(TOOL), *words],
        env={**os.environ, "UPKI_WORK": str(work)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(work: pathlib.Path, *words: str) -> str:
    process = command(work, *words)
    output, _errors = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def left(work: pathlib.Path, below: str = "") -> list[str]:
    """What of a lab is on the machine: mounts, namespaces, cables, processes, files."""
    made = tool.Lab(work / below)
    found = [line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if str(made.path) in line]
    names = tool.run("ip", "netns", "list") + tool.run("ip", "-brief", "link")
    found += [line for line in names.splitlines() if made.bridge in line or line.startswith(f"v{made.id}n")]
    return [*found, *running(work / below), *(str(path) for path in made.path.rglob("*"))]


def running(work: pathlib.Path) -> list[str]:
    return [tool.command_line(pid) for pid in tool.machines(f"lab{tool.Lab(work).id}-")]


def test_hosts_answer_and_down_leaves_nothing(work: pathlib.Path) -> None:
    assert "web3" in finish(work, "up", "3")
    versions = [
        finish(work, "shell", f"web{n}", "cat /etc/debian_version").split(".", maxsplit=1)[0] for n in (1, 2, 3)
    ]
    assert versions == ["11", "12", "13"]
    inventory = json.loads((work / "lab" / "inventory" / "hosts.json").read_text())
    assert list(inventory["all"]["children"]["lab"]["hosts"]) == ["web1", "web2", "web3"]
    assert left(work)
    finish(work, "down")
    assert not left(work)
    finish(work, "down")  # again, with nothing there


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_start_cleans_up_itself(work: pathlib.Path, number: int) -> None:
    process = command(work, "up", "3")
    await_something(work)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert not left(work)


def test_down_finds_what_a_killed_start_left(work: pathlib.Path) -> None:
    process = command(work, "up", "3")
    await_something(work)
    time.sleep(0.5)
    process.kill()
    process.communicate(timeout=60)
    assert left(work)
    finish(work, "down")
    assert not left(work)


SCENARIO = """
import time
from ansible_collections.campus.upki.tests.lab.lab import web_hosts

def test_scenario(start):
    start(*web_hosts(2))
    print("hosts are up", flush=True)
    time.sleep(100)
"""


def scenario(work: pathlib.Path) -> subprocess.Popen[str]:
    """A pytest in the middle of a scenario, its hosts running."""
    file = work / "test_scenario.py"
    file.write_text(SCENARIO)
    command = [sys.executable, "-m", "pytest", "-s", "-c", os.devnull, "-p", "no:cacheprovider", str(file)]
    process = subprocess.Popen(
        [*command, "-p", tool.__name__.replace("lab.lab", "lab.conftest"), "--basetemp", str(work / "tmp")],
        env={**os.environ, "UPKI_WORK": str(work)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "hosts are up" in line:
            return process
    pytest.fail("".join(said))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_tests_take_their_hosts_along(work: pathlib.Path, number: int) -> None:
    process = scenario(work)
    assert left(work, "tests")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert not left(work, "tests")


def test_the_next_tests_clean_up_after_killed_ones(work: pathlib.Path) -> None:
    process = scenario(work)
    process.kill()
    process.communicate(timeout=60)
    end = time.monotonic() + 20
    while running(work / "tests"):  # the hosts end with the tests, though nobody can tell them
        assert time.monotonic() < end, running(work / "tests")
        time.sleep(0.1)
    assert left(work, "tests")
    process = scenario(work)
    process.terminate()
    process.communicate(timeout=60)
    assert not left(work, "tests")


def await_something(work: pathlib.Path) -> None:
    end = time.monotonic() + 30
    while not any(work.glob("lab/hosts/*/root/etc")):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_down_ends_what_killed_tests_trials_and_benchmarks_left(
    work: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool.Lab, "await_ssh", lambda *_: None)
    for place in tool.PLACES:
        tool.Lab(work / place).up([tool.Host("web1", services=())])
        assert running(work / place)
    finish(work, "down")
    assert [left(work, place) for place in tool.PLACES] == [[]] * 4


def test_down_leaves_a_run_that_goes_on_and_ends_the_rest(
    work: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "WORK", work)
    for place in ("", "trial"):
        tool.Lab(work / place).save()
    with tool.only_one(work):
        assert tool.main(["down"]) == 1
    assert left(work) and not left(work, "trial")
    assert "another run holds the lab" in capsys.readouterr().err


def make(folder: pathlib.Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """In a checkout that has its own .work and nothing else."""
    for name in ("demo", "tests"):
        if not (folder / name).exists():
            (folder / name).symlink_to(PROJECT / name)
    return subprocess.run(
        ["make", "-s", "-C", str(folder), "-f", str(PROJECT / "Makefile"), *words],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def test_make_clean_ends_the_hosts_before_it_removes_their_files(work: pathlib.Path) -> None:
    up = make(work, "lab-up", "HOSTS=1")
    assert up.returncode == 0 and left(work / ".work"), up.stdout
    cached = sorted(tool.Root("bullseye").path.iterdir())
    clean = make(work, "clean")
    assert clean.returncode == 0, clean.stdout
    assert not left(work / ".work") and not (work / ".work").exists()
    assert sorted(tool.Root("bullseye").path.iterdir()) == cached
    assert make(work, "clean").returncode == 0  # again, with nothing there


def test_make_clean_removes_nothing_while_a_run_holds_the_lab(work: pathlib.Path) -> None:
    tool.Lab(work / ".work").save()
    with tool.only_one(work / ".work"):
        refused = make(work, "clean")
    assert refused.returncode != 0 and "another run holds the lab" in refused.stdout
    assert (work / ".work" / "lab" / "state.json").exists()


def test_a_command_for_a_host_is_one_word_on_this_machine(tmp_path: pathlib.Path) -> None:
    shown = tmp_path / "python"
    shown.write_text("#!/bin/sh\nprintf '<%s>' \"$@\"\n")
    shown.chmod(0o755)
    text = f"echo 'a b'; id | tee {tmp_path}/here & \"x\""
    done = make(tmp_path, "lab-shell", f"PYTHON={shown}", "HOST=web2;id", f"COMMAND={text}")
    assert done.stdout == f"<tests/lab/lab.py><shell><web2;id><{text}>"
    assert not (tmp_path / "here").exists()
    assert make(tmp_path, "lab-shell", f"PYTHON={shown}").stdout == "<tests/lab/lab.py><shell><web1>"


@pytest.mark.parametrize("error", [tool.LabError("web1 does not answer ssh"), OSError("no space left")])
def test_a_start_that_fails_midway_leaves_nothing(
    work: pathlib.Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(tool, "WORK", work)
    seen = break_the_boot(work, monkeypatch, error)
    with contextlib.suppress(OSError):
        assert tool.main(["up", "2"]) == 1
    assert seen == [True] and not left(work)


def test_a_host_that_does_not_boot_is_a_failure_and_no_reason_to_skip(
    work: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "WORK", work)
    seen = break_the_boot(work / "trial", monkeypatch, tool.LabError("trial does not answer ssh"))
    assert tool.main(["ready"]) == 1
    assert seen == [True] and not left(work, "trial")
    assert capsys.readouterr().err == "lab: trial does not answer ssh\n"


def break_the_boot(work: pathlib.Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[bool]:
    """The first boot raises; [whether anything was there by then]."""
    seen = []

    def boot(_lab: tool.Lab, _name: str, wait: bool = True) -> None:
        seen.append(any(os.path.ismount(path) for path in work.glob("lab/hosts/*/root")))
        raise error

    monkeypatch.setattr(tool.Lab, "boot", boot)
    return seen


def test_a_trial_ends_no_other_trial(work: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "WORK", work)
    tool.Lab(work / "trial").save()
    with tool.only_one(work / "trial"):
        assert tool.main(["ready"]) == 1
    assert left(work, "trial")


@pytest.mark.parametrize(("status", "counted"), [(3, (0, 0, 1)), (1, (0, 1, 0)), (0, (5, 0, 0))])
def test_the_gate_skips_what_the_machine_lacks_and_fails_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, status: int, counted: tuple[int, int, int]
) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "scripts"))
    monkeypatch.delenv("LAB", raising=False)
    import gates

    monkeypatch.setattr(gates, "run", lambda *_words, **_options: (status, "lab: the reason\n"))
    monkeypatch.setattr(gates, "tested", lambda *_words: gates.Result(passed=5))
    result = gates.lab([])
    assert (result.passed, result.failed, result.skipped) == counted
    assert status == 0 or "lab: the reason" in result.output + "".join(result.notes)


@pytest.mark.parametrize("count", ["abc", "0", "-1", "240", "300", "", "3 4"])
def test_a_wrong_number_of_hosts_is_one_line(
    count: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "missing", lambda: "this test starts none")
    assert tool.main(["up", count]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "1 to 239" in line and f"'{count}'" in line


@pytest.mark.parametrize("words", [["down"], ["shell", "web1"]])
def test_without_root_the_hosts_of_root_are_out_of_reach(
    words: list[str],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tool, "WORK", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(tool, "only_one", no_access)
    monkeypatch.setattr(tool, "Lab", no_access)
    assert tool.main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "root" in line and words[0] in line


def no_access(*_words: object) -> None:
    raise PermissionError("root's")


def test_a_kernel_that_gives_no_overlays_is_a_reason(work: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not tool.missing()
    monkeypatch.setattr(tool, "PROBE", "echo no bridge here >&2; exit 2")
    assert "no bridge here" in tool.missing()


@pytest.mark.parametrize("words", [["check"], ["up", "3"]])
def test_without_root_one_line_says_so(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert tool.main(words) == tool.MISSING
    (line,) = capsys.readouterr().err.splitlines()
    assert "root" in line


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(tool.shutil, "which", lambda program: None)
    assert "systemd-nspawn" in tool.missing() and "systemd-container" in tool.missing()


def test_a_mirror_that_is_away_is_a_reason_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(tool, "missing", lambda: "")
    monkeypatch.setattr(tool, "WORK", tmp_path / "work")
    monkeypatch.setattr(tool, "mirrors", lambda: {"Debian": "http://127.0.0.1:9/debian"})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if tool.missing_programs():
        pytest.skip("debootstrap is not installed")
    assert tool.main(["ready"]) == tool.MISSING
    (line,) = capsys.readouterr().err.splitlines()
    assert "bullseye could not be made: " in line and "127.0.0.1" in line
    assert not list((tmp_path / "cache").rglob("*.partial"))


BUILD = """
import sys
from ansible_collections.campus.upki.tests.lab import lab as tool

tool.when_ended(lambda number: sys.exit(128 + number))
tool.HERE = tool.pathlib.Path(sys.argv[1])
tool.mirrors = lambda: {"Debian": "here"}
tool.Root("trixie").build()
"""
# Stands for debootstrap, which writes until it is ended.
SCRIPT = (
    'mkdir -p "$4"; n=0; while [ $n -lt 30000 ]; do n=$((n + 1)); mkdir "$4/$n"; echo >"$4/$n/file"; done; sleep 60'
)


def building(work: pathlib.Path) -> subprocess.Popen[bytes]:
    """A build that has begun to write."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(work)],
        env={**os.environ, "XDG_CACHE_HOME": str(work)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 30
    while not list(work.glob("campus-upki-lab/trixie-*.partial/9/file")):
        assert time.monotonic() < end
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_root_file_system_leaves_nothing(work: pathlib.Path, number: int) -> None:
    (work / "root.sh").write_text(SCRIPT)
    cache = work / "campus-upki-lab"
    (cache / "bullseye-old.partial" / "etc").mkdir(parents=True)  # a build that was killed
    process = building(work)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode
    assert not list(cache.glob("*.partial")) and not list(cache.glob("trixie-????????"))


def test_a_killed_build_of_a_root_file_system_goes_on_for_nobody(work: pathlib.Path) -> None:
    (work / "root.sh").write_text(SCRIPT)
    script = str(work / "root.sh")
    process = building(work)
    process.kill()
    process.communicate(timeout=60)
    end = time.monotonic() + 20
    while writers := [pid for pid in os.listdir("/proc") if pid.isdigit() and script in tool.command_line(int(pid))]:
        assert time.monotonic() < end, writers
        time.sleep(0.05)


APT_GET = """#!/bin/sh
echo "$@" >>$RECORD
case $1 in install) cat /usr/sbin/policy-rc.d >>$RECORD && exit $STATUS ;; esac
"""


def set_up_servers(work: pathlib.Path, status: int, policy: str = "") -> subprocess.CompletedProcess[str]:
    """scripts/setup servers on a machine that has none of them, with a /usr/sbin of its own for that long."""
    tools = work / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "chmod", "dirname", "env", "id", "mkdir", "rm", "sh", "tail"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "apt-get").write_text(APT_GET)
    (tools / "apt-get").chmod(0o755)
    (work / "sbin").mkdir()
    if policy:
        (work / "sbin" / "policy-rc.d").write_text(policy)
    project = work / "project"
    (project / "scripts").mkdir(parents=True)
    shutil.copy(PROJECT / "scripts" / "setup", project / "scripts")
    (project / "requirements").mkdir()
    (project / "requirements" / "servers.txt").write_text("no-such-server  no-such-package  no-such-rpm\n")
    private = 'mount --bind "$1" /usr/sbin && exec env PATH="$2" scripts/setup servers'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", private, "sh", str(work / "sbin"), str(tools)],
        cwd=project,
        env={**os.environ, "RECORD": str(work / "record"), "STATUS": str(status)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("status", [0, 100])
def test_servers_are_installed_and_none_started(work: pathlib.Path, status: int) -> None:
    done = set_up_servers(work, status)
    assert (done.returncode == 0) == (status == 0), done.stdout
    called = (work / "record").read_text().splitlines()
    assert called == ["update", "install -y --no-install-recommends no-such-package", "#!/bin/sh", "exit 101"]
    assert not (work / "sbin" / "policy-rc.d").exists()  # while it was there, it said no


def test_a_policy_for_services_that_is_there_stays(work: pathlib.Path) -> None:
    done = set_up_servers(work, 0, "exit 104\n")
    assert done.returncode == 0, done.stdout
    assert (work / "record").read_text().endswith("\nexit 104\n")
    assert (work / "sbin" / "policy-rc.d").read_text() == "exit 104\n"


def test_without_root_the_servers_are_named_in_one_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho called\n")
    (tmp_path / "apt-get").chmod(0o755)
    for name in ("bash", "dirname", "env", "sh"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        [str(PROJECT / "scripts" / "setup"), "servers"],
        env={"PATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    (line,) = done.stdout.splitlines()
    assert done.returncode and "sudo apt-get install" in line and "postfix" in line and "called" not in line
