{#
  The expression to fetch a column with, so that Python gets the exact value. Most drivers need no change.
  A value that Python cannot represent is fetched as {'unreadable': why}.
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

{#
  psycopg2 reads a time with a zone in the session's zone, where the last hours of the year 9999 may be in the year
  10000. warehouse/psycopg2_values.py does the rest.
#}
{% macro postgres__pendo_fetched(expression, dtype) -%}
    {%- set is_moment = (dtype | lower).startswith('timestamp') -%}
    {{ return('(' ~ expression ~ " at time zone 'UTC')" if is_moment and dbt_pendo.pendo_has_zone(dtype) else expression) }}
{%- endmacro %}

{# Redshift would inherit PostgreSQL's. #}
{% macro redshift__pendo_fetched(expression, dtype) -%}
    {{ return(expression) }}
{%- endmacro %}

{# DuckDB's client reads infinity as the last day of the year 9999, and returns text for days beyond Python's calendar. #}
{% macro duckdb__pendo_fetched(expression, dtype) -%}
    {%- set kind = dtype | lower -%}
    {%- if kind.endswith('[]') and dbt_pendo.duckdb__pendo_is_moment(kind[:-2]) -%}
        {{ return('[' ~ dbt_pendo.duckdb__pendo_moment('moment', kind[:-2]) ~ ' for moment in ' ~ expression ~ ']') }}
    {%- endif -%}
    {{ return(dbt_pendo.duckdb__pendo_moment(expression, kind) if dbt_pendo.duckdb__pendo_is_moment(kind)
        else expression) }}
{%- endmacro %}

{% macro duckdb__pendo_is_moment(kind) -%}
    {{ return(kind == 'date' or (kind.startswith('timestamp') and not kind.endswith(']'))) }}
{%- endmacro %}

{# A date or timestamp of the years 1 to 9999, in UTC; otherwise the reason why it cannot be read. #}
{% macro duckdb__pendo_moment(expression, kind) -%}
    {%- set type = 'date' if kind == 'date' else 'timestamp' -%}
    {%- if dbt_pendo.pendo_has_zone(kind) -%}
        {%- set moment = 'cast(' ~ expression ~ " at time zone 'UTC' as timestamp)" -%}
    {%- else -%}
        {%- set moment = expression if kind == type else 'cast(' ~ expression ~ ' as timestamp)' -%}
    {%- endif -%}
    {%- set either = ' as union(moment ' ~ type ~ ', reason struct(unreadable varchar)))' -%}
    {{ return('case when ' ~ expression ~ ' is null then null'
        ~ ' when ' ~ moment ~ ' >= ' ~ type ~ " '0001-01-01' and " ~ moment ~ ' < ' ~ type ~ " '10000-01-01'"
        ~ ' then cast(' ~ moment ~ either
        ~ " else cast({'unreadable': case when isfinite(" ~ moment ~ ') then cast(' ~ moment
        ~ " as varchar) || ' is outside the years 1 to 9999' else 'infinite' end}" ~ either ~ ' end') }}
{%- endmacro %}

{# Spark returns timestamps in the client machine's time zone, without naming the zone. #}
{% macro spark__pendo_fetched(expression, dtype) -%}
    {{ return(dbt_pendo.spark__pendo_utc(expression) if dtype | lower == 'timestamp' else expression) }}
{%- endmacro %}


{#
  The instant of a timestamp in UTC. It avoids the session's zone, which `to_utc_timestamp` and casts use: two instants
  would become one whenever the zone's clock changes.
#}
{% macro spark__pendo_utc(expression) -%}
    {{ return("(timestamp_ntz '1970-01-01 00:00:00' + make_dt_interval(0, 0, 0, cast(unix_micros("
        ~ expression ~ ") as decimal(20, 0)) / 1000000))") }}
{%- endmacro %}

{#
  clickhouse-driver reads a time in the server's zone. Drivers return text of a fixed width as bytes, and addresses as
  objects.
#}
{% macro clickhouse__pendo_fetched(expression, dtype) -%}
    {%- set kind = dtype | lower -%}
    {%- if kind.startswith('datetime') -%}
        {{ return('toTimeZone(' ~ expression ~ ", 'UTC')") }}
    {%- elif kind.startswith('array(datetime') or kind.startswith('array(nullable(datetime') -%}
        {{ return("arrayMap(moment -> toTimeZone(moment, 'UTC'), " ~ expression ~ ')') }}
    {%- elif kind.startswith('fixedstring') or kind.startswith('ipv') -%}
        {{ return(dbt_pendo.clickhouse__pendo_text(expression, dtype) | trim) }}
    {%- endif -%}
    {{ return(expression) }}
{%- endmacro %}


{# A column to read, {alias, dtype, as_text}: its expression to fetch, or its text, which every driver can read. #}
{% macro pendo_wanted(column) -%}
    {%- set name = dbt_pendo.pendo_name(column.alias) -%}
    {{ return((dbt_pendo.pendo_text(name, column.dtype) | trim) if column.as_text
        else dbt_pendo.pendo_fetched(name, column.dtype)) }}
{%- endmacro %}
