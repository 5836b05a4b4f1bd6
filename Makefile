# Everything a developer or operator runs. `make help` prints this list.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Scrinia needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); \
	  else echo "No venv module: install your system's python3-venv package."; exit 1; fi; }

$(VENV)/run.stamp: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

serve: $(VENV)/run.stamp ## Serve on SQLite; begins a registry in ./scrinia-data if there is none
	@exec $(BIN)/scrinia serve

nats-server:
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin"; command -v "$${NATS_SERVER:-nats-server}" >/dev/null \
	  || { if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq nats-server >/dev/null; \
	  else echo "No nats-server: install your system's nats-server package, or set NATS_SERVER;" \
	    "its tests are skipped."; fi; }

test: $(VENV)/dev.stamp lint nats-server ## Lint, type-check and run all tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

long-test: $(VENV)/dev.stamp nats-server ## The fault and soak tests in full length
	SCRINIA_LONG=1 $(BIN)/python -m pytest tests/faults tests/sign_in tests/api/test_machine.py \
	  tests/api/test_governance_machine.py tests/governance/test_second_person_machine.py \
	  tests/api/test_schemathesis_reads.py tests/api/test_schemathesis_changes.py

lint: $(VENV)/dev.stamp ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev.stamp ## Measure against the bare floor, side by side
	$(BIN)/python -m bench

bench-propagation: $(VENV)/dev.stamp nats-server ## How long a change takes to everybody else
	$(BIN)/python -m bench.propagation

docs: $(VENV)/dev.stamp ## Write what the documents have from the code
	$(BIN)/python -m tests.house.write_docs

lock: $(VENV)/dev.stamp ## Resolve the dependencies anew into the lock files
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 --group build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 --extra otel --group build pyproject.toml -o requirements-otel.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
	  --python-version 3.11 --extra otel --group build --group dev pyproject.toml -o requirements-dev.lock

bundle: $(VENV)/run.stamp ## Wheels for an install without a network, in dist/bundle
	rm -rf dist/bundle
	$(BIN)/python -m pip wheel --quiet --require-hashes -r requirements.lock -w dist/bundle
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation . -w dist/bundle
	cp requirements.lock dist/bundle/
	@echo "Copy dist/bundle and there: pip install --no-index --find-links dist/bundle scrinia-server"

sbom: $(VENV)/run.stamp ## A CycloneDX list of what the server stands on, dist/scrinia.cdx.json
	@mkdir -p dist
	$(PYTHON) -m venv dist/sbom-venv && dist/sbom-venv/bin/pip install --quiet cyclonedx-bom==7.5.0
	dist/sbom-venv/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml \
	  --output-reproducible -o dist/scrinia.cdx.json
	rm -rf dist/sbom-venv

clean: ## Remove the environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

.PHONY: help serve test nats-server long-test lint bench bench-propagation docs lock bundle sbom clean
