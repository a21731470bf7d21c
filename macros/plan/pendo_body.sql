{#
  The request bodies of a page's added and changed rows, if the warehouse can write them byte for byte as
  dbt_pendo/records/ does: one body per metadata group, in the order of bucket and seq. A body is null if a row is
  unusual: the page must then be read and rendered value by value (`pendo_read_page`). Empty if the warehouse cannot write
  bodies, or not for these columns.

  Arguments:
    changes   the change set's relation
    bodies    one per group: {id_key, fields: [{key, alias, dtype, type}]}
    span      the rows of the page (see pendo_within)
#}
{% macro pendo_read_bodies(changes, bodies, span) %}
    {{ return(adapter.dispatch('pendo_read_bodies', 'dbt_pendo')(changes, bodies, span)) }}
{% endmacro %}

{% macro default__pendo_read_bodies(changes, bodies, span) %}{% endmacro %}

{% macro duckdb__pendo_read_bodies(changes, bodies, span) %}
    {%- set written = [] -%}
    {%- for body in bodies -%}
        {%- do written.append(dbt_pendo.duckdb__pendo_body(body.id_key, body.fields)) -%}
    {%- endfor -%}
    {%- if none in written %}{{ return('') }}{% endif -%}
select
    {%- for _ in written %}
    {#- DuckDB writes hex digits of control characters in upper case, and escapes line ends that others do not. #}
    case when ordinary_{{ loop.index }} and not contains(body_{{ loop.index }}, '\u00')
        and not contains(body_{{ loop.index }}, '\u202') then body_{{ loop.index }} end
    {{- ',' if not loop.last }}
    {%- endfor %}
from (
    select
        bucket,
        seq
        {%- for body in written %},
        {{ body.ordinary | join('\n            and ') }} as ordinary_{{ loop.index }},
        {{ body.json }} as body_{{ loop.index }}
        {%- endfor %}
    from {{ dbt_pendo.pendo_rows(changes, span) }} changes
    where change in ('added', 'changed', 'removed')
        and {{ dbt_pendo.pendo_within(span) }}
) bodies
order by bucket, seq
{% endmacro %}


{#
  A record's body: {json, ordinary}, its text and the conditions under which Python and orjson write the same bytes.
  None if it cannot be written. Rows that failed before are not ordinary, because they are sent last.
#}
{% macro duckdb__pendo_body(id_key, fields) %}
    {%- set values = [] -%}
    {%- set ordinary = ["change <> 'removed'", 'attempts = 0'] -%}
    {%- for field in fields -%}
        {%- set value = dbt_pendo.duckdb__pendo_value(dbt_pendo.pendo_name(field.alias), field.dtype, field.type) -%}
        {%- if value is none %}{{ return(none) }}{% endif -%}
        {%- do values.append(dbt_pendo.pendo_literal(field.key) ~ ': ' ~ value.expression) -%}
        {%- if value.ordinary %}
            {%- do ordinary.append('coalesce(' ~ value.ordinary ~ ', true)') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set json = 'to_json({' ~ dbt_pendo.pendo_literal(id_key) ~ ": record_key, 'values': {" ~ values | join(', ') ~ '}})' -%}
    {{ return({'json': 'cast(' ~ json ~ ' as varchar)', 'ordinary': ordinary}) }}
{% endmacro %}


{#
  A column as a value of DuckDB's JSON: {expression, ordinary}. `ordinary` is the condition under which Python writes the
  same text (none: always). None if that is not known for the pair of types.
#}
{% macro duckdb__pendo_value(column, dtype, type) %}
    {%- set kind = dtype | lower -%}
    {%- set number = 'cast(' ~ column ~ ' as double)' -%}
    {%- if (kind.startswith('character varying') or kind == 'varchar') and type in ('string', none) -%}
        {{ return({'expression': column}) }}
    {%- elif kind == 'boolean' and type in ('boolean', none) -%}
        {{ return({'expression': column}) }}
    {%- elif kind in ('tinyint', 'smallint', 'integer', 'bigint', 'utinyint', 'usmallint', 'uinteger') -%}
        {%- if type in ('integer', none) -%}
            {{ return({'expression': column}) }}
        {%- elif type == 'float' -%}
            {{ return({'expression': number, 'ordinary': 'abs(' ~ number ~ ') < 1e15'}) }}
        {%- endif -%}
    {%- elif kind == 'double' and type in ('float', none) -%}
        {{ return({'expression': column, 'ordinary': dbt_pendo.duckdb__pendo_plain(column, '1e16')}) }}
    {%- elif kind.startswith('decimal(') -%}
        {%- set places = kind.split(',')[1].rstrip(')') | int -%}
        {%- if type == 'float' or (type is none and places > 0) -%}
            {#- A double preserves 15 decimal digits, including decimal places. #}
            {{ return({'expression': number, 'ordinary': dbt_pendo.duckdb__pendo_plain(number, '1e' ~ (15 - places))}) }}
        {%- endif -%}
    {%- elif kind in ('timestamp', 'date') and type in ('time', none) -%}
        {%- set clock = '%H:%M:%S.%g' if kind == 'timestamp' else '00:00:00.000' -%}
        {{ return({
            'expression': "strftime(" ~ column ~ ", '%Y-%m-%dT" ~ clock ~ "+00:00')",
            'ordinary': column ~ " >= date '1000-01-01' and " ~ column ~ " < date '9999-12-31'"
        }) }}
    {%- endif -%}
    {{ return(none) }}
{% endmacro %}


{# Whether a double is written without an exponent; DuckDB orders NaN above every number. #}
{% macro duckdb__pendo_plain(number, limit) -%}
    {{ return('(' ~ number ~ ' = 0 or abs(' ~ number ~ ') >= 1e-5) and abs(' ~ number ~ ') < ' ~ limit) }}
{%- endmacro %}
