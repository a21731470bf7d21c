"""Sync the tables dbt builds to Pendo.

Every dbt command imports this module (dbt's plugin manager imports each top-level module named ``dbt_*``),
so it holds the version and nothing else.
"""

__version__ = "0.1.0"
