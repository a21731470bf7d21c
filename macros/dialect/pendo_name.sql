{# A column's name, quoted. Unlike `adapter.quote`, it escapes a quote in the name. #}
{% macro pendo_name(name) -%}
    {{ return(adapter.dispatch('pendo_name', 'dbt_pendo')(name)) }}
{%- endmacro %}

{% macro default__pendo_name(name) -%}
    {%- set quote = adapter.quote('')[0] -%}
    {{ return(adapter.quote(name | replace(quote, quote ~ quote))) }}
{%- endmacro %}

{# ClickHouse reads a backslash in a name as an escape. #}
{% macro clickhouse__pendo_name(name) -%}
    {{ return(dbt_pendo.default__pendo_name(name | replace("\\", "\\\\"))) }}
{%- endmacro %}

{# Some versions of its adapter escape a bracket, others do not. #}
{% macro fabric__pendo_name(name) -%}
    {{ return('[' ~ name | replace(']', ']]') ~ ']') }}
{%- endmacro %}


{# The name of a column of ours that may be a word of the dialect. #}
{% macro pendo_own_name(name) -%}
    {{ return(adapter.dispatch('pendo_own_name', 'dbt_pendo')(name)) }}
{%- endmacro %}

{% macro default__pendo_own_name(name) -%}
    {{ return(name) }}
{%- endmacro %}

{% macro sqlserver__pendo_own_name(name) -%}
    {{ return(dbt_pendo.pendo_name(name)) }}
{%- endmacro %}

{% macro fabric__pendo_own_name(name) -%}
    {{ return(dbt_pendo.pendo_name(name)) }}
{%- endmacro %}
