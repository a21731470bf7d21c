{# The type of a text column in a `create table`, wide enough for every key and message. #}
{% macro pendo_text_type() -%}
    {{ return(adapter.dispatch('pendo_text_type', 'dbt_pendo')()) }}
{%- endmacro %}

{% macro default__pendo_text_type() -%}
    {{ return(dbt_pendo.pendo_type('string')) }}
{%- endmacro %}

{# A column of Redshift's `text` holds 256 bytes. #}
{% macro redshift__pendo_text_type() -%}
    {{ return('varchar(65535)') }}
{%- endmacro %}


{# A type of columns and casts that accepts nulls: dbt's `string`, `int`, `bigint`, `float` or `timestamp`. #}
{% macro pendo_type(kind) -%}
    {{ return(adapter.dispatch('pendo_type', 'dbt_pendo')(kind)) }}
{%- endmacro %}

{% macro default__pendo_type(kind) -%}
    {%- if kind == 'string' -%}
        {{ return(dbt.type_string()) }}
    {%- elif kind == 'int' -%}
        {{ return(dbt.type_int()) }}
    {%- elif kind == 'bigint' -%}
        {{ return(dbt.type_bigint()) }}
    {%- elif kind == 'float' -%}
        {{ return(dbt.type_float()) }}
    {%- elif kind == 'timestamp' -%}
        {{ return(dbt.type_timestamp()) }}
    {%- endif -%}
{%- endmacro %}

{# In ClickHouse a type accepts nulls only if it says so. dbt's timestamp there has whole seconds, of the years 1970 to 2106. #}
{% macro clickhouse__pendo_type(kind) -%}
    {%- set types = {'string': 'String', 'int': 'Int32', 'bigint': 'Int64', 'float': 'Float64',
        'timestamp': "DateTime64(6, 'UTC')"} -%}
    {{ return('Nullable(' ~ types[kind] ~ ')') }}
{%- endmacro %}


{# A 64-bit floating-point number, as in JSON; dbt's `type_float` has 32 bits on some engines. #}
{% macro pendo_double_type() -%}
    {{ return(adapter.dispatch('pendo_double_type', 'dbt_pendo')()) }}
{%- endmacro %}

{% macro default__pendo_double_type() -%}
    {{ return('double precision') }}
{%- endmacro %}

{% macro duckdb__pendo_double_type() -%}
    {{ return('double') }}
{%- endmacro %}

{% macro spark__pendo_double_type() -%}
    {{ return('double') }}
{%- endmacro %}

{% macro trino__pendo_double_type() -%}
    {{ return('double') }}
{%- endmacro %}

{% macro athena__pendo_double_type() -%}
    {{ return('double') }}
{%- endmacro %}

{% macro bigquery__pendo_double_type() -%}
    {{ return('float64') }}
{%- endmacro %}

{% macro clickhouse__pendo_double_type() -%}
    {{ return('Nullable(Float64)') }}
{%- endmacro %}
