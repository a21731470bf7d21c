"""``python -m dbt_pendo``."""

from dbt_pendo.cli import main

main()
