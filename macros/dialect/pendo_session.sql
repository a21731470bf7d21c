{# A statement to begin a session with; empty where there is nothing to set. #}
{% macro pendo_prepare_session() -%}
    {{ return(adapter.dispatch('pendo_prepare_session', 'dbt_pendo')()) }}
{%- endmacro %}

{% macro default__pendo_prepare_session() -%}
    {{ return('') }}
{%- endmacro %}

{#
  Each commit of a page is written to DuckDB's log; at 16 MiB of it, the default, it stops to tidy up its file, which
  takes as long as the commits themselves.
#}
{% macro duckdb__pendo_prepare_session() -%}
    {{ return("set checkpoint_threshold = '256MB'") }}
{%- endmacro %}

{#
  Spark derives conditions from each pair of columns that hold the same; the hash is made of all columns, and the plan
  of a model with forty would take minutes to optimise.
#}
{% macro spark__pendo_prepare_session() -%}
    {{ return('set spark.sql.constraintPropagation.enabled = false') }}
{%- endmacro %}

{# Databricks lets a session set few things, and this is none of them. #}
{% macro databricks__pendo_prepare_session() -%}
    {{ return('') }}
{%- endmacro %}
