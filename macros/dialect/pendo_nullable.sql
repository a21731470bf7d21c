{#
  An expression that a join may set to null. Where a join finds no row, ClickHouse sets a column that accepts no nulls to an
  empty text or 0. Its setting `join_use_nulls` is no remedy: views of the user that were made without it cannot be
  read with it.

  Arguments:
    expression   the expression
    dtype        its type if it is a column of the model: a list or structure cannot be null, and becomes an empty one
#}
{% macro pendo_nullable(expression, dtype=none) -%}
    {{ return(adapter.dispatch('pendo_nullable', 'dbt_pendo')(expression, dtype)) }}
{%- endmacro %}

{% macro default__pendo_nullable(expression, dtype) -%}
    {{ return(expression) }}
{%- endmacro %}

{% macro clickhouse__pendo_nullable(expression, dtype) -%}
    {{ return('toNullable(' ~ expression ~ ')' if dtype is none or dbt_pendo.clickhouse__pendo_is_scalar(dtype)
        else expression) }}
{%- endmacro %}


{# A null among the values of a column of the model. #}
{% macro pendo_null(dtype) -%}
    {{ return(adapter.dispatch('pendo_null', 'dbt_pendo')(dtype)) }}
{%- endmacro %}

{% macro default__pendo_null(dtype) -%}
    {{ return('null') }}
{%- endmacro %}

{% macro clickhouse__pendo_null(dtype) -%}
    {{ return('null' if dbt_pendo.clickhouse__pendo_is_scalar(dtype)
        else 'defaultValueOfTypeName(' ~ (dbt_pendo.pendo_literal(dtype) | trim) ~ ')') }}
{%- endmacro %}

{# Whether a type can be made nullable: arrays, maps, tuples and the like cannot. #}
{% macro clickhouse__pendo_is_scalar(dtype) -%}
    {%- for start in ['string', 'fixedstring', 'int', 'uint', 'float', 'bfloat', 'decimal', 'bool', 'date', 'time', 'uuid', 'ipv',
        'enum'] if (dtype | lower).startswith(start) -%}
        {{ return(true) }}
    {%- endfor -%}
    {{ return(false) }}
{%- endmacro %}
