{#
  The select behind a plan: every row of the model that a sync has to deliver, compared with the ledger.

  No global sort: every window is partitioned by key or by bucket, so a distributed warehouse spreads the work. Columns
  of the result: bucket, seq, change (added, changed, removed, invalid, held), record_key, row_hash, detail (why a row is
  invalid), invalid_hash, attempts (failed ones so far, with the row unchanged), run_id, then the mapped columns under
  `alias`.

  Unchanged rows are left out before the others are numbered. One row with the change `total` has the number of the
  model's rows as its seq: those that are nothing else are unchanged. That row takes a second scan of the model. A view
  is scanned once: where its rows cannot be kept, the unchanged ones are numbered for themselves in each bucket, and the
  last of them is returned.

  Arguments:
    model          the model's relation, rendered
    is_view        true if the model has to be scanned once
    has_rowid      true if the model's rows have a `rowid` in DuckDB
    ledger         the ledger's relation, rendered; none if the sync has never run
    destination    the destination of the rows; entries of other destinations are ignored
    key            the key column, or the two of `Parent::Child`: [{name, dtype}]
    columns        the mapped columns: [{name, dtype, alias}]
    fingerprint    hex digits that change with the mapping
    anonymous      true if the key is a visitor id, so that anonymous ids are invalid
    members        true for a segment: a set, which lists a member once
    deliver_once   true for events: a delivered row is never sent again, even if it changed
    removals       true to include records that left the model
    full_refresh   true to send everything again
    run_id         the run that plans
    max_attempts   hold a row after this many failures until it changes; none to hold no row
    missing_retry  seconds to hold a row whose id Pendo does not know
    consents       the column of each of Pendo's consents [{name, alias}], none where it is not mapped; empty without any.
                   In the result it is null where the consent is as it was delivered last: only changes are sent
#}
{% macro pendo_plan(
    model, is_view, has_rowid, ledger, destination, key, columns, fingerprint, anonymous, members, deliver_once, removals, full_refresh,
    run_id, max_attempts, missing_retry, consents=[]
) %}
{#-
  Every row's hash as the ledger stores it. A row that left the model has no hash; the copies of a duplicate key share
  one, so that the ledger can tell whether it has logged them already. It never logs a row without a key.
#}
{%- set known_row_hash -%}
case
            when keyed.present is null then 'removed'
            when keyed.copies > 1 and keyed.record_key is not null then 'duplicate'
            else keyed.row_hash
        end
{%- endset -%}
{%- set consent_aliases = [] -%}
{%- for column in consents -%}
    {%- do consent_aliases.append(column.alias if column else none) -%}
{%- endfor -%}
{#- From an empty ledger nothing is removed. -#}
{%- set removals = removals and ledger is not none -%}
{%- set place = dbt_pendo.pendo_place(has_rowid) -%}
{%- set source = dbt_pendo.pendo_apart(model, key, columns, consents) -%}
{%- set rows %}
    select{{ ' distinct' if members }}
        {{ dbt_pendo.pendo_nullable('1') }} as present,
        {%- if place and has_rowid %}
        {{ place }} as place,
        {%- endif %}
        {{ dbt_pendo.pendo_nullable(dbt_pendo.pendo_key(source.key) | trim) }} as record_key,
        {%- set row_hash %}
        {{- dbt_pendo.pendo_row_hash(fingerprint, source.columns) }}
        {%- if consents %} || {{ dbt_pendo.pendo_consent_letters(source.consents) }}{% endif %}
        {%- endset %}
        {{ dbt_pendo.pendo_nullable(row_hash | trim) }} as row_hash
        {%- for column in source.columns %},
        {{ dbt_pendo.pendo_nullable(dbt_pendo.pendo_name(column.name), column.dtype) }} as {{ dbt_pendo.pendo_name(column.alias) }}
        {%- endfor %}
    from {{ source.model }}
{%- endset -%}
{%- set has_unchanged = ledger and not full_refresh -%}
{%- set kept = dbt_pendo.pendo_kept() if is_view else none -%}
{%- set is_counted_here = has_unchanged and is_view and kept is none -%}
{%- set rows_again = 'select * from model' if is_view else rows -%}
{#- Only a set has fewer rows than the model. #}
{%- set counted = rows_again if is_view or members else 'select 1 as present from ' ~ model -%}
{%- set failures = dbt_pendo.pendo_failures() -%}
{%- set aliases = [] -%}
{%- set nulls = {} -%}
{%- for column in columns -%}
    {%- do aliases.append(dbt_pendo.pendo_name(column.alias)) -%}
    {%- do nulls.update({aliases[-1]: dbt_pendo.pendo_null(column.dtype)}) -%}
{%- endfor -%}
with model as {{ kept or '' }}(
    {%- if place and not has_rowid %}
    select {{ place }} as place, placed.*
    from ({{ rows }}
    ) placed
    {%- else %}{{ rows }}
    {%- endif %}
),

{{ dbt_pendo.pendo_keyed(rows_again) }}

{{ dbt_pendo.pendo_known(ledger, destination, consents) }}

judged as (
    select
        {% if place -%}
        {{ 'coalesce(keyed.place, known.place)' if removals else 'keyed.place' }} as place,
        {% endif -%}
        {% if removals -%}
        coalesce(keyed.record_key, known.record_key) as record_key,
        {%- else -%}
        keyed.record_key as record_key,
        {%- endif %}
        {{ known_row_hash }} as row_hash,
        case
            when keyed.present is null then null
            when keyed.record_key is null then 'the key is null'
            when trim(keyed.record_key) = '' then 'the key is empty'
            when keyed.copies > 1
                then cast(keyed.copies as {{ dbt_pendo.pendo_type('string') }}) || ' rows have this key'
            {%- if anonymous %}
            when {{ dbt_pendo.pendo_is_anonymous('keyed.record_key') }}
                then 'an anonymous visitor id'
            {%- endif %}
        end as detail,
        keyed.present,
        known.delivered_hash,
        known.settled_number,
        {{ failures }}.failed_number,
        {{ failures }}.failed_at,
        {#- A failure counts while the row is unchanged and nothing was settled since. #}
        case
            when {{ failures }}.failed_hash = {{ known_row_hash }}
                and (known.settled_number is null or known.settled_number < {{ failures }}.failed_number)
                then {{ failures }}.attempts
            else 0
        end as attempts,
        {{ failures }}.failed_status,
        {{ failures }}.invalid_hash
        {%- for column in columns %},
        {%- set name = dbt_pendo.pendo_name(column.alias) %}
        {%- set at = consent_aliases.index(column.alias) if column.alias in consent_aliases else none %}
        {%- if at is none or full_refresh %}
        keyed.{{ name }}
        {%- else %}
        case
            {#- A failed attempt may have sent another one since. #}
            when ({{ failures }}.failed_number is null or {{ failures }}.failed_number < known.settled_number)
                and {{ dbt_pendo.pendo_consent_letter('known.delivered_hash', at) }}
                = {{ dbt_pendo.pendo_consent_letter('keyed.row_hash', at) }} then null
            else keyed.{{ name }}
        end as {{ name }}
        {%- endif %}
        {%- endfor %}
    from keyed
    {{ 'full outer' if removals else 'left' }} join known on keyed.{{ dbt_pendo.pendo_meeting_key() }} = known.record_key
    {%- if failures != 'known' %}
    left join {{ failures }} on coalesce(keyed.record_key, known.record_key) = {{ failures }}.record_key
    {%- endif %}
    {%- if removals %}
    where keyed.present is not null or known.delivered_hash is not null
    {%- endif %}
),

compared as (
    select
        judged.*,
        case
            when detail is not null then 'invalid'
            {%- if not full_refresh %}
            {%- if deliver_once %}
            when delivered_hash is not null then 'unchanged'
            {%- else %}
            when delivered_hash = {{ 'row_hash' if consents else dbt_pendo.pendo_compared('row_hash') }}
                and (failed_number is null or failed_number < settled_number) then 'unchanged'
            {%- endif %}
            {%- if max_attempts is not none %}
            when attempts >= {{ max_attempts }} then 'held'
            when attempts > 0 and failed_status = 'missing'
                and failed_at > {{ dbt_pendo.pendo_seconds_ago(missing_retry) }}
                {#- An attempt in the future was logged while the clock was wrong. #}
                and failed_at <= {{ dbt_pendo.pendo_now() }}
                then 'held'
            {%- endif %}
            {%- endif %}
            when present is null then 'removed'
            when delivered_hash is null then 'added'
            else 'changed'
        end as change
    from judged
),

{#- The unchanged rows of a view are sorted without their values. #}
pending as (
    select
        change,
        record_key
        {%- for name in (['place'] if place else []) + ['row_hash', 'detail', 'invalid_hash', 'attempts'] + aliases %},
        {%- set otherwise = ' else ' ~ nulls[name] if nulls.get(name, 'null') != 'null' else '' %}
        {{ 'case when change <> ' ~ "'unchanged' then " ~ name ~ otherwise ~ ' end as ' ~ name if is_counted_here else name }}
        {%- endfor %}
    from compared
    {%- if not is_counted_here %}
    where change <> 'unchanged'
    {%- endif %}
),

numbered as (
    {{- dbt_pendo.default__pendo_numbered(true) if is_counted_here else dbt_pendo.pendo_numbered() }}
)

select
    bucket,
    seq,
    change,
    record_key,
    row_hash,
    detail,
    invalid_hash,
    attempts,
    {{ dbt_pendo.pendo_nullable(dbt_pendo.pendo_literal(run_id) | trim) }} as run_id
    {%- for alias in aliases %},
    {{ alias }}
    {%- endfor %}
from numbered
{%- if is_counted_here %}
where change <> 'unchanged' or next_change is null
{%- elif has_unchanged %}
union all
select
    'total',
    count(*),
    'total',
    null,
    null,
    null,
    null,
    null,
    {{ dbt_pendo.pendo_literal(run_id) }}
    {%- for alias in aliases %},
    {{ nulls[alias] }}
    {%- endfor %}
from ({{ counted }}
) counted
{%- endif %}
{% endmacro %}


{#
  The model and its columns as a select may use them that has columns of ours: {model, key, columns, consents}.
#}
{% macro pendo_apart(model, key, columns, consents) %}
    {{ return(adapter.dispatch('pendo_apart', 'dbt_pendo')(model, key, columns, consents)) }}
{% endmacro %}

{% macro default__pendo_apart(model, key, columns, consents) %}
    {{ return({'model': model, 'key': key, 'columns': columns, 'consents': consents}) }}
{% endmacro %}

{#
  In ClickHouse a name means the column of that name which the select makes, rather than the model's. So the model's columns
  get other names first.
#}
{% macro clickhouse__pendo_apart(model, key, columns, consents) %}
    {%- set names, renamed = {}, {} -%}
    {%- for part, found in [('key', key), ('columns', columns), ('consents', consents)] -%}
        {%- do renamed.update({part: []}) -%}
        {%- for column in found -%}
            {%- if column and column.name not in names -%}
                {%- do names.update({column.name: 'pendo_column_' ~ names | length}) -%}
            {%- endif -%}
            {%- do renamed[part].append({
                'name': names[column.name], 'dtype': column.dtype, 'alias': column.alias
            } if column else none) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set selected = [] -%}
    {%- for name, apart in names.items() -%}
        {%- do selected.append(dbt_pendo.pendo_name(name) ~ ' as ' ~ dbt_pendo.pendo_name(apart)) -%}
    {%- endfor -%}
    {%- do renamed.update({'model': '(select ' ~ selected | join(', ') ~ ' from ' ~ model ~ ') apart'}) -%}
    {{ return(renamed) }}
{% endmacro %}


{#
  The word before a common table expression that runs once, though it is used twice, and whose rows go to disk if they are
  many; none where there is nothing like it.
#}
{% macro pendo_kept() %}
    {{ return(adapter.dispatch('pendo_kept', 'dbt_pendo')()) }}
{% endmacro %}

{% macro default__pendo_kept() %}
    {{ return(none) }}
{% endmacro %}

{% macro duckdb__pendo_kept() %}
    {{ return('materialized ') }}
{% endmacro %}

{# PostgreSQL does so without a word, which it has had since version 12. #}
{% macro postgres__pendo_kept() %}
    {{ return('') }}
{% endmacro %}

{# Redshift would inherit PostgreSQL's. #}
{% macro redshift__pendo_kept() %}
    {{ return(none) }}
{% endmacro %}


{# `keyed`: the rows of the model, each with the number of rows of its key as `copies`; `rows` selects them once more. #}
{% macro pendo_keyed(rows) %}
    {{- adapter.dispatch('pendo_keyed', 'dbt_pendo')(rows) -}}
{% endmacro %}

{# Windowed by the key only: DuckDB turns this into a join, and would otherwise compute every hash twice. #}
{% macro default__pendo_keyed(rows) -%}
{%- set meeting_key = dbt_pendo.pendo_meeting_key() -%}
keyed as (
    select
        model.*,
        count(*) over (partition by {{ meeting_key }}) as copies
    from {% if meeting_key == 'record_key' %}model{% else -%}
    (
        select model.*, {{ dbt_pendo.pendo_exact("coalesce(record_key, ' ' || row_hash)") }} as {{ meeting_key }}
        from model
    ) model
    {%- endif %}
),
{%- endmacro %}

{# Only keys are held in memory, before the ledger is, and of the duplicates alone for as long as the model is read. #}
{% macro duckdb__pendo_keyed(rows) -%}
    {%- if adapter.is_motherduck() %}{{ return(dbt_pendo.default__pendo_keyed(rows)) }}{% endif -%}
duplicates as materialized (
    select record_key, count(*) as copies
    from ({{ rows }}
    ) twins
    group by record_key
    having count(*) > 1
),

keyed as (
    select
        model.*,
        coalesce(duplicates.copies, 1) as copies
    from model
    left join duplicates on model.record_key = duplicates.record_key
),
{%- endmacro %}


{#
  The column of `keyed` by which rows meet others of their key. Many workers share them out by it, and all rows without a
  key would go to one: such a row meets nobody, wherever it goes, so it has its hash instead.
#}
{% macro pendo_meeting_key() %}
    {{ return(adapter.dispatch('pendo_meeting_key', 'dbt_pendo')()) }}
{% endmacro %}

{% macro default__pendo_meeting_key() %}
    {{ return('meeting_key') }}
{% endmacro %}

{# One machine does it all, and would only have more to sort. #}
{% macro duckdb__pendo_meeting_key() %}
    {{ return('record_key') }}
{% endmacro %}

{% macro postgres__pendo_meeting_key() %}
    {{ return('record_key') }}
{% endmacro %}

{# Its windows are made on one machine. #}
{% macro clickhouse__pendo_meeting_key() %}
    {{ return('record_key') }}
{% endmacro %}

{# Redshift would inherit PostgreSQL's. #}
{% macro redshift__pendo_meeting_key() %}
    {{ return('meeting_key') }}
{% endmacro %}


{# The pending rows, each with its bucket and seq: first those to send. #}
{% macro pendo_numbered() %}
    {{- adapter.dispatch('pendo_numbered', 'dbt_pendo')() -}}
{% endmacro %}

{# `unchanged` rows, if there are any, are numbered for themselves, and `next_change` is null in the last of a bucket. #}
{% macro default__pendo_numbered(with_unchanged=false) %}
    {#- Without the hash, invalid rows of one key would have a random order. #}
    {%- set in_order -%}
    partition by bucket{{ ", case change when 'unchanged' then 1 else 0 end" if with_unchanged }}
            order by case change when 'held' then 1 else 0 end, change, record_key, row_hash
    {%- endset %}
    select
        bucketed.*,
        row_number() over ({{ in_order }}) as seq
        {%- if with_unchanged %},
        {{ dbt_pendo.pendo_next('change', in_order) }} as next_change
        {%- endif %}
    from (
        select pending.*, {{ dbt_pendo.pendo_bucket('coalesce(record_key, row_hash)') }} as bucket
        from pending
    ) bucketed
{%- endmacro %}

{# The value of the next row in a window, or null in the last. #}
{% macro pendo_next(expression, window) -%}
    {{ return(adapter.dispatch('pendo_next', 'dbt_pendo')(expression, window)) }}
{%- endmacro %}

{% macro default__pendo_next(expression, window) -%}
    {{ return('lead(' ~ expression ~ ') over (' ~ window ~ ')') }}
{%- endmacro %}

{# Older versions of ClickHouse have no `lead`. #}
{% macro clickhouse__pendo_next(expression, window) -%}
    {{ return('leadInFrame(' ~ dbt_pendo.pendo_nullable(expression) ~ ') over (' ~ window
        ~ '\n            rows between unbounded preceding and unbounded following)') }}
{%- endmacro %}


{# A bucket is a part of the model, and the numbers of its rows have gaps, which `pendo_rows` closes for a page at a time. #}
{% macro duckdb__pendo_numbered() %}
    {%- if adapter.is_motherduck() %}{{ return(dbt_pendo.default__pendo_numbered()) }}{% endif %}
    select
        pending.*,
        place as seq,
        case change when 'removed' then '1' else '0' end || lpad(cast(place // 25000 as varchar), 6, '0') as bucket
    from pending
{%- endmacro %}


{#
  What tells the rows of the model apart while it is scanned; none where a window numbers them later. DuckDB has a number
  for each row of a table. Any other number, of a window or a sequence, would keep all of its cores but one from the plan.
#}
{% macro pendo_place(has_rowid) %}
    {{ return(adapter.dispatch('pendo_place', 'dbt_pendo')(has_rowid)) }}
{% endmacro %}

{% macro default__pendo_place(has_rowid) %}
    {{ return(none) }}
{% endmacro %}

{% macro duckdb__pendo_place(has_rowid) %}
    {{ return(none if adapter.is_motherduck() else 'rowid' if has_rowid else 'row_number() over () - 1') }}
{% endmacro %}


{#
  The rows of a change set in a span of buckets, to select from: in each bucket their seq runs from 1, and those to send
  come first.

  Arguments:
    changes   the change set: its relation, or a plan in parentheses
    span      the buckets (see pendo_within); none for all
#}
{% macro pendo_rows(changes, span=none) %}
    {{- adapter.dispatch('pendo_rows', 'dbt_pendo')(changes, span) -}}
{% endmacro %}

{% macro default__pendo_rows(changes, span) -%}
    {{ changes }}
{%- endmacro %}

{% macro duckdb__pendo_rows(changes, span) -%}
    {%- if adapter.is_motherduck() %}{{ return(changes) }}{% endif -%}
(
    select * replace (row_number() over (
        partition by bucket
        order by case change when 'held' then 1 else 0 end, change, seq
    ) as seq)
    from {{ changes }} changes
    {%- if span %}
    where bucket >= '{{ span.first }}' and bucket <= '{{ span.last }}'
    {%- endif %}
)
{%- endmacro %}
