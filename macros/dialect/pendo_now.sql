{#
  The warehouse's clock in UTC, without a zone. Clocks of the machines that run syncs may differ, and a session's time
  zone must not affect it. Nothing that needs a reliable order is ordered by it, because it may be set back.
#}
{% macro pendo_now() -%}
    {{ return(adapter.dispatch('pendo_now', 'dbt_pendo')()) }}
{%- endmacro %}

{% macro default__pendo_now() -%}
    cast(current_timestamp at time zone 'UTC' as {{ dbt_pendo.pendo_type('timestamp') }})
{%- endmacro %}

{% macro bigquery__pendo_now() -%}
    current_timestamp()
{%- endmacro %}

{% macro spark__pendo_now() -%}
    current_timestamp()
{%- endmacro %}

{% macro snowflake__pendo_now() -%}
    sysdate()
{%- endmacro %}

{# `sysdate` is in the session's time zone, and becomes an instant of that zone when it is cast. #}
{% macro redshift__pendo_now() -%}
    cast(sysdate as timestamptz) at time zone 'UTC'
{%- endmacro %}

{% macro clickhouse__pendo_now() -%}
    now64(6, 'UTC')
{%- endmacro %}


{# The moment that many seconds before now. #}
{% macro pendo_seconds_ago(seconds) -%}
    {{ return(dbt_pendo.pendo_seconds_before(seconds, dbt_pendo.pendo_now())) }}
{%- endmacro %}


{# The moment that many seconds before another. #}
{% macro pendo_seconds_before(seconds, moment) -%}
    {{ return(adapter.dispatch('pendo_seconds_before', 'dbt_pendo')(seconds, moment) | trim) }}
{%- endmacro %}

{% macro default__pendo_seconds_before(seconds, moment) -%}
    {{ dbt.dateadd('second', -seconds, moment) }}
{%- endmacro %}

{# dbt's `dateadd` returns a datetime, which BigQuery does not compare with a timestamp. #}
{% macro bigquery__pendo_seconds_before(seconds, moment) -%}
    timestamp_sub({{ moment }}, interval {{ seconds }} second)
{%- endmacro %}

{# Spark's dateadd drops the fraction of the second, so recent moments would lie in the future. #}
{% macro spark__pendo_seconds_before(seconds, moment) -%}
    timestamp_micros(unix_micros({{ moment }}) - {{ seconds }}000000L)
{%- endmacro %}

{% macro clickhouse__pendo_seconds_before(seconds, moment) -%}
    subtractSeconds({{ moment }}, {{ seconds }})
{%- endmacro %}
