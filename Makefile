# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Everything that is made goes to .venv and .work; `make clean` takes it away again.

PYTHON ?= python3
UPKI_SHARED ?= $(abspath $(CURDIR)/../shared/upki)
WORK := $(CURDIR)/.work

export PYTHON
export LAB
export UPKI_SHARED
export UPKI_WORK := $(WORK)
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin
export ANSIBLE_COLLECTIONS_PATH := $(WORK)/collections
export ANSIBLE_HOME := $(WORK)/ansible
export ANSIBLE_REMOTE_TMP := $(WORK)/ansible/remote
export PYTHONDONTWRITEBYTECODE := 1
export LC_ALL := C.UTF-8

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test servers matrix bench unit gate install format clean lab-up lab-shell lab-test lab-cuts lab-nightly lab-down

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

demo: install .work/system.stamp ## the whole cycle on this machine: request, issue, deploy, verify, renew
	@.venv/bin/python demo/demo.py

test: install .venv/test.stamp .work/system.stamp ## all tests and gates; without the hosts of the lab: LAB=no
	@.venv/bin/python scripts/gates.py

servers: ## install what some integration tests want besides (root only): postfix, dovecot, slapd, haproxy, GnuTLS
	@scripts/setup servers

matrix: install .venv/test.stamp ## every supported Python, cryptography and ansible-core that this machine has
	@.venv/bin/python scripts/matrix.py

bench: install .venv/test.stamp ## measure; one of them: make bench BENCH=tsv
	@.venv/bin/python scripts/bench.py $(BENCH)

unit: .venv/test.stamp ## unit tests only; one file: make unit TEST=tests/unit/plugins/module_utils/test_x509.py
	@.venv/bin/python scripts/gates.py --only unit $(TEST)

gate: install .venv/test.stamp ## one gate: make gate GATE=sanity
	@.venv/bin/python scripts/gates.py $(if $(GATE),--only $(GATE) $(TEST),--help)

lab-up: ## start real hosts with systemd (root only): make lab-up HOSTS=6
	@$(PYTHON) tests/lab/lab.py up "$${HOSTS:-6}"

lab-shell: ## a shell on one of them, or one command: make lab-shell HOST=web1 COMMAND='systemctl status nginx'
	@$(PYTHON) tests/lab/lab.py shell "$${HOST:-web1}" $${COMMAND:+"$$COMMAND"}

lab-test: install .venv/test.stamp ## the collection against hosts of its own, over ssh; one file: make lab-test TEST=test_life.py
	@cd $(WORK)/tree/ansible_collections/campus/upki && \
	    PYTHONPATH=$(WORK)/tree $(CURDIR)/.venv/bin/python -m pytest -q -rsP $(OPTIONS) $(or $(addprefix tests/lab/,$(TEST)),tests/lab)

lab-cuts: ## cuts of power, cable, ssh and controller at random moments: UPKI_LAB_CUTS=500 UPKI_LAB_SEED=7 make lab-cuts
	@UPKI_LAB_CUTS=$${UPKI_LAB_CUTS:-100} $(MAKE) lab-test TEST=test_cuts.py

lab-nightly: ## hours: each step of each scenario in check mode, really and again, under every strategy and ansible-runner
	@status=0; for manner in linear free host_pinned runner; do \
	    UPKI_LAB_MANNER=$$manner UPKI_LAB_THRICE=yes $(MAKE) lab-test OPTIONS="$(OPTIONS) --ignore=tests/lab/test_cuts.py" || \
	    { status=1; echo "lab: failed under $$manner"; }; done; $(MAKE) lab-cuts && exit $$status

lab-down: ## end the hosts and take away all that belongs to them
	@$(PYTHON) tests/lab/lab.py down

install: .venv/run.stamp ## build the collection and install the tarball into .work/collections
	@.venv/bin/python scripts/tree.py install

format: .venv/test.stamp ## let ruff rewrite the Python files in the project's style
	@.venv/bin/ruff check --no-cache --select I --fix --quiet .
	@.venv/bin/ruff format --no-cache .

# rm must not reach the file systems of hosts that run, nor what is known of them.
clean: ## stop the demo's servers, end the hosts of the lab and remove everything that was made
	@demo/stop
	@! find .work -maxdepth 3 -path '*/lab/state.json' 2>/dev/null | grep -q . || $(PYTHON) tests/lab/lab.py down
	@rm -rf .venv .work
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/run.stamp: requirements/run.txt requirements/constraints.txt
	@scripts/setup venv run
	@touch $@

.venv/test.stamp: .venv/run.stamp requirements/test.txt
	@scripts/setup venv test
	@touch $@

.work/system.stamp: requirements/system.txt
	@scripts/setup system
	@mkdir -p .work
	@touch $@
