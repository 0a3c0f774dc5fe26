# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role renew is the roles request and deploy in one exchange, so it takes what they take."""

import pathlib

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed for this Python")

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"


def options(role):
    with open(str(ROLES / role / "meta" / "argument_specs.yml"), encoding="utf-8") as stream:
        return yaml.safe_load(stream)["argument_specs"]["main"]["options"]


def module_options(role, file, module):
    """The options that the role's task gives to a module, which may be parts of another's."""
    with open(str(ROLES / role / "tasks" / file), encoding="utf-8") as stream:
        tasks = yaml.safe_load(stream)
    return next(task["campus.upki." + module] for task in tasks if "campus.upki." + module in task)


def test_renew_has_the_variables_of_request_and_deploy():
    request, deploy, renew = options("request"), options("deploy"), options("renew")
    assert set(renew) == set(request) | set(deploy)
    assert {key: renew[key] for key in request} == request
    own = set(deploy) - set(request)
    assert {key: renew[key] for key in own} == {key: deploy[key] for key in own}


@pytest.mark.parametrize("part, role, file", [("install", "deploy", "main.yml"), ("request", "request", "hosts.yml")])
def test_renew_gives_the_host_what_each_of_the_two_gives_it(part, role, file):
    assert module_options("renew", "hosts.yml", "renew")[part] == module_options(role, file, part)
