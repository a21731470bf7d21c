{#
  Counts the events that Pendo would accept but drop or hide: one row of late, future, oversized
  (among those to send), names, left_out (in the model). An unknown count is 0.

  Arguments:
    changes   the change set: its relation, or a plan in parentheses
    model     the model's relation, rendered
    moment    the column with the event's time: {name, alias, dtype}; none if its type is unsuitable
    sizes     the JSON size of the properties: {fixed, columns: [{alias, dtype, around, value}]}
    limits    what Pendo processes and shows: {oldest, future, properties}, in seconds and bytes
    max_age   seconds after which an event is not sent; none to send all
    span      the rows that are sent (see pendo_within)
    ids       the columns with the event's name and its visitor: {event, visitor}, each {name, alias, dtype}; without
              what is the same for all events
#}
{% macro pendo_event_concerns(changes, model, ids, moment, sizes, limits, max_age, span) %}
select
    sent.pendo_late as late,
    sent.pendo_future as future,
    sent.pendo_oversized as oversized,
    held.pendo_names as names,
    held.pendo_left_out as left_out
from (
    select
        {%- if moment %}
        {%- set at = dbt_pendo.pendo_instant(dbt_pendo.pendo_name(moment.alias), moment.dtype) %}
        {#- Some grow older between the plan and this. #}
        {{ '0' if max_age is not none and max_age <= limits.oldest else
            'count(case when ' ~ at ~ ' < ' ~ dbt_pendo.pendo_instant_ago(limits.oldest) ~ ' then 1 end)' }} as pendo_late,
        count(case when {{ at }} > {{ dbt_pendo.pendo_instant_ago(-limits.future) }} then 1 end) as pendo_future,
        {%- else %}
        0 as pendo_late,
        0 as pendo_future,
        {%- endif %}
        count(case when {{ dbt_pendo.pendo_properties_bytes(sizes) }} > {{ limits.properties }} then 1 end)
            as pendo_oversized
    from {{ dbt_pendo.pendo_rows(changes, span) if span.first_seq or span.last_seq else changes }} changes
    where change in ('added', 'changed')
        and {{ dbt_pendo.pendo_within(span) }}
        {#- A sync finds the others to be invalid. #}
        {%- if moment %}
        and {{ dbt_pendo.pendo_name(moment.alias) }} is not null
        {%- endif %}
        {%- for column in ids.values() %}
        and trim({{ dbt_pendo.pendo_text(dbt_pendo.pendo_name(column.alias), column.dtype) | trim }}) <> ''
        {%- endfor %}
        {%- if ids.visitor %}
        {%- set visitor = dbt_pendo.pendo_text(dbt_pendo.pendo_name(ids.visitor.alias), ids.visitor.dtype) | trim %}
        and not ({{ dbt_pendo.pendo_is_anonymous(visitor) }})
        {%- endif %}
) sent
cross join (
    {#- If both are missing, the model need not be read. #}
    {%- if ids.event or max_age is not none %}
    {%- set name = dbt_pendo.pendo_name(ids.event.name) if ids.event %}
    {%- set recent = dbt_pendo.pendo_is_recent(moment, max_age) if max_age is not none %}
    select
        {{ 'count(distinct ' ~ ('case when ' ~ recent ~ ' then ' ~ name ~ ' end' if recent else name) ~ ')'
            if ids.event else '0' }} as pendo_names,
        {{ 'count(case when not (' ~ recent ~ ') then 1 end)' if recent else '0' }} as pendo_left_out
    from {{ model }}
    {%- else %}
    select 0 as pendo_names, 0 as pendo_left_out
    {%- endif %}
) held
{% endmacro %}


{# The names of a model's events, at most so many, from a column {name, dtype}. #}
{% macro pendo_event_names(model, column, row_limit) %}
{%- set name = dbt_pendo.pendo_text(dbt_pendo.pendo_name(column.name), column.dtype) | trim %}
select distinct {{ name }} as event_name
from {{ model }}
where trim({{ name }}) <> ''
order by event_name
limit {{ row_limit }}
{% endmacro %}


{# The approximate JSON size of an event's properties, in bytes; nulls are left out. #}
{% macro pendo_properties_bytes(sizes) -%}
    {{ sizes.fixed }}
    {%- for column in sizes.columns %}
    {%- set name = dbt_pendo.pendo_name(column.alias) %}
    {%- set bytes = dbt_pendo.pendo_bytes(dbt_pendo.pendo_plain_text(name, column.dtype) | trim)
        if column.value is none else column.value %}
            + case when {{ name }} is null then 0 else {{ column.around }} + {{ bytes }} end
    {%- endfor %}
{%- endmacro %}


{# The model without the events that are too old, to select from. #}
{% macro pendo_recent(model, moment, max_age) -%}
(
        select *
        from {{ model }}
        where {{ dbt_pendo.pendo_is_recent(moment, max_age) }}
    ) recent
{%- endmacro %}


{#
  Whether an event is recent enough. True for an event without a time, or of one before the year 1, which cannot be read:
  the sync reports it as invalid.
#}
{% macro pendo_is_recent(moment, max_age) -%}
    {%- set name = dbt_pendo.pendo_name(moment.name) -%}
    {%- set at = dbt_pendo.pendo_instant(name, moment.dtype) -%}
    {%- set first = "cast('0001-01-01 00:00:00' as " ~ dbt_pendo.pendo_type('timestamp') ~ ')' -%}
    {{ name }} is null
        or {{ at }} >= {{ dbt_pendo.pendo_instant_ago(max_age) }}
        or {{ at }} < {{ dbt_pendo.pendo_instant(first, dbt_pendo.pendo_type('timestamp')) }}
{%- endmacro %}
