{#
  A text that is compared, grouped and joined byte by byte, regardless of the collation of its column or the database:
  for Pendo `U1` and `u1` are two ids. Every text from a column must pass this macro before it is compared, because even
  dbt-pendo's tables may have the database's collation.
#}
{% macro pendo_exact(text) -%}
    {{ return(adapter.dispatch('pendo_exact', 'dbt_pendo')(text)) }}
{%- endmacro %}

{# Trino, Athena and Spark compare bytes. So does Databricks, unless a column has another collation. #}
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

{#
  T-SQL takes no notice of blanks at the end of a text: two ids that differ only in these are one. It refuses to collate what
  is collated already.
#}
{% macro sqlserver__pendo_exact(text) -%}
    {%- set collated = ' collate Latin1_General_100_BIN2_UTF8' -%}
    {{ return(text if collated in text else '(' ~ text ~ collated ~ ')') }}
{%- endmacro %}

{% macro fabric__pendo_exact(text) -%}
    {{ return(dbt_pendo.sqlserver__pendo_exact(text)) }}
{%- endmacro %}
