#!/bin/sh
# `dbt-pendo build` for cron: prints only errors, because cron mails all output. See cron.md.
set -eu

settings=$1
set -a
. "$settings"
set +a

# dbt has no lock: two builds in one folder would overwrite each other's tables and artifacts.
exec 9< "$settings"
flock --nonblock 9 || { echo "The run before this one is still under way; nothing was done." >&2; exit 1; }

cd "$DBT_PROJECT_DIR"
exec dbt-pendo build --quiet
