{#
  The statement that creates a table in place of one of its name; empty if the warehouse has none, and the old one has to
  be dropped first.

  Arguments:
    relation   the table
    create     the statement that creates it, from `create table`
#}
{% macro pendo_replace_table(relation, create) -%}
    {{ return(adapter.dispatch('pendo_replace_table', 'dbt_pendo')(relation, create)) }}
{%- endmacro %}

{% macro default__pendo_replace_table(relation, create) -%}
    {{ return('') }}
{%- endmacro %}

{% macro duckdb__pendo_replace_table(relation, create) -%}
    {{ return('create or replace' ~ (create | trim)[6:]) }}
{%- endmacro %}

{% macro snowflake__pendo_replace_table(relation, create) -%}
    {{ return(dbt_pendo.duckdb__pendo_replace_table(relation, create)) }}
{%- endmacro %}

{% macro bigquery__pendo_replace_table(relation, create) -%}
    {{ return(dbt_pendo.duckdb__pendo_replace_table(relation, create)) }}
{%- endmacro %}

{#- Its tables are Delta's. #}
{% macro databricks__pendo_replace_table(relation, create) -%}
    {{ return(dbt_pendo.duckdb__pendo_replace_table(relation, create)) }}
{%- endmacro %}

{% macro clickhouse__pendo_replace_table(relation, create) -%}
    {{ return(dbt_pendo.duckdb__pendo_replace_table(relation, create)) }}
{%- endmacro %}

{#- psycopg2 sends both at once. #}
{% macro postgres__pendo_replace_table(relation, create) -%}
    {{ return('drop table if exists ' ~ relation ~ ';\n' ~ (create | trim)) }}
{%- endmacro %}

{#- Redshift would inherit PostgreSQL's, and its driver takes one statement at a time. #}
{% macro redshift__pendo_replace_table(relation, create) -%}
    {{ return('') }}
{%- endmacro %}
