# `make demo` and `make test` need Python 3.10 or newer, git and make; they install the rest into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help demo test test-snowflake test-rendered soak lint format bench clean

help: ## Show this help.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT= $(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[duckdb]' --group dev
	touch $@

.venv-snowflake/.installed: pyproject.toml constraints-snowflake.txt
	$(PYTHON) -m venv .venv-snowflake
	PIP_CONSTRAINT= .venv-snowflake/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	.venv-snowflake/bin/python -m pip install --quiet --constraint constraints-snowflake.txt --editable '.[snowflake]' \
		'fakesnow[server]' pytest
	touch $@

.venv-rendered/.installed: pyproject.toml constraints-rendered.txt
	$(PYTHON) -m venv .venv-rendered
	PIP_CONSTRAINT= .venv-rendered/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	.venv-rendered/bin/python -m pip install --quiet --constraint constraints-rendered.txt \
		--editable '.[bigquery,redshift,databricks]' dbt-trino dbt-athena sqlglot pytest
	touch $@

demo: $(INSTALLED) ## Build the sample project with dbt on DuckDB and sync it to the sandbox, twice.
	$(BIN)/dbt-pendo demo

test: $(INSTALLED) ## Run the tests.
	$(BIN)/python -m pytest -n auto -q

test-snowflake: .venv-snowflake/.installed ## Hold the warehouse contract against Snowflake's connector and a stand-in server.
	.venv-snowflake/bin/python -m pytest -q tests/warehouse/test_snowflake.py

test-rendered: .venv-rendered/.installed ## Parse the SQL for BigQuery, Redshift, Databricks, Trino and Athena.
	.venv-rendered/bin/python -m pytest -q tests/warehouse/test_rendered.py

soak: $(INSTALLED) ## Run many more random mixtures of faults, and kills; takes an hour.
	SOAK=100 $(BIN)/python -m pytest -n auto -q tests/delivery/test_mixtures.py tests/safety/test_kills.py

lint: $(INSTALLED) ## Check style, types and the rules of import.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## Measure a million visitors, and the pace against a Pendo with limits.
	$(BIN)/python benchmarks/sync_million.py
	$(BIN)/python benchmarks/pacing.py

clean: ## Remove what the targets above made.
	rm -rf $(VENV) .venv-snowflake .venv-rendered .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
