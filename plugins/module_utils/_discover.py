# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TLS virtual hosts of the nginx and Apache of this host, from what these programs themselves say they read."""

import fnmatch
import os
import re
import shutil
import subprocess

from ansible_collections.campus.upki.plugins.module_utils._servers import SBIN

TIMEOUT = 60  # seconds for one dump
LARGEST = 16 * 1024 * 1024  # characters of a dump that are read
ANY = ("", "*", "0.0.0.0", "[::]", "_default_")
# A name that one can connect to: no wildcard, no regular expression, no catch-all.
NAME = re.compile(
    r"^(?=.{1,253}$)([A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?\.)*[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$"
)


def discover():
    """{'endpoints': [{name, endpoint, server, file}], 'problems': [text]}"""
    endpoints, problems, found = [], [], []
    for server, programs, arguments, read in COMMANDS:
        program = next((path for path in map(_which, programs) if path), None)
        if program is None:
            continue
        found.append(server)
        text, problem = _output([program] + arguments)
        if problem:
            problems.append("{0}: {1}".format(server, problem))
        for name, address, port, file in read(text):
            _add(endpoints, problems, server, name, address, port, file)
    if not found:
        problems.append("neither nginx nor Apache is installed on this host")
    return {"endpoints": endpoints, "problems": problems}


def _which(program):
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", "")] + list(SBIN)))


def _output(argv):
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return "", "'{0}' cannot be run ({1})".format(" ".join(argv), error)
    text = done.stdout.decode("utf-8", "replace")[:LARGEST]
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return text, "'{0}' says: {1}".format(" ".join(argv), words[-1] if words else "nothing")
    return text, ""


def _add(endpoints, problems, server, name, address, port, file):
    if not NAME.match(name):
        problems.append(
            "{0}: the virtual host '{1}' on port {2} ({3}) has no name to connect to".format(server, name, port, file)
        )
        return
    place = "127.0.0.1" if address in ANY else address
    row = {"name": name.lower(), "endpoint": "{0}:{1}".format(place, port), "server": server, "file": file}
    if not any((one["name"], one["endpoint"]) == (row["name"], row["endpoint"]) for one in endpoints):
        endpoints.append(row)


# --- nginx ---------------------------------------------------------------------------------------------------

FILE = re.compile(r"^# configuration file (.+):$", re.MULTILINE)
WORD = re.compile(r"""\s*(?:#[^\n]*|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|(?:\\.|[^\s{};"'\\]|(?<=\$)\{)+))""")


def nginx_hosts(dump):
    """(name, address, port, file) of each TLS server of `nginx -T`."""
    parts = FILE.split(dump)
    files = dict(zip(parts[1::2], parts[2::2]))
    base = os.path.dirname(parts[1]) if len(parts) > 1 else ""
    for file, text in files.items():
        for directives in _server_blocks(_words(text)):
            rows = _with_includes(directives, files, base)
            names = [name for row in rows if row[0] == "server_name" for name in row[1:]] or ["_"]
            all_tls = ["ssl", "on"] in rows  # before nginx 1.25
            for row in rows:
                if row[0] != "listen" or len(row) < 2 or not (all_tls or "ssl" in row[2:]):
                    continue
                address, port = _listen(row[1])
                for name in names if port else []:
                    yield name, address, port, file


def _words(text):
    found, place = [], 0
    while True:
        match = WORD.match(text, place)
        if match is None or match.end() == place:
            return found
        place = match.end()
        if match.group(1):
            found.append(match.group(1))


def _server_blocks(words):
    """The directives (lists of words) that stand directly in each block `server { … }`."""
    blocks, open_blocks, line = [], [], []
    for word in words:
        if word == "{":
            open_blocks.append([] if line == ["server"] else None)
            line = []
        elif word == "}":
            done = open_blocks.pop() if open_blocks else None
            if done is not None:
                blocks.append(done)
            line = []
        elif word == ";":
            if open_blocks and open_blocks[-1] is not None and line:
                open_blocks[-1].append(line)
            line = []
        else:
            line.append(word.strip("\"'"))
    return blocks


def _with_includes(directives, files, base):
    """The directives with those of the files that they include, one level deep."""
    rows = list(directives)
    for row in directives:
        if row[0] == "include" and len(row) == 2:
            pattern = os.path.join(base, row[1])
            for name in sorted(name for name in files if fnmatch.fnmatch(name, pattern)):
                rows += [
                    inner for block in _server_blocks(["server", "{"] + _words(files[name]) + ["}"]) for inner in block
                ]
    return rows


def _listen(text):
    """(address, port) of a listen directive; ('', None) for a socket file."""
    if text.startswith("unix:"):
        return "", None
    address, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return ("", int(text)) if text.isdigit() else (text, 80)
    return (address, int(port)) if port.isdigit() else (text, 80)


# --- Apache --------------------------------------------------------------------------------------------------

PLACE = re.compile(r"^(\S+):(\d+|\*)\s+(.*)$")  # an address and port at the start of a line
HOST = re.compile(r"^(?:port \d+ namevhost )?(\S+) \((.+):(\d+)\)$")


def apache_hosts(dump):
    """(name, address, port, file) of each TLS virtual host of `apachectl -t -D DUMP_VHOSTS`."""
    address, port = "", None
    for line in dump.splitlines():
        match = PLACE.match(line)
        address, port, text = match.groups() if match else (address, port, line.strip())
        host = HOST.match(text)
        if port in (None, "*") or not host or text.startswith("default server"):
            continue
        name, file, number = host.groups()
        block = _virtual_host(file, int(number))
        if port == "443" or any(TLS_ON.match(row) for row in block):
            for one in [name] + _aliases(block):
                yield one, address, int(port), file


# What the dump does not say (of aliases: not always), but the place where the virtual host is written.
TLS_ON = re.compile(r"^\s*SSLEngine\s+on\b", re.IGNORECASE)
ALIAS = re.compile(r"^\s*ServerAlias\s+(.*)$", re.IGNORECASE)
END = re.compile(r"^\s*</VirtualHost>", re.IGNORECASE)


def _virtual_host(file, line):
    """The lines of the virtual host that begins on a line of a file; [] where they cannot be read."""
    try:
        with open(file, "r", encoding="utf-8", errors="replace") as stream:
            rows = stream.read(LARGEST).splitlines()[line - 1 :]
    except OSError:
        return []
    ends = [place for place, row in enumerate(rows) if END.match(row)]
    return rows[: ends[0]] if ends else rows


def _aliases(block):
    return [name.strip("\"'") for match in map(ALIAS.match, block) if match for name in match.group(1).split()]


COMMANDS = (
    ("nginx", ("nginx",), ["-T"], nginx_hosts),
    ("apache", ("apache2ctl", "apachectl", "httpd"), ["-t", "-D", "DUMP_VHOSTS"], apache_hosts),
)
