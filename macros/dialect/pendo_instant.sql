{#
  A timestamp or date as what `pendo_now` gives can be compared with; without a zone it is UTC, a date its first instant.
#}
{% macro pendo_instant(expression, dtype) -%}
    {{ return(adapter.dispatch('pendo_instant', 'dbt_pendo')(expression, dtype)) }}
{%- endmacro %}

{% macro default__pendo_instant(expression, dtype) -%}
    {%- if dbt_pendo.pendo_has_zone(dtype) -%}
    cast({{ expression }} at time zone 'UTC' as {{ dbt.type_timestamp() }})
    {%- else -%}
    cast({{ expression }} as {{ dbt.type_timestamp() }})
    {%- endif -%}
{%- endmacro %}

{# Dates go further than timestamps on PostgreSQL and DuckDB. #}
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

{# BigQuery takes a datetime for UTC when it makes a timestamp of it. #}
{% macro bigquery__pendo_instant(expression, dtype) -%}
    cast({{ expression }} as timestamp)
{%- endmacro %}

{# Spark would take one without a zone for the session's: they are compared as a clock in UTC shows them. #}
{% macro spark__pendo_instant(expression, dtype) -%}
    {%- if dtype | lower == 'timestamp' -%}
    {{ dbt_pendo.spark__pendo_utc(expression) }}
    {%- else -%}
    cast({{ expression }} as timestamp_ntz)
    {%- endif -%}
{%- endmacro %}


{# The moment so many seconds before now, as timestamps are compared with it; a negative number is after now. #}
{% macro pendo_instant_ago(seconds) -%}
    {{ return(dbt_pendo.pendo_instant(dbt_pendo.pendo_seconds_ago(seconds), dbt.type_timestamp())) }}
{%- endmacro %}
