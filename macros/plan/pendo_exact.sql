{#
  A text that is compared, grouped and joined byte by byte, whatever the collation of its column or of the database:
  Pendo takes `U1` and `u1` for two ids. A text that came from a column has to pass this macro before it is compared,
  for our own tables may have been created with the database's collation.
#}
{% macro pendo_exact(text) -%}
    {{ return(adapter.dispatch('pendo_exact', 'dbt_pendo')(text)) }}
{%- endmacro %}

{# Trino, Athena and Spark compare bytes. Databricks does as well, unless a column asks for another collation. #}
{% macro default__pendo_exact(text) -%}
    {{ return(text) }}
{%- endmacro %}

{% macro duckdb__pendo_exact(text) -%}
    {{ return('(' ~ text ~ ' collate "C")') }}
{%- endmacro %}

{% macro postgres__pendo_exact(text) -%}
    {{ return('(' ~ text ~ ' collate "C")') }}
{%- endmacro %}

{% macro redshift__pendo_exact(text) -%}
    {{ return("collate(" ~ text ~ ", 'case_sensitive')") }}
{%- endmacro %}

{% macro snowflake__pendo_exact(text) -%}
    {{ return("collate(" ~ text ~ ", '')") }}
{%- endmacro %}

{% macro bigquery__pendo_exact(text) -%}
    {{ return("collate(" ~ text ~ ", '')") }}
{%- endmacro %}
