{# A timestamp or date in a form that compares with `pendo_now`. Without a zone it is UTC; a date is its first instant. #}
{% macro pendo_instant(expression, dtype) -%}
    {{ return(adapter.dispatch('pendo_instant', 'dbt_pendo')(expression, dtype)) }}
{%- endmacro %}

{% macro default__pendo_instant(expression, dtype) -%}
    {%- if dbt_pendo.pendo_has_zone(dtype) -%}
    cast({{ expression }} at time zone 'UTC' as {{ dbt_pendo.pendo_type('timestamp') }})
    {%- else -%}
    cast({{ expression }} as {{ dbt_pendo.pendo_type('timestamp') }})
    {%- endif -%}
{%- endmacro %}

{# Dates have a larger range than timestamps on PostgreSQL and DuckDB. #}
{% macro postgres__pendo_instant(expression, dtype) -%}
    {%- if dtype | lower == 'date' -%}
    case
        when {{ expression }} > date '9999-12-31' then timestamp 'infinity'
        when {{ expression }} < date '0001-01-01' then timestamp '-infinity'
        else cast({{ expression }} as timestamp)
    end
    {%- else -%}
    {{ dbt_pendo.default__pendo_instant(expression, dtype) }}
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__pendo_instant(expression, dtype) -%}
    {{ dbt_pendo.postgres__pendo_instant(expression, dtype) }}
{%- endmacro %}

{% macro redshift__pendo_instant(expression, dtype) -%}
    {{ dbt_pendo.default__pendo_instant(expression, dtype) }}
{%- endmacro %}

{% macro snowflake__pendo_instant(expression, dtype) -%}
    {%- if dbt_pendo.pendo_has_zone(dtype) -%}
    cast(convert_timezone('UTC', {{ expression }}) as timestamp_ntz)
    {%- else -%}
    cast({{ expression }} as timestamp_ntz)
    {%- endif -%}
{%- endmacro %}

{# BigQuery reads a datetime as UTC when it casts it to a timestamp. #}
{% macro bigquery__pendo_instant(expression, dtype) -%}
    cast({{ expression }} as timestamp)
{%- endmacro %}

{# Spark would read a timestamp without a zone in the session's zone, so both are compared in UTC. #}
{% macro spark__pendo_instant(expression, dtype) -%}
    {%- if dtype | lower == 'timestamp' -%}
    {{ dbt_pendo.spark__pendo_utc(expression) }}
    {%- else -%}
    cast({{ expression }} as timestamp_ntz)
    {%- endif -%}
{%- endmacro %}

{# Each of ClickHouse's times is an instant, whatever zone it is shown in. #}
{% macro clickhouse__pendo_instant(expression, dtype) -%}
    toDateTime64({{ expression }}, 6, 'UTC')
{%- endmacro %}


{# The moment that many seconds before now, for comparisons with timestamps; a negative number is after now. #}
{% macro pendo_instant_ago(seconds) -%}
    {{ return(dbt_pendo.pendo_instant(dbt_pendo.pendo_seconds_ago(seconds), dbt_pendo.pendo_type('timestamp'))) }}
{%- endmacro %}
