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
    model, is_view, ledger, destination, key, columns, fingerprint, anonymous, members, deliver_once, removals, full_refresh,
    run_id, max_attempts, missing_retry, consents=[]
) %}
{#-
  Every row's hash as the ledger stores it. A row that left the model has no hash; the copies of a duplicate key share
  one, so that the ledger can tell whether it has logged them already.
#}
{%- set known_row_hash -%}
case when keyed.present is null then 'removed' when keyed.copies > 1 then 'duplicate' else keyed.row_hash end
{%- endset -%}
{%- set consent_aliases = [] -%}
{%- for column in consents -%}
    {%- do consent_aliases.append(column.alias if column else none) -%}
{%- endfor -%}
{%- set rows %}
    select{{ ' distinct' if members }}
        1 as present,
        {{ dbt_pendo.pendo_key(key) }} as record_key,
        {{ dbt_pendo.pendo_row_hash(fingerprint, columns) }}
        {%- if consents %} || {{ dbt_pendo.pendo_consent_letters(consents) }}{% endif %} as row_hash
        {%- for column in columns %},
        {{ dbt_pendo.pendo_name(column.name) }} as {{ dbt_pendo.pendo_name(column.alias) }}
        {%- endfor %}
    from {{ model }}
{%- endset -%}
{%- set has_unchanged = ledger and not full_refresh -%}
{%- set kept = dbt_pendo.pendo_kept() if is_view else none -%}
{%- set is_counted_here = has_unchanged and is_view and kept is none -%}
{%- set rows_again = 'select * from model' if is_view else rows -%}
{%- set failures = dbt_pendo.pendo_failures() -%}
{%- set aliases = [] -%}
{%- for column in columns -%}
    {%- do aliases.append(dbt_pendo.pendo_name(column.alias)) -%}
{%- endfor -%}
with model as {{ kept or '' }}(
    {{- rows }}
),

keyed as (
    {{- dbt_pendo.pendo_keyed(rows_again) }}
),

{{ dbt_pendo.pendo_known(ledger, destination) }}

judged as (
    select
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
                then cast(keyed.copies as {{ dbt.type_string() }}) || ' rows have this key'
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
    {{ 'full outer' if removals else 'left' }} join known on keyed.record_key = known.record_key
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
            when delivered_hash = row_hash and (failed_number is null or failed_number < settled_number) then 'unchanged'
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
        {%- for name in ['row_hash', 'detail', 'invalid_hash', 'attempts'] + aliases %},
        {{ 'case when change <> ' ~ "'unchanged' then " ~ name ~ ' end as ' ~ name if is_counted_here else name }}
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
    {{ dbt_pendo.pendo_literal(run_id) }} as run_id
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
    null
    {%- endfor %}
from ({{ rows_again }}
) counted
{%- endif %}
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


{# The rows of the model, each with the number of rows of its key as `copies`; `rows` selects them once more. #}
{% macro pendo_keyed(rows) %}
    {{- adapter.dispatch('pendo_keyed', 'dbt_pendo')(rows) -}}
{% endmacro %}

{# Windowed by the key only: DuckDB turns this into a join, and would otherwise compute every hash twice. #}
{% macro default__pendo_keyed(rows) %}
    select
        model.*,
        count(*) over (partition by record_key) as copies
    from model
{%- endmacro %}

{# Only keys are held in memory, and of the duplicates alone for as long as the model is read. #}
{% macro duckdb__pendo_keyed(rows) %}
    {%- if adapter.is_motherduck() %}{{ return(dbt_pendo.default__pendo_keyed(rows)) }}{% endif %}
    select
        model.*,
        coalesce(duplicates.copies, 1) as copies
    from model
    left join (
        select record_key, count(*) as copies
        from ({{ rows }}
        ) twins
        group by record_key
        having count(*) > 1
    ) duplicates on model.record_key = duplicates.record_key
{%- endmacro %}


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
        lead(change) over ({{ in_order }}) as next_change
        {%- endif %}
    from (
        select pending.*, {{ dbt_pendo.pendo_bucket('record_key') }} as bucket
        from pending
    ) bucketed
{%- endmacro %}

{#
  DuckDB numbers the rows of each kind in the order in which it finds them, because a window would hold all of them. A
  bucket is a part of one kind: a digit for the kind, in their order, and six for the part. MotherDuck would have to send
  all rows to where the sequences are.
#}
{% macro duckdb__pendo_numbered() %}
    {%- if adapter.is_motherduck() %}{{ return(dbt_pendo.default__pendo_numbered()) }}{% endif %}
    select
        counted.*,
        number % 25000 + 1 as seq,
        case change
            {%- for kind in dbt_pendo.duckdb__pendo_kinds() %}
            when '{{ kind }}' then '{{ loop.index0 }}'
            {%- endfor %}
        end || lpad(cast(number // 25000 as varchar), 6, '0') as bucket
    from (
        select
            pending.*,
            case change
                {%- for kind in dbt_pendo.duckdb__pendo_kinds() %}
                when '{{ kind }}' then nextval('temp.pendo_{{ kind }}')
                {%- endfor %}
            end as number
        from pending
    ) counted
{%- endmacro %}

{# The kinds of pending rows, in their order in a change set. #}
{% macro duckdb__pendo_kinds() %}
    {{ return(['added', 'changed', 'invalid', 'removed', 'held']) }}
{% endmacro %}

{# Statements before a change set is written: they let its numbers begin anew. Empty where a window numbers the rows. #}
{% macro pendo_begin_numbers() %}
    {{- adapter.dispatch('pendo_begin_numbers', 'dbt_pendo')() -}}
{% endmacro %}

{% macro default__pendo_begin_numbers() %}{% endmacro %}

{# A session has the numbers from its start, because a plan may be read without being written. #}
{% macro duckdb__pendo_begin_numbers() %}
    {%- for kind in dbt_pendo.duckdb__pendo_kinds() if not adapter.is_motherduck() %}
create or replace temporary sequence pendo_{{ kind }} minvalue 0 start 0;
    {%- endfor %}
{% endmacro %}
