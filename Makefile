# What a person does with this checkout. `make` alone lists it; .ci/run is what a machine runs.
#
# HEADLESS=1             the demo without a terminal
# KFERRY_PYTHON=python3  the Python to make .venv with (3.11 to 3.13; else one is looked for)
# DIR=...                the migration directory that `make picture` draws
# KFERRY_TEST_REQUIRE_HOSTS=1  the tests on real hosts fail where hosts cannot be started, instead of being left out
# KFERRY_TEST_WIDE=1     make test runs test-wide too
# PYTEST_ARGS=...        more arguments for pytest, e.g. PYTEST_ARGS="-k offsets"

SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
STAGE := .ci/stage
PYTEST := $(PY) -m pytest -rs

export LC_ALL := C.UTF-8
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export KFERRY_PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo demo-stop check test test-unit test-thorough test-whole test-hosts test-wide molecule hosts wheel-test lock picture docs bench clean \
	runtime dev lint lint-ruff lint-format lint-types lint-imports lint-yaml lint-ansible

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

runtime: # .venv with what kferry needs to run
	@.ci/venv runtime

dev: # .venv with the tools of check and test too
	@.ci/venv dev

demo: runtime ## install into .venv and migrate a lab on this machine in the TUI (HEADLESS=1: without a terminal)
	@exec $(VENV)/bin/kferry demo $(if $(filter-out 0 no false,$(HEADLESS)),--headless)

demo-stop: runtime ## end the demo's lab and engine, and see that no process is left
	@exec $(VENV)/bin/kferry demo --stop

check: dev ## lint, types, import rules and quick unit tests: about a minute on two idle cores
	@lint=0; $(MAKE) --no-print-directory -k -j2 --output-sync=target lint || lint=$$?; \
	$(MAKE) --no-print-directory test-unit && exit $$lint

lint: lint-types lint-ansible lint-ruff lint-format lint-imports lint-yaml

lint-ruff:
	@$(STAGE) "ruff check" $(VENV)/bin/ruff check --output-format concise .

lint-format:
	@$(STAGE) "ruff format" $(VENV)/bin/ruff format --check .

lint-types:
	@$(STAGE) "types" $(VENV)/bin/mypy

lint-imports:
	@$(STAGE) "import rules" $(VENV)/bin/lint-imports

lint-yaml:
	@$(STAGE) "yamllint" $(VENV)/bin/yamllint --strict .

lint-ansible: # finds ansible-playbook beside itself
	@$(STAGE) "ansible-lint" env PATH="$(CURDIR)/$(VENV)/bin:$$PATH" ansible-lint --offline --profile production -q playbooks roles

test-unit: dev
	@$(STAGE) "unit tests" $(PYTEST) -n auto -m "not lab and not slow and not hosts and not thorough" $(PYTEST_ARGS)

test-thorough: dev # the terminal interface by keys and as pictures, engines and plays, properties with many examples
	@$(STAGE) "thorough tests" $(PYTEST) -n auto -m "thorough and not slow" $(PYTEST_ARGS)

test: check ## install what it needs, then everything: check, the screens, the wheel, the tests on real brokers and on real hosts
	@failed=0; $(MAKE) --no-print-directory test-thorough || failed=$$?; \
	$(MAKE) --no-print-directory test-whole || failed=$$?; \
	$(MAKE) --no-print-directory test-hosts || failed=$$?; \
	$(MAKE) --no-print-directory molecule || failed=$$?; \
	if [ "$$KFERRY_TEST_WIDE" = 1 ]; then $(MAKE) --no-print-directory test-wide || failed=$$?; \
	else echo "== LEFT OUT: the longer tests on hosts; run make test-wide (10 minutes), or set KFERRY_TEST_WIDE=1"; fi; \
	exit $$failed

test-whole: dev # one after another, in one process: they share one lab
	@$(STAGE) "whole tests" $(PYTEST) -p no:xdist -m "(lab or slow) and not hosts" $(PYTEST_ARGS)

test-hosts: dev # one after another; left out, with the reason, where hosts cannot be started
	@$(STAGE) "host tests" $(PYTEST) -p no:xdist -m "hosts and not wide" $(PYTEST_ARGS)

test-wide: dev ## what `make test` leaves out because it takes long: more tests on real hosts
	@$(STAGE) "wide host tests" $(PYTEST) -p no:xdist -m wide $(PYTEST_ARGS)

molecule: dev ## the roles on real hosts, as Molecule scenarios (SCENARIO=...: only that one); left out as test-hosts is
	@$(STAGE) "molecule" env PYTHONPATH=tests $(PY) molecule/run.py $(SCENARIO)

hosts: ## as root, once: install podman and make the images that the tests on real hosts need
	@$(STAGE) "test hosts" .ci/test-hosts

wheel-test: dev ## build the wheel and use it away from the checkout
	@$(PYTEST) -p no:xdist tests/unit/frame/test_wheel.py

lock: dev ## write the hashed locks anew: Python packages and the jars of the Kafka distribution
	@$(STAGE) "python lock" .ci/lock
	@$(STAGE) "jar lock" $(PY) -m kferry.ansible.lock

picture: dev ## draw the picture of the README with the real app (DIR=...: of that migration directory)
	@PYTHONPATH=tests $(PY) -m support.picture docs/tui.svg $(DIR)

docs: dev ## write the generated pages of docs/ anew
	@KFERRY_TEST_WRITE_DOCS=1 $(PYTEST) tests/unit/frame/test_docs.py

bench: dev ## measure the goals for speed (docs/benchmarks.md); those on hosts as root, with podman
	@PYTHONPATH=tests $(PY) -m benchmarks.inventory && PYTHONPATH=tests $(PY) -m benchmarks.screens && PYTHONPATH=tests $(PY) -m benchmarks.worker_loss && { PYTHONPATH=tests $(PY) -m benchmarks.playbooks || test $$? -eq 3; }

clean: ## end the demo and delete everything that make has made
	@if [ -x $(VENV)/bin/kferry ] && [ -d .demo ]; then $(VENV)/bin/kferry demo --stop; fi
	rm -rf $(VENV) .demo dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .ansible
	find tui tests roles benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
