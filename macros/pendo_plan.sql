{#
  The select behind a plan: every row of the model that a sync has to deliver, compared with the ledger.

  One scan of the model, one of the ledger, no global sort: every window is partitioned by key or by bucket,
  so a distributed warehouse spreads the work. Columns of the result: bucket, seq, change (added, changed,
  removed, invalid, unchanged), record_key, row_hash, detail (why a row is invalid), invalid_hash, then the
  mapped columns under `alias`.

  Unchanged rows are counted, not returned: they sort last in their bucket, of each bucket only the last is
  kept, and its seq is the number of rows in the bucket.

  Arguments:
    model          the model's relation, rendered
    ledger         the ledger's relation, rendered; none when the sync has never run
    key            the key column: {name, dtype}
    columns        the mapped columns: [{name, dtype, alias}]
    fingerprint    hex digits that change with the mapping
    anonymous      true when the key is a visitor id, so that anonymous ids are invalid
    deliver_once   true for events: what was delivered is never sent again, changed or not
    removals       true when records that left the model have to be removed in Pendo
    full_refresh   true to send everything again
#}
{% macro pendo_plan(model, ledger, key, columns, fingerprint, anonymous, deliver_once, removals, full_refresh) %}
with model as (
    select
        1 as present,
        {{ dbt_pendo.pendo_text(adapter.quote(key.name), key.dtype) }} as record_key,
        {{ dbt_pendo.pendo_row_hash(fingerprint, columns) }} as row_hash
        {%- for column in columns %},
        {{ adapter.quote(column.name) }} as {{ adapter.quote(column.alias) }}
        {%- endfor %}
    from {{ model }}
),

keyed as (
    select
        model.*,
        count(*) over (partition by record_key) as copies,
        {#- Copies of a key share one hash, so that the ledger can tell whether it has named them already. #}
        min(row_hash) over (partition by record_key) as shared_hash
    from model
),

known as (
    {{ dbt_pendo.pendo_known(ledger) }}
),

judged as (
    select
        {% if removals -%}
        coalesce(keyed.record_key, known.record_key) as record_key,
        {%- else -%}
        keyed.record_key as record_key,
        {%- endif %}
        case when keyed.copies > 1 then keyed.shared_hash else keyed.row_hash end as row_hash,
        case
            when keyed.present is null then null
            when keyed.record_key is null then 'the key is null'
            when trim(keyed.record_key) = '' then 'the key is empty'
            when keyed.copies > 1
                then cast(keyed.copies as {{ dbt.type_string() }}) || ' rows have this key'
            {%- if anonymous %}
            when substr(keyed.record_key, 1, 9) = '_PENDO_T_' or keyed.record_key = 'VISITOR-UNIQUE-ID'
                then 'an anonymous visitor id'
            {%- endif %}
        end as detail,
        keyed.present,
        known.delivered_hash,
        known.settled_at,
        known.failed_at,
        known.invalid_hash
        {%- for column in columns %},
        keyed.{{ adapter.quote(column.alias) }}
        {%- endfor %}
    from keyed
    {{ 'full outer' if removals else 'left' }} join known on keyed.record_key = known.record_key
    {%- if removals %}
    where keyed.present is not null or known.delivered_hash is not null
    {%- endif %}
),

compared as (
    select
        judged.*,
        {{ dbt_pendo.pendo_bucket('record_key') }} as bucket,
        case
            when present is null then 'removed'
            when detail is not null then 'invalid'
            when delivered_hash is null then 'added'
            {%- if not full_refresh %}
            {%- if deliver_once %}
            when delivered_hash is not null then 'unchanged'
            {%- else %}
            when delivered_hash = row_hash and (failed_at is null or failed_at < settled_at) then 'unchanged'
            {%- endif %}
            {%- endif %}
            else 'changed'
        end as change
    from judged
),

numbered as (
    select
        compared.*,
        {#- Not `change, record_key` alone: rows of one key (invalid ones) would come in any order. #}
        row_number() over (partition by bucket order by change, record_key, row_hash) as seq,
        count(*) over (partition by bucket) as rows_in_bucket
    from compared
)

select
    bucket,
    seq,
    change,
    record_key,
    row_hash,
    detail,
    invalid_hash
    {%- for column in columns %},
    {{ adapter.quote(column.alias) }}
    {%- endfor %}
from numbered
where change <> 'unchanged' or seq = rows_in_bucket
{% endmacro %}
