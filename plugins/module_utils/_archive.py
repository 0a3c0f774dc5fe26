# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The zip archive as which Ansible sends a module to a host: each file of it is compiled once and not twice.

From Python 3.10 on the importer for archives compiles a file a first time to learn nothing but its name
(https://github.com/python/cpython/issues/141276, open in 2026-11). With the files of this collection that is a fifth of
the processor time of a module call in which nothing is due.
"""

import sys
import zipimport


def compile_once(loader=None):
    """To be called before the imports that it is for. loader: of a module in the archive; that of this file."""
    loader = __spec__.loader if loader is None else loader
    if not isinstance(loader, zipimport.zipimporter) or sys.version_info < (3, 10):
        return
    compiling = zipimport.zipimporter.get_filename

    def get_filename(importer, fullname):
        if importer.archive != loader.archive:  # others may hold compiled files, which have other names
            return compiling(importer, fullname)
        end = "/__init__.py" if importer.is_package(fullname) else ".py"
        return "{0}/{1}{2}{3}".format(importer.archive, importer.prefix, fullname.rpartition(".")[2], end)

    zipimport.zipimporter.get_filename = get_filename
