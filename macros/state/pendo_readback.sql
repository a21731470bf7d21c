{# What Pendo holds, read back: of each record its key, and the mapped fields as one text (records/held.py). #}
{% macro pendo_create_readback(readback) %}
create table {{ readback }} (
    record_key {{ dbt_pendo.pendo_text_type() }},
    held {{ dbt_pendo.pendo_text_type() }}
){{ dbt_pendo.pendo_storage() }}
{% endmacro %}


{# Adds rows of [record_key, held]. #}
{% macro pendo_add_readback(readback, rows) %}
{%- set quote_text = adapter.dispatch('pendo_quote_text', 'dbt_pendo') %}
insert into {{ readback }} (record_key, held) values
{%- for row in rows %}
    ({{ quote_text(row[0]) }}, {{ quote_text(row[1]) }}){{ ',' if not loop.last }}
{%- endfor %}
{% endmacro %}


{#
  The records of the model that Pendo does not hold, or not for sure as it should: change is `missing` or `drifted`.

  A sieve: what is equal as text is equal; the rest is judged by the client, who can do every conversion. Columns of the
  result: bucket, change, record_key, held, then the mapped columns under `alias`.

  Arguments:
    drift      the relation to create
    model      the model's relation, rendered
    readback   what Pendo holds, rendered
    key        the key column, or the two of `Parent::Child`: [{name, dtype}]
    anonymous  true when the key is a visitor id, so that anonymous ids are left out
    columns    the mapped columns: [{name, dtype, alias}]
    fields     the fields in the order of `held`: [{alias, dtype, form, constant}]; the form is none where SQL cannot
               say what Pendo will hold
#}
{% macro pendo_create_drift(drift, model, readback, key, anonymous, columns, fields) %}
{%- set texts = [] -%}
{%- for field in fields -%}
    {%- do texts.append(dbt_pendo.pendo_held(field)) -%}
{%- endfor -%}
create table {{ drift }}{{ dbt_pendo.pendo_storage() }} as
with model as (
    {{ dbt_pendo.pendo_sound_rows(model, key, anonymous, columns) }}
)

select
    {{ dbt_pendo.pendo_bucket('model.record_key') }} as bucket,
    case when readback.record_key is null then 'missing' else 'drifted' end as change,
    model.record_key,
    readback.held
    {%- for column in columns %},
    model.{{ dbt_pendo.pendo_name(column.alias) }}
    {%- endfor %}
from model
left join {{ readback }} readback on model.record_key = {{ dbt_pendo.pendo_exact('readback.record_key') }}
where readback.record_key is null
    {%- if none in texts %}
    or 1 = 1
    {%- else %}
    or {{ dbt_pendo.default__pendo_joined('', texts) }} <> {{ dbt_pendo.pendo_exact('readback.held') }}
    {%- endif %}
{% endmacro %}


{# The rows of a model that are the only one with their key, and could be sent. #}
{% macro pendo_sound_rows(model, key, anonymous, columns) %}
    select *
    from (
        select
            keyed.*,
            count(*) over (partition by record_key) as copies
        from (
            select
                {{ dbt_pendo.pendo_key(key) }} as record_key
                {%- for column in columns %},
                {{ dbt_pendo.pendo_name(column.name) }} as {{ dbt_pendo.pendo_name(column.alias) }}
                {%- endfor %}
            from {{ model }}
        ) keyed
    ) counted
    where copies = 1
        and record_key is not null
        and trim(record_key) <> ''
        {%- if anonymous %}
        and substr(record_key, 1, 9) <> '_PENDO_T_'
        and record_key <> 'VISITOR-UNIQUE-ID'
        {%- endif %}
{% endmacro %}


{# A mapped column as the text of what Pendo will hold; none where that cannot be said for sure. #}
{% macro pendo_held(field) -%}
    {%- if field.form == 'constant' -%}
        {{ return(dbt_pendo.pendo_literal(field.constant)) }}
    {%- elif field.form is none -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set column = 'model.' ~ dbt_pendo.pendo_name(field.alias) -%}
    {%- if field.form == 'boolean' -%}
        {{ return("case when " ~ column ~ " then 'true' when not " ~ column ~ " then 'false' end") }}
    {%- elif field.form in ('integer', 'decimal') -%}
        {#- A number too large for such a decimal, or for a double, would fail the statement; a double rounds from 2^53 on. -#}
        {%- set most = '1e18' if field.form == 'integer' else '9007199254740992' -%}
        {%- set small = column ~ ' > -' ~ most ~ ' and ' ~ column ~ ' < ' ~ most -%}
        {%- set number = column -%}
        {%- if field.form == 'decimal' -%}
            {#- By way of a double, for that is what Pendo is sent; and only what nine places tell. -#}
            {%- set number = 'cast(' ~ column ~ ' as ' ~ dbt_pendo.pendo_double_type() ~ ')' -%}
            {%- set exact = 'cast(cast(' ~ number ~ ' as decimal(38, 9)) as ' ~ dbt_pendo.pendo_double_type() ~ ') = ' ~ number -%}
        {%- endif -%}
        {%- set text = 'cast(cast(' ~ number ~ ' as decimal(38, 9)) as ' ~ dbt.type_string() ~ ')' -%}
        {%- if exact -%}
            {%- set text = 'case when ' ~ exact ~ ' then ' ~ text ~ " else '?' end" -%}
        {%- endif -%}
        {{ return('case when ' ~ column ~ ' is null then null when ' ~ small ~ ' then ' ~ text ~ " else '?' end") }}
    {%- elif field.form == 'time' -%}
        {{ return(adapter.dispatch('pendo_epoch_ms', 'dbt_pendo')(column, field.dtype)) }}
    {%- else -%}
        {{ return(dbt_pendo.pendo_text(column, field.dtype) | trim) }}
    {%- endif -%}
{%- endmacro %}


{# A timestamp or date as the text of its epoch milliseconds, one without a zone being UTC; none where that is not sure. #}
{% macro default__pendo_epoch_ms(column, dtype) -%}
    {{ return(none) }}
{%- endmacro %}

{% macro duckdb__pendo_epoch_ms(column, dtype) -%}
    {%- if dtype | lower == 'date' -%}
        {#- Dates go further than timestamps. -#}
        {{ return('case when ' ~ column ~ " < date '10000-01-01' and " ~ column ~ " >= date '0001-01-01' then "
            ~ 'cast(epoch_ms(cast(' ~ column ~ ' as timestamp)) as varchar) when ' ~ column ~ " is not null then '?' end") }}
    {%- endif -%}
    {{ return('cast(epoch_ms(' ~ column ~ ') as varchar)') }}
{%- endmacro %}

{% macro postgres__pendo_epoch_ms(column, dtype) -%}
    {#- Infinity is no number of milliseconds. -#}
    {{ return('case when ' ~ column ~ ' is null then null when isfinite(' ~ column ~ ') then cast(cast(floor(extract(epoch from '
        ~ column ~ ") * 1000) as bigint) as text) else '?' end") }}
{%- endmacro %}

{# Redshift would inherit PostgreSQL's; its epoch has whole seconds. #}
{% macro redshift__pendo_epoch_ms(column, dtype) -%}
    {{ return(none) }}
{%- endmacro %}

{% macro snowflake__pendo_epoch_ms(column, dtype) -%}
    {{ return('cast(date_part(epoch_millisecond, ' ~ column ~ ') as varchar)') }}
{%- endmacro %}

{% macro bigquery__pendo_epoch_ms(column, dtype) -%}
    {{ return('cast(unix_millis(timestamp(' ~ column ~ ')) as string)') }}
{%- endmacro %}


{# Records by bucket and change. #}
{% macro pendo_count_drift(drift) %}
select bucket, change, count(*) as row_count
from {{ drift }}
group by bucket, change
order by bucket, change
{% endmacro %}


{# The drifted records of some buckets: bucket, record_key, held, and the mapped columns. #}
{% macro pendo_read_drift(drift, columns, span, change, row_limit=none) %}
select
    bucket,
    record_key,
    held
    {%- for column in columns %},
    {{ dbt_pendo.pendo_wanted(column) }}
    {%- endfor %}
from {{ drift }} drift
where change = '{{ change }}'
    and bucket >= '{{ span.first }}' and bucket <= '{{ span.last }}'
order by bucket, record_key
{%- if row_limit is not none %}
limit {{ row_limit }}
{%- endif %}
{% endmacro %}


{# How many rows of a model could be in Pendo. #}
{% macro pendo_count_sound_rows(model, key, anonymous) %}
select count(*) as row_count
from (
    {{ dbt_pendo.pendo_sound_rows(model, key, anonymous, []) }}
) sound
{% endmacro %}


{# How many records Pendo holds that the model has not, and the first of them. #}
{% macro pendo_only_in_pendo(model, readback, key) %}
select count(*) as row_count, min(readback.record_key) as example_key
from {{ readback }} readback
left join (
    select distinct {{ dbt_pendo.pendo_key(key) }} as record_key
    from {{ model }}
) model on {{ dbt_pendo.pendo_exact('readback.record_key') }} = model.record_key
where model.record_key is null
{% endmacro %}


{# The keys of what has drifted. Who was told apart as equal after all has a second row, of change `equal`. #}
{% macro pendo_drifted_keys(drift, changes) %}
    select record_key, min(change) as change
    from (
        select {{ dbt_pendo.pendo_exact('record_key') }} as record_key, change
        from {{ drift }} drift
        where record_key is not null
    ) judged
    group by record_key
    having count(*) = 1 and min(change) in ({% for change in changes %}'{{ change }}'{{ ', ' if not loop.last }}{% endfor %})
{% endmacro %}


{# Notes records as equal after all. #}
{% macro pendo_add_equal(drift, keys) %}
{%- set quote_text = adapter.dispatch('pendo_quote_text', 'dbt_pendo') %}
insert into {{ drift }} (record_key, change) values
{%- for key in keys %}
    ({{ quote_text(key) }}, 'equal'){{ ',' if not loop.last }}
{%- endfor %}
{% endmacro %}


{# Those rows of a model that have drifted, as a relation to plan with. #}
{% macro pendo_drifted_rows(model, key, drift, changes) -%}
(
    select *
    from {{ model }}
    where {{ dbt_pendo.pendo_key(key) }} in (
        select record_key from (
            {{- dbt_pendo.pendo_drifted_keys(drift, changes) }}
        ) drifted
    )
)
{%- endmacro %}


{#
  Notes the rows of a change set as delivered without sending them. With `drift`, what Pendo was seen to hold: a record
  that drifted is known with another hash, so that it counts as changed, and one that is missing is not known.
#}
{% macro pendo_adopt(ledger, changes, run_id, destination, commit_number, drift=none) %}
insert into {{ ledger }} (
    record_key, row_hash, status, detail, attempts, run_id, logged_at, destination, commit_number
)
select
    changes.record_key,
    {{ "case when drift.change is null then changes.row_hash else 'drifted' end" if drift else 'changes.row_hash' }},
    'delivered',
    'adopted',
    cast(null as {{ dbt.type_int() }}),
    {{ dbt_pendo.pendo_literal(run_id) }},
    {{ dbt_pendo.pendo_now() }},
    {{ dbt_pendo.pendo_literal(destination) }},
    {{ commit_number }}
from {{ changes }} changes
{%- if drift %}
left join (
    {{- dbt_pendo.pendo_drifted_keys(drift, ['drifted', 'missing']) }}
) drift on {{ dbt_pendo.pendo_exact('changes.record_key') }} = drift.record_key
{%- endif %}
where changes.change in ('added', 'changed')
    {%- if drift %}
    and coalesce(drift.change, 'drifted') = 'drifted'
    {%- endif %}
{% endmacro %}
