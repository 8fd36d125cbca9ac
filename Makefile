# Plushify WhatsApp Console. `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PG15_BIN ?= /usr/lib/postgresql/15/bin

.DEFAULT_GOAL := help
.PHONY: help run test test-15 check format bench soak screenshots clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(VENV)/.run ## Install what it needs and start everything; Ctrl-C stops it
	@$(BIN)/python manage.py up

test: $(VENV)/.dev browser ## Run the whole suite, in real Chromium and on PostgreSQL 15 too where there is one
	$(BIN)/python -m pytest -n 2 --dist loadfile
	@if [ -x $(PG15_BIN)/postgres ]; then $(MAKE) --no-print-directory test-15; \
	else echo "NOTE: no PostgreSQL 15 in $(PG15_BIN): the second pass on it did not run"; fi

test-15: $(VENV)/.dev ## The database's tests once more, on PostgreSQL 15
	PLUSHIFY_TEST_PG_BIN=$(PG15_BIN) $(BIN)/python -m pytest -n 2 --dist loadfile -m "not browser and not faults" \
	  tests/migrations tests/test_isolation.py tests/services --ignore tests/services/wppconnect

check: $(VENV)/.dev ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Put the code into its form
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

bench: $(VENV)/.dev browser ## Measure; one line a figure
	$(BIN)/python -m bench

soak: $(VENV)/.dev ## Kill processes at random for several minutes and count what was lost or doubled
	PLUSHIFY_SOAK=1 $(BIN)/python -m pytest -m faults --timeout 1800

screenshots: $(VENV)/.dev browser ## Make the README's pictures anew
	$(BIN)/python -m bench.screenshots

clean: ## Remove the virtual environment and caches; keeps data/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "error: Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "error: Python lacks its venv module; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements.txt constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.run

# The browser tests use the machine's Chromium; where there is none, Playwright's own is tried.
.PHONY: browser
browser: $(VENV)/.dev
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 \
	  || $(BIN)/python -m playwright install chromium \
	  || echo "WARNING: NO CHROMIUM: EVERY BROWSER TEST WILL BE SKIPPED. Install it and run again."
