{#
  A column as the driver has to fetch it, so that Python gets the value that is in the table. Most drivers need no help.
#}
{% macro pendo_fetched(expression, dtype) -%}
    {%- if dbt_pendo.pendo_is_padded(dtype) -%}
        {{ return(dbt_pendo.pendo_unpadded(expression)) }}
    {%- endif -%}
    {{ return(adapter.dispatch('pendo_fetched', 'dbt_pendo')(expression, dtype)) }}
{%- endmacro %}

{% macro default__pendo_fetched(expression, dtype) -%}
    {{ return(expression) }}
{%- endmacro %}

{# Spark's timestamps come as the clock of the machine that asks shows them, without saying which zone that is. #}
{% macro spark__pendo_fetched(expression, dtype) -%}
    {{ return(dbt_pendo.spark__pendo_utc(expression) if dtype | lower == 'timestamp' else expression) }}
{%- endmacro %}


{#
  The instant of a timestamp as a clock in UTC shows it. Not by way of the session's zone, as `to_utc_timestamp` and
  casts go: two instants would become one wherever its clock is put forward or back.
#}
{% macro spark__pendo_utc(expression) -%}
    {{ return("(timestamp_ntz '1970-01-01 00:00:00' + make_dt_interval(0, 0, 0, cast(unix_micros("
        ~ expression ~ ") as decimal(20, 0)) / 1000000))") }}
{%- endmacro %}
