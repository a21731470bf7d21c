{#
  The rows of a page as the request bodies they will be sent in, where the warehouse can write them to the byte as
  dbt_pendo/records/ does: columns bucket, seq, change, record_key and a body a metadata group. A body is null where
  a value is out of the ordinary; those rows have to be read and rendered as they are (`pendo_read_page` with
  `bodies`). Empty when the warehouse cannot write bodies at all, or not of such columns.

  Arguments:
    changes   the change set's relation
    bodies    one a group: {id_key, fields: [{key, column, dtype, type}]}, keys as JSON strings
    span      the rows of the page (see pendo_within)
#}
{% macro pendo_read_bodies(changes, bodies, span) %}
    {%- set expressions = dbt_pendo.pendo_bodies(bodies) -%}
    {%- if expressions %}{{ dbt_pendo.pendo_select_page(changes, expressions, span) }}{% endif -%}
{% endmacro %}


{# One expression a body; none at all when one of them cannot be written. #}
{% macro pendo_bodies(bodies) %}
    {%- set expressions = [] -%}
    {%- for body in bodies -%}
        {%- set expression = adapter.dispatch('pendo_body', 'dbt_pendo')(body.id_key, body.fields) -%}
        {%- if expression is none %}{{ return([]) }}{% endif -%}
        {%- do expressions.append(expression) -%}
    {%- endfor -%}
    {{ return(expressions) }}
{% endmacro %}


{# A record's body as JSON text, null where it is out of the ordinary; none when it cannot be written at all. #}
{% macro default__pendo_body(id_key, fields) %}
    {{ return(none) }}
{% endmacro %}

{% macro duckdb__pendo_body(id_key, fields) %}
    {%- set texts = [dbt_pendo.pendo_literal('{' ~ id_key ~ ':'), 'to_json(record_key)'] -%}
    {%- set conditions = ["change <> 'removed'"] -%}
    {%- for field in fields -%}
        {%- set value = dbt_pendo.duckdb__pendo_json(dbt_pendo.pendo_name(field.column), field.dtype, field.type) -%}
        {%- if value is none %}{{ return(none) }}{% endif -%}
        {%- set before = ',"values":{' if loop.first else ',' -%}
        {%- do texts.append(dbt_pendo.pendo_literal(before ~ field.key ~ ':')) -%}
        {%- do texts.append("coalesce(" ~ value.text ~ ", 'null')") -%}
        {%- if value.ordinary %}
            {%- do conditions.append('coalesce(' ~ value.ordinary ~ ', ' ~ dbt_pendo.pendo_name(field.column) ~ ' is null)') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do texts.append(dbt_pendo.pendo_literal('}}')) -%}
    {%- set json = 'concat(' ~ texts | join(', ') ~ ')' -%}
    {#- DuckDB writes the hex digits of a control character in upper case. #}
    {%- do conditions.append('not contains(' ~ json ~ ", '\\u00')") -%}
    {{ return('case when ' ~ conditions | join('\n        and ') ~ '\n        then ' ~ json ~ ' end') }}
{% endmacro %}


{#
  A column as JSON: {text, ordinary}, the condition under which the text is the very one that Python and orjson write
  (none when always). None for a pair of types of which that is not known.
#}
{% macro duckdb__pendo_json(column, dtype, type) %}
    {%- set kind = dtype | lower -%}
    {%- set text = 'cast(' ~ column ~ ' as varchar)' -%}
    {%- if (kind.startswith('character varying') or kind == 'varchar') and type in ('string', none) -%}
        {{ return({'text': 'to_json(' ~ column ~ ')'}) }}
    {%- elif kind == 'boolean' and type in ('boolean', none) -%}
        {{ return({'text': text}) }}
    {%- elif kind in ('tinyint', 'smallint', 'integer', 'bigint', 'utinyint', 'usmallint', 'uinteger') -%}
        {%- if type in ('integer', none) -%}
            {{ return({'text': text}) }}
        {%- elif type == 'float' -%}
            {{ return({'text': text ~ " || '.0'", 'ordinary': column ~ ' > -1e15 and ' ~ column ~ ' < 1e15'}) }}
        {%- endif -%}
    {%- elif kind == 'double' and type in ('float', none) -%}
        {{ return({
            'text': text,
            'ordinary': column ~ ' = 0 or (abs(' ~ column ~ ') >= 1e-4 and abs(' ~ column ~ ') < 1e15)'
        }) }}
    {%- elif kind.startswith('decimal(') -%}
        {%- set places = kind.split(',')[1].rstrip(')') | int -%}
        {%- if type == 'float' or (type is none and places > 0) -%}
            {#- Of 15 digits, places among them, a double keeps each. #}
            {%- set number = 'cast(' ~ column ~ ' as double)' -%}
            {{ return({
                'text': 'cast(' ~ number ~ ' as varchar)',
                'ordinary': number ~ ' = 0 or (abs(' ~ number ~ ') >= 1e-4 and abs(' ~ number ~ ') < 1e' ~ (15 - places) ~ ')'
            }) }}
        {%- endif -%}
    {%- elif kind in ('timestamp', 'date') and type in ('time', none) -%}
        {%- set clock = '%H:%M:%S.%g' if kind == 'timestamp' else '00:00:00.000' -%}
        {{ return({
            'text': "strftime(" ~ column ~ ", '\"%Y-%m-%dT" ~ clock ~ "+00:00\"')",
            'ordinary': column ~ " >= date '1000-01-01' and " ~ column ~ " < date '9999-12-31'"
        }) }}
    {%- endif -%}
    {{ return(none) }}
{% endmacro %}
