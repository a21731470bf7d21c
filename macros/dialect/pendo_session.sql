{# A statement to start a session with; empty if there is nothing to set. #}
{% macro pendo_prepare_session() -%}
    {{ return(adapter.dispatch('pendo_prepare_session', 'dbt_pendo')()) }}
{%- endmacro %}

{% macro default__pendo_prepare_session() -%}
    {{ return('') }}
{%- endmacro %}

{#
  DuckDB writes each page commit to its log. At 16 MiB of log (the default) it pauses for a checkpoint, which takes as long
  as the commits.
#}
{% macro duckdb__pendo_prepare_session() -%}
    {{ return("set checkpoint_threshold = '256MB'") }}
{%- endmacro %}

{#
  Spark derives conditions from each pair of equal columns. The hash uses all columns, so optimising the plan of a model
  with forty columns would take minutes.
#}
{% macro spark__pendo_prepare_session() -%}
    {{ return('set spark.sql.constraintPropagation.enabled = false') }}
{%- endmacro %}

{# Databricks does not allow this setting in a session. #}
{% macro databricks__pendo_prepare_session() -%}
    {{ return('') }}
{%- endmacro %}
