# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# make PYTHON=python3.13 … builds .venv with that interpreter; make … ARGS="…" hands arguments on to the command.
PYTHON ?=
ARGS ?=

export PYTHON
export PATH := $(CURDIR)/.venv/bin:$(PATH):/usr/sbin:/sbin
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

PYTEST := .venv/bin/python -m pytest

.NOTPARALLEL:
.PHONY: help setup setup-dev run teardown test lint format unit simulation tooling-test report-test roles-test lab-test test-truth test-faults bench build clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

setup: ## prepare this machine for `make run`: .venv, collection path, system packages
	@tools/setup.sh environment run
	@tools/setup.sh packages run
	@tools/setup.sh namespaces

setup-dev: ## the same for contributors: linters, test tools, a browser
	@tools/setup.sh environment test
	@tools/setup.sh packages test
	@tools/setup.sh namespaces

run: setup ## the main job: lab, measurement, comparison, report
	ansible-playbook site.yml $(ARGS)

teardown: setup ## remove the lab; what was measured stays
	ansible-playbook playbooks/teardown.yml $(ARGS)

test: setup-dev lint unit simulation tooling-test report-test roles-test lab-test ## lint and every test but the long ones (ten minutes)

lint: setup-dev ## every linter; ARGS="ruff mypy" for some
	tools/lint.sh $(ARGS)

format: setup-dev ## let ruff rewrite what it can
	ruff check --fix-only .
	ruff format .

unit: setup-dev ## tests of the core, without a network
	$(PYTEST) tests/unit $(ARGS)

simulation: setup-dev ## runs whose truth is known: how often a verdict is wrong
	$(PYTEST) -s tests/simulation $(ARGS)

tooling-test: setup-dev ## the built tarball, the set-up, the house rules
	$(PYTEST) tests/tooling $(ARGS)

report-test: setup-dev ## the report in a headless browser, and its role
	$(PYTEST) tests/report $(ARGS)

roles-test: setup-dev ## every role alone, as an ops team would use it, and the example for Python
	$(PYTEST) tests/roles $(ARGS)

lab-test: setup-dev ## tests with real traffic in namespaces
	$(PYTEST) tests/lab $(ARGS)

test-truth: setup-dev ## labs whose truth is known: equal clusters, a line rate lowered by 2 % (long)
	$(PYTEST) tests/truth $(ARGS)

test-faults: setup-dev ## kill, cut and fill up while it measures (long)
	$(PYTEST) tests/faults $(ARGS)

bench: setup-dev ## the figures that the README quotes (long)
	tools/bench.sh $(ARGS)

build: setup ## the collection's tarball
	ansible-galaxy collection build --force $(ARGS)

clean: ## remove .venv, caches and build results; not results/, not the lab (make teardown)
	rm -rf .venv .ansible collections tests/output .mypy_cache .pytest_cache .ruff_cache .hypothesis netbench-cni-*.tar.gz
	find plugins tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
