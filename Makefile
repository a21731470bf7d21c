# `make demo` and `make test` need Python 3.10 or newer, git and make; they install the rest into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# The versions of dbt-core that are claimed to work.
MATRIX := 1.8 1.10 1.11 1.12

AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help demo test test-spark test-snowflake test-rendered test-report test-matrix soak lint format bench clean

help: ## Show this help.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

# In the folder of the target.
define NEW_ENVIRONMENT
$(PYTHON) -m venv $(@D)
PIP_CONSTRAINT= $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
endef

$(INSTALLED): pyproject.toml constraints.txt
	$(NEW_ENVIRONMENT)
	$(@D)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[duckdb,postgres]' --group dev
	touch $@

.venv-spark/.installed: pyproject.toml constraints.txt
	$(NEW_ENVIRONMENT)
	$(@D)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[spark]' pytest
	touch $@

.venv-snowflake/.installed: pyproject.toml constraints-snowflake.txt
	$(NEW_ENVIRONMENT)
	$(@D)/bin/python -m pip install --quiet --constraint constraints-snowflake.txt --editable '.[snowflake]' \
		'fakesnow[server]' pytest
	touch $@

.venv-rendered/.installed: pyproject.toml constraints-rendered.txt
	$(NEW_ENVIRONMENT)
	$(@D)/bin/python -m pip install --quiet --constraint constraints-rendered.txt \
		--editable '.[bigquery,redshift,databricks]' dbt-trino dbt-athena sqlglot pytest
	touch $@

.venv-report/.installed: pyproject.toml constraints.txt
	$(NEW_ENVIRONMENT)
	$(@D)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[duckdb]' pytest selenium
	touch $@

.venv-drt/.installed: constraints-bench.txt
	$(NEW_ENVIRONMENT)
	$(@D)/bin/python -m pip install --quiet --constraint constraints-bench.txt 'drt-core[duckdb]'
	touch $@

.venv-dlt/.installed: constraints-bench.txt
	$(NEW_ENVIRONMENT)
	$(@D)/bin/python -m pip install --quiet --constraint constraints-bench.txt 'dlt[parquet]' duckdb orjson requests
	touch $@

demo: $(INSTALLED) ## Build the sample project with dbt on DuckDB and sync it to the sandbox, twice.
	$(BIN)/dbt-pendo demo

test: $(INSTALLED) ## Run the tests.
	$(BIN)/python -m pytest -n auto -q

test-matrix: $(MATRIX:%=test-dbt-%) ## Run the DuckDB path with each version of dbt-core that is claimed to work.

# 1.12 needs a package that downloads a binary while it is built; one old version of it has a wheel.
CORE_1.12 := 'dbt-core==1.12.0' 'dbt-core-experimental-parser==2.0.0a4'

test-dbt-%:
	$(PYTHON) -m venv .venv-dbt-$*
	.venv-dbt-$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	.venv-dbt-$*/bin/python -m pip install --quiet --editable '.[duckdb]' $(or $(CORE_$*),'dbt-core==$*.*') \
		pytest pytest-xdist hypothesis jsonschema
	.venv-dbt-$*/bin/python -m pytest -n auto -q tests/functional tests/warehouse/test_duckdb.py \
		tests/unit/test_golden_manifests.py

test-spark: .venv-spark/.installed ## Run the warehouse's tests on Spark; needs Java 17 or newer.
	.venv-spark/bin/python -m pytest -q tests/warehouse/test_spark.py

test-snowflake: .venv-snowflake/.installed ## Run the warehouse's tests with Snowflake's connector, on a stand-in.
	.venv-snowflake/bin/python -m pytest -q tests/warehouse/test_snowflake.py

test-rendered: .venv-rendered/.installed ## Parse the SQL for BigQuery, Redshift, Databricks, Trino and Athena.
	.venv-rendered/bin/python -m pytest -q tests/warehouse/test_rendered.py

test-report: .venv-report/.installed ## Look at the report in Chromium, which is installed from Debian if it is missing.
	command -v chromium >/dev/null && command -v chromedriver >/dev/null || { $(AS_ROOT) apt-get update -qq && \
		$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium chromium-driver; } >/dev/null
	.venv-report/bin/python -m pytest -q tests/functional/test_report_page.py

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

bench: $(INSTALLED) .venv-drt/.installed .venv-dlt/.installed ## Compare with drt, dlt and a script; measure the pace.
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/pacing.py

clean: ## Remove what the targets above made.
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
