{#
  The hash of a row: the mapping's fingerprint and every mapped column as text.

  Each value is written with its length before it, so that ('ab', 'c') and ('a', 'bc') differ, and a null
  differs from every text.
#}
{% macro pendo_row_hash(fingerprint, columns) %}
    {%- set parts = ["'" ~ fingerprint ~ "'"] -%}
    {%- for column in columns -%}
        {%- set text = dbt_pendo.pendo_text(dbt_pendo.pendo_name(column.name), column.dtype) | trim -%}
        {%- do parts.append(
            "coalesce(cast(length(" ~ text ~ ") as " ~ dbt.type_string() ~ ") || ':' || " ~ text ~ ", '-')"
        ) -%}
    {%- endfor -%}
    {{ dbt.hash(adapter.dispatch('pendo_concat', 'dbt_pendo')(parts)) }}
{%- endmacro %}


{# Texts, none of them null, in a row. #}
{% macro default__pendo_concat(texts) -%}
    {{ texts | join('\n            || ') }}
{%- endmacro %}

{# `||` copies what it has so far with each text. #}
{% macro duckdb__pendo_concat(texts) -%}
    concat({{ texts | join(',\n            ') }})
{%- endmacro %}


{# The bucket of a key: the first three hex digits of its hash, 4,096 even shares of any table. #}
{% macro pendo_bucket(key) -%}
    substr({{ dbt.hash("coalesce(" ~ key ~ ", '')") }}, 1, 3)
{%- endmacro %}


{# A column as text, the same text for the same value whatever the session's time zone. #}
{% macro pendo_text(expression, dtype) -%}
    {{ return(adapter.dispatch('pendo_text', 'dbt_pendo')(expression, dtype)) }}
{%- endmacro %}

{% macro default__pendo_text(expression, dtype) -%}
    {%- if dbt_pendo.pendo_has_zone(dtype) -%}
    cast({{ expression }} at time zone 'UTC' as {{ dbt.type_string() }})
    {%- else -%}
    cast({{ expression }} as {{ dbt.type_string() }})
    {%- endif -%}
{%- endmacro %}

{% macro snowflake__pendo_text(expression, dtype) -%}
    {%- if dbt_pendo.pendo_has_zone(dtype) -%}
    cast(convert_timezone('UTC', {{ expression }}) as {{ dbt.type_string() }})
    {%- else -%}
    cast({{ expression }} as {{ dbt.type_string() }})
    {%- endif -%}
{%- endmacro %}

{# BigQuery writes every timestamp in UTC. #}
{% macro bigquery__pendo_text(expression, dtype) -%}
    cast({{ expression }} as {{ dbt.type_string() }})
{%- endmacro %}

{% macro spark__pendo_text(expression, dtype) -%}
    {%- if dtype | lower == 'timestamp' -%}
    cast({{ dbt_pendo.spark__pendo_utc(expression) }} as {{ dbt.type_string() }})
    {%- else -%}
    cast({{ expression }} as {{ dbt.type_string() }})
    {%- endif -%}
{%- endmacro %}


{% macro pendo_has_zone(dtype) -%}
    {%- set lowered = dtype | lower -%}
    {{ return('with time zone' in lowered or 'timestamptz' in lowered or 'timestamp_tz' in lowered
        or 'timestamp_ltz' in lowered) }}
{%- endmacro %}
