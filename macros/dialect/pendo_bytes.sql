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
