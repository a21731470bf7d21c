{# The storage clause of a `create table`; empty if the warehouse's default is right. #}
{% macro pendo_storage() -%}
    {{ return(adapter.dispatch('pendo_storage', 'dbt_pendo')()) }}
{%- endmacro %}

{% macro default__pendo_storage() -%}
    {{ return('') }}
{%- endmacro %}

{# Spark 3 would write text files, in which a line break in a value ends the row. #}
{% macro spark__pendo_storage() -%}
    {{ return(' using parquet') }}
{%- endmacro %}

{# Databricks makes Delta tables, which commit a statement as a whole. #}
{% macro databricks__pendo_storage() -%}
    {{ return('') }}
{%- endmacro %}

{% macro clickhouse__pendo_storage() -%}
    {{ return(' engine = MergeTree order by tuple()') }}
{%- endmacro %}
