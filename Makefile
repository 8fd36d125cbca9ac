# Plushify WhatsApp Console. `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A file's tests stay in one process; browser tests come first, so that no long one is left over at the end.
TWO := -n 2 --dist loadfile --no-loadscope-reorder
# What the services have asked during the first pass.
STATEMENTS := .pytest_cache/statements
# What runs on PostgreSQL 15 as a whole: the rest is prepared there.
ON_15 := migrations test_isolation.py test_isolation_claims.py services/db/test_engine.py services/db/test_notify.py \
  services/db/test_queries.py services/db/test_statements.py services/operations/test_backup.py
# They start processes or walk over every table: too slow for whoever is writing.
NOT_FAST := browser faults contract demo migrations web/receiver web/api/test_every_operation.py \
  services/db/test_embedded.py services/operations/test_supervisor.py services/operations/test_backup.py test_compose.py test_isolation.py \
  test_isolation_claims.py test_manage.py test_session_faults.py
PG15_BIN ?= /usr/lib/postgresql/15/bin

.DEFAULT_GOAL := help
.PHONY: help run demo backup restore test test-fast test-15 test-slow check format schema bench soak messages screenshots clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(VENV)/.run ## Install what it needs and start everything; Ctrl-C stops it
	@$(BIN)/python manage.py up

backup: $(VENV)/.run ## Write the installation into one file, while it runs: make backup FILE=plushify.zip
	@$(BIN)/python manage.py backup $(FILE)

restore: $(VENV)/.run ## Make an empty installation the one in a file: make restore FILE=plushify.zip
	@$(BIN)/python manage.py restore $(FILE)

demo: $(VENV)/.run ## An installation of its own (data/demo) with a month of data in it; Ctrl-C stops it
	@DATA_DIR=data/demo $(BIN)/python manage.py demo
	@DATA_DIR=data/demo HEALTH_HEAL=false HEALTH_PROOF_SECONDS=86400 HEALTH_ASKS_PER_DAY=0 $(BIN)/python manage.py up

test: $(VENV)/.dev browser ## Run the whole suite, in real Chromium and on PostgreSQL 15 too where there is one
	@rm -rf $(STATEMENTS)
	$(BIN)/python -m pytest $(TWO) -m "not slow" --record-statements $(STATEMENTS)
	@if [ -x $(PG15_BIN)/postgres ]; then $(MAKE) --no-print-directory test-15; \
	else echo "NOTE: no PostgreSQL 15 in $(PG15_BIN): the second pass on it did not run"; fi

test-fast: $(VENV)/.dev ## For whoever is writing: the first case of each test that starts no process and no browser
	$(BIN)/python -m pytest -q $(TWO) -m "not slow" --first-cases tests $(addprefix --ignore tests/,$(NOT_FAST)) tests

test-15: $(VENV)/.dev ## PostgreSQL 15: migrations, isolation, a backup, and every statement that `make test` has met, prepared
	PLUSHIFY_TEST_PG_BIN=$(PG15_BIN) $(BIN)/python -m pytest $(TWO) -m "not slow" --recorded-statements $(STATEMENTS) \
	  $(addprefix tests/,$(ON_15))

test-slow: $(VENV)/.dev browser ## What kills by the dozen, waits by the clock, or is one more case of what `make test` proves
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m slow --timeout 1800

check: $(VENV)/.dev ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Put the code into its form
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

schema: $(VENV)/.dev ## Write migrations/schema.sql anew: what the migrations make, to be read
	PLUSHIFY_WRITE_SCHEMA=1 $(BIN)/python -m pytest -q --no-header tests/migrations/test_migrations.py -k schema_for_reading

bench: $(VENV)/.dev browser ## Measure; one line a figure
	$(BIN)/python -m bench

soak: $(VENV)/.dev ## Kill processes at random for several minutes and count what was lost or doubled
	PLUSHIFY_SOAK=1 $(BIN)/python -m pytest -m faults --timeout 1800

messages: $(VENV)/.dev ## Bring the other languages' catalogues up to the texts of the code; then fill in what is empty
	$(BIN)/pybabel -q extract --no-wrap --sort-output --no-location -o $(VENV)/console.pot pages ui services
	$(BIN)/pybabel -q update --no-wrap --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date \
	  -D console -d locales -i $(VENV)/console.pot
	@$(BIN)/python -m pytest -q --no-header tests/test_catalogues.py

screenshots: $(VENV)/.dev browser ## Make the pictures of README and docs anew, and one of every page in both themes into test-artifacts/gallery
	$(BIN)/python -m bench.screenshots
	$(BIN)/python -m bench.gallery

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
	@for one in chromium-headless-shell chromium chromium-browser google-chrome; do \
	  command -v $$one >/dev/null 2>&1 && exit 0; done; \
	$(BIN)/python -m playwright install chromium \
	  || echo "WARNING: NO CHROMIUM: EVERY BROWSER TEST WILL BE SKIPPED. Install it and run again."
