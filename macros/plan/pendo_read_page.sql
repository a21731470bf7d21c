{#
  Rows of a page, in the order of sending: rows that failed before come last, so that they do not make a sync look
  hopeless that can deliver the others.

  Arguments:
    changes     the change set: its relation, or a plan in parentheses
    columns     the mapped columns, in the order wanted: [{alias, dtype, as_text}]
    span        the rows of the page (see pendo_within)
    row_limit   the maximum number of rows; none for all
    kinds       the changes of the rows
#}
{% macro pendo_read_page(changes, columns, span, kinds, row_limit=none) %}
{%- set read = dbt_pendo.pendo_to_read(changes) %}
{{ read.start }}select
    bucket,
    seq,
    change,
    record_key
    {%- for column in columns %},
    {{ dbt_pendo.pendo_wanted(column) }}
    {%- endfor %}
from {{ dbt_pendo.pendo_rows(read.rows, span) if row_limit is none else dbt_pendo.pendo_any_rows(read.rows, kinds, row_limit) }} changes
where change in ('{{ kinds | join("', '") }}')
    and {{ dbt_pendo.pendo_within(span) }}
order by case when attempts > 0 then 1 else 0 end, bucket, seq
{%- if row_limit is not none %}
{{ dbt_pendo.pendo_limit(row_limit) }}
{%- endif %}
{% endmacro %}


{#
  Rows of a plan among which are the first of it, so many of some kinds; DuckDB has found them before it has made all of
  the plan.
#}
{% macro pendo_any_rows(changes, kinds, row_limit) %}
    {{- adapter.dispatch('pendo_any_rows', 'dbt_pendo')(changes, kinds, row_limit) -}}
{% endmacro %}

{% macro default__pendo_any_rows(changes, kinds, row_limit) -%}
    {{ changes }}
{%- endmacro %}

{% macro duckdb__pendo_any_rows(changes, kinds, row_limit) -%}
(
    select *
    from {{ changes }} changes
    where change in ('{{ kinds | join("', '") }}')
    limit {{ row_limit }}
)
{%- endmacro %}


{#
  Whether a row lies in a span of the change set: {first, last, first_seq, last_seq}, from row first_seq of
  bucket `first` to row last_seq of bucket `last`. A seq of none means the whole bucket.
#}
{% macro pendo_within(span) -%}
    bucket >= '{{ span.first }}' and bucket <= '{{ span.last }}'
    {%- if span.first_seq is not none %} and (bucket > '{{ span.first }}' or seq >= {{ span.first_seq }}){% endif %}
    {%- if span.last_seq is not none %} and (bucket < '{{ span.last }}' or seq <= {{ span.last_seq }}){% endif %}
{%- endmacro %}
