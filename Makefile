.DEFAULT_GOAL := help
.PHONY: help run test soak bench check audit lint work sandbox clean texts gallery pictures

PYTHON ?= python3
BIN := .venv/bin
# One more than cores: some of a test is waiting.
WORKERS = $$($(BIN)/python -c "import os; print(1 + os.cpu_count())")
RUN_READY := .venv/.run-ready
DEV_READY := .venv/.dev-ready

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

run: $(RUN_READY)  ## start shop, sandbox and worker on this machine (Ctrl-C stops them)
	@$(BIN)/python wsgi.py

# A hundred processes are started: what they run is compiled once, whatever the environment says.
test: export PYTHONDONTWRITEBYTECODE =
test: $(DEV_READY)  ## run all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

soak: $(DEV_READY)  ## the long tests: thousands of sales, messages and kills (minutes, bounded)
	$(BIN)/python -m pytest -m soak -s

bench: $(DEV_READY)  ## what each path costs, against floors and peers, side by side (long; BENCH="pages --rounds 3" for a part)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	$(BIN)/python -m tests.bench $(BENCH)

check: lint test  ## ruff, format, mypy and all tests

audit: $(DEV_READY)  ## ask the vulnerability database about every pinned package (needs internet)
	$(BIN)/pip-audit --strict --disable-pip --no-deps -r requirements.txt

lint: $(DEV_READY)  ## ruff, format and mypy only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

texts: $(RUN_READY)  ## gather the texts for translators into translations/shop.pot
	@mkdir -p translations
	$(BIN)/pybabel -q extract -F babel.cfg -k lazy -k for_shoppers --sort-by-file -o translations/shop.pot .

gallery: $(DEV_READY)  ## show every page in every state on one sheet, at three widths, by day and by night
	$(BIN)/python -m tests.e2e.sheets

pictures: $(DEV_READY)  ## take the pictures of the README anew, into docs/
	$(BIN)/python -m tests.e2e.pictures

work: $(RUN_READY)  ## run the worker alone (settings from the environment)
	$(BIN)/python -m flask --app wsgi work

sandbox: $(RUN_READY)  ## run the sandbox alone (its SANDBOX_ settings from the environment)
	$(BIN)/python -m storefront.sandbox

clean:  ## remove the virtual environment and caches; what you bought in instance/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN_READY): requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(DEV_READY): $(RUN_READY) requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
