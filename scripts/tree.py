# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy the checkout to where Ansible's tools want a collection, and install it from its tarball.

tree.py copy      .work/tree/ansible_collections/campus/upki: every file that git does not ignore
tree.py install   the same, then built there and installed from the tarball into .work/collections
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
WORK = CHECKOUT / ".work"
TREE = WORK / "tree" / "ansible_collections" / "campus" / "upki"
COLLECTIONS = WORK / "collections"
GENERATED = {".git", ".venv", ".work", "__pycache__"}


def source_files() -> list[str]:
    """Relative paths of the project's files, sorted; all but the generated ones where this is no git checkout."""
    if (CHECKOUT / ".git").exists() and shutil.which("git"):
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE).stdout.decode()
        found = set(filter(None, listed.split("\0")))
    else:
        found = set()
        for folder, folders, names in os.walk(CHECKOUT):
            folders[:] = [name for name in folders if name not in GENERATED]
            found |= {str((pathlib.Path(folder) / name).relative_to(CHECKOUT)) for name in names}
    return sorted(name for name in found if (CHECKOUT / name).is_file())


def copy_tree(tree: pathlib.Path = TREE) -> str:
    """Bring the copy up to date; return a digest of all names and contents."""
    digest = hashlib.sha256()
    wanted = source_files()
    for name in wanted:
        source, target = CHECKOUT / name, tree / name
        content = source.read_bytes()
        digest.update(f"{name}\0{os.access(source, os.X_OK)}\0{len(content)}\0".encode() + content)
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        shutil.copymode(source, target)
    keep = {tree / name for name in wanted}
    for path in sorted(tree.rglob("*"), reverse=True):
        if ".git" in path.relative_to(tree).parts:
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in keep:
            path.unlink()
    if not (tree / ".git").exists() and shutil.which("git"):
        # ansible-test lists files with git; without a repository here it would ask the outer one, which ignores .work.
        subprocess.run(["git", "init", "-q", str(tree)], check=True, stderr=subprocess.DEVNULL)
    return digest.hexdigest()


def install(digest: str) -> None:
    """Build and install the tarball, unless the installed one was made of the same files."""
    stamp = WORK / "collections.sha256"
    if stamp.is_file() and stamp.read_text() == digest and (COLLECTIONS / "ansible_collections/campus/upki").is_dir():
        return
    shutil.rmtree(COLLECTIONS, ignore_errors=True)
    dist = WORK / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    galaxy = str(CHECKOUT / ".venv" / "bin" / "ansible-galaxy")
    run([galaxy, "collection", "build", "--force", "--output-path", str(dist), str(TREE)])
    (tarball,) = dist.glob("campus-upki-*.tar.gz")
    run([galaxy, "collection", "install", "--offline", "--force", "-p", str(COLLECTIONS), str(tarball)])
    stamp.write_text(digest)
    print(
        f"campus.upki: built {tarball.relative_to(CHECKOUT)} and installed it into {COLLECTIONS.relative_to(CHECKOUT)}"
    )


def run(command: list[str]) -> None:
    """Run quietly; on failure show what it printed and end."""
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS), ANSIBLE_HOME=str(WORK / "ansible"))
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        check=False,
    )
    if result.returncode:
        sys.exit(f"{result.stdout}\ncampus.upki: '{' '.join(command)}' failed.")


def main() -> None:
    if sys.argv[1:] not in (["copy"], ["install"]):
        sys.exit(__doc__)
    digest = copy_tree()
    if sys.argv[1] == "install":
        install(digest)


if __name__ == "__main__":
    main()
