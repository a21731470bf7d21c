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
