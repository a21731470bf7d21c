"""The warehouse, reached through dbt's adapter."""
