{# The number of bytes of a text in UTF-8. #}
{% macro pendo_bytes(text) -%}
    {{ return(adapter.dispatch('pendo_bytes', 'dbt_pendo')(text)) }}
{%- endmacro %}

{% macro default__pendo_bytes(text) -%}
    octet_length({{ text }})
{%- endmacro %}

{% macro duckdb__pendo_bytes(text) -%}
    strlen({{ text }})
{%- endmacro %}

{% macro bigquery__pendo_bytes(text) -%}
    byte_length({{ text }})
{%- endmacro %}

{# Trino has no `octet_length`. #}
{% macro trino__pendo_bytes(text) -%}
    length(to_utf8({{ text }}))
{%- endmacro %}

{% macro athena__pendo_bytes(text) -%}
    {{ return(dbt_pendo.trino__pendo_bytes(text)) }}
{%- endmacro %}

{# An `nvarchar` has two bytes a character, and becomes UTF-8 by its collation. #}
{% macro sqlserver__pendo_bytes(text) -%}
    datalength({{ dbt_pendo.sqlserver__pendo_utf8(text) }})
{%- endmacro %}

{% macro fabric__pendo_bytes(text) -%}
    {{ return(dbt_pendo.sqlserver__pendo_bytes(text)) }}
{%- endmacro %}

{# A text as UTF-8; SQL Server has such collations since 2019. #}
{% macro sqlserver__pendo_utf8(text) -%}
    {{ return('cast(' ~ dbt_pendo.pendo_exact('(' ~ text ~ ')') ~ ' as varchar(max))') }}
{%- endmacro %}
