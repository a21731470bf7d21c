{# What a `create table` has to say of how the table is stored; empty where the warehouse's own choice will do. #}
{% macro pendo_storage() -%}
    {{ return(adapter.dispatch('pendo_storage', 'dbt_pendo')()) }}
{%- endmacro %}

{% macro default__pendo_storage() -%}
    {{ return('') }}
{%- endmacro %}

{# Spark 3 would write text files, whose rows end at a line break in a value. #}
{% macro spark__pendo_storage() -%}
    {{ return(' using parquet') }}
{%- endmacro %}

{# Databricks makes Delta tables, which commit a statement as a whole. #}
{% macro databricks__pendo_storage() -%}
    {{ return('') }}
{%- endmacro %}
