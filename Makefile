.DEFAULT_GOAL := help
.PHONY: help run operator test test-fast test-all soak bench mutants check audit lint worker sandbox clients clean texts gallery pictures

PYTHON ?= python3
BIN := .venv/bin
# cores + 1: tests spend time waiting on I/O
WORKERS = $$($(BIN)/python -c "import os; print(1 + os.cpu_count())")
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
RUN_READY := .venv/.run-ready
DEV_READY := .venv/.dev-ready

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

run: $(RUN_READY)  ## start shop, sandbox and workers on this machine (Ctrl-C stops them)
	@$(BIN)/python wsgi.py

operator: $(RUN_READY)  ## make a user of the demo an operator: make operator EMAIL=asha@example.com
	@$(BIN)/flask --app wsgi operator "$(EMAIL)"

# Keep .pyc files: the tests start about 100 processes.
test test-all: export PYTHONDONTWRITEBYTECODE =
test: $(DEV_READY)  ## run the tests (a fixed sample of the long matrices; minutes)
	$(PYTEST)

test-fast: $(DEV_READY)  ## run the unit tests alone (seconds)
	$(PYTEST) -m "not soak and not slow and not thorough and not browser and not postgres" tests/unit

test-all: $(DEV_READY)  ## run every test but the soak, also on PostgreSQL and in the browser (long)
	RUN_ALL_TESTS=1 REQUIRE_POSTGRES=1 REQUIRE_BROWSER=1 $(PYTEST)

soak: $(DEV_READY)  ## run the long tests: thousands of sales, webhooks and kills (minutes, bounded)
	$(BIN)/python -m pytest -m soak -s

bench: $(DEV_READY)  ## measure each path against plain Flask and the official SDK (long; BENCH="… --rounds 3" for a part)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	$(BIN)/python -m tests.bench $(BENCH)

mutants: $(DEV_READY)  ## change each line of the money rules: does a fast test notice? (two hours; docs/mutants.md)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-mutants.txt
	PATH="$(CURDIR)/$(BIN):$$PATH" mutmut run
	$(BIN)/mutmut results

check: lint test  ## lint and all tests

audit: $(DEV_READY)  ## look up known vulnerabilities of every pinned package (needs internet)
	$(BIN)/pip-audit --strict --disable-pip --no-deps -r requirements.txt

lint: $(DEV_READY)  ## ruff, format, spelling and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

texts: $(RUN_READY)  ## collect the texts into translations/, and compile the translations
	$(BIN)/pybabel -q extract -F babel.cfg -k lazy --no-location --sort-output -o translations/messages.pot .
	$(BIN)/pybabel -q update -d translations -i translations/messages.pot --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date
	$(BIN)/pybabel -q compile -d translations

gallery: $(DEV_READY)  ## show every page in every state on one sheet, at three widths, light and dark
	$(BIN)/python -m tests.e2e.sheets

pictures: $(DEV_READY)  ## take the screenshots of the README again, into docs/
	$(BIN)/python -m tests.e2e.pictures

worker: $(RUN_READY)  ## run the worker alone (settings from the environment)
	$(BIN)/flask --app wsgi checkout worker

sandbox: $(RUN_READY)  ## run the sandbox alone (its SANDBOX_ settings from the environment)
	$(BIN)/python -m storefront.sandbox

clients: $(DEV_READY)  ## run other people's clients against the sandbox: Python SDK, Node, Go, curl
	$(BIN)/python -m tests.clients

clean:  ## remove the virtual environment and caches; your data in instance/ stays
	rm -rf .venv mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN_READY): requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(DEV_READY): $(RUN_READY) requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
