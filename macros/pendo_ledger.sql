{#
  The ledger: append-only, what happened to each key. Its column names are a contract with those who query it.
  `attempts` counts how often in a row a missing or rejected row was tried as it is; it is null for others.
#}
{% macro pendo_create_ledger(ledger) %}
create table {{ ledger }} (
    record_key {{ dbt_pendo.pendo_text_type() }},
    row_hash {{ dbt.type_string() }},
    status {{ dbt.type_string() }},
    detail {{ dbt_pendo.pendo_text_type() }},
    attempts {{ dbt.type_int() }},
    run_id {{ dbt.type_string() }},
    logged_at {{ dbt.type_timestamp() }}
){{ dbt_pendo.pendo_storage() }}
{% endmacro %}


{#
  Commits the rows of a span of the change set in one atomic statement.

  Keys and hashes come from the change set, so the client never uploads what it just downloaded: it names only
  the rows whose outcome differs from that of most; `unsent` ones leave no entry. Invalid rows of the span are
  logged with them, unless the ledger says the same already. A change set that another run has written anew
  meanwhile yields nothing.

  Arguments:
    status, detail   the outcome of every row that is not an exception
    exceptions       [{bucket, seq, status, detail}], all within the span
    span             the rows to commit (see pendo_within)
#}
{% macro pendo_commit(ledger, changes, run_id, status, detail, exceptions, span) %}
{%- set outcome = dbt_pendo.pendo_literal(status) -%}
{%- set reason = dbt_pendo.pendo_literal(detail) -%}
{%- if exceptions -%}
    {%- set reason = 'case when exceptions.status is null then ' ~ reason ~ ' else exceptions.detail end' -%}
    {%- set outcome = 'coalesce(exceptions.status, ' ~ outcome ~ ')' -%}
{%- endif -%}
insert into {{ ledger }} (record_key, row_hash, status, detail, attempts, run_id, logged_at)
select
    outcomes.record_key,
    outcomes.row_hash,
    outcomes.status,
    outcomes.detail,
    case when outcomes.status in ('missing', 'rejected') then outcomes.attempts + 1 end,
    {{ dbt_pendo.pendo_literal(run_id) }},
    {{ dbt_pendo.pendo_now() }}
from (
    {#- Distinct, for the copies of a duplicate key are one entry. #}
    select distinct
        pending.record_key,
        pending.row_hash,
        pending.invalid_hash,
        pending.attempts,
        case
            when pending.change = 'invalid' then 'invalid'
            when pending.change = 'removed' and {{ outcome }} = 'delivered' then 'removed'
            else {{ outcome }}
        end as status,
        case
            when pending.change = 'invalid' then pending.detail
            else {{ reason }}
        end as detail
    from (
        select bucket, seq, change, record_key, row_hash, detail, invalid_hash, attempts
        from {{ changes }} changes
        where change not in ('held', 'unchanged')
            and run_id = {{ dbt_pendo.pendo_literal(run_id) }}
            and {{ dbt_pendo.pendo_within(span) }}
    ) pending
    {%- if exceptions %}
    left join (
        {{- dbt_pendo.pendo_exceptions(exceptions) }}
    ) exceptions on pending.bucket = exceptions.bucket and pending.seq = exceptions.seq
    {%- endif %}
) outcomes
where outcomes.record_key is not null
    and outcomes.status <> 'unsent'
    and (outcomes.status <> 'invalid' or coalesce(outcomes.invalid_hash, '') <> outcomes.row_hash)
{% endmacro %}


{# Rows of bucket, seq, status, detail. #}
{% macro pendo_exceptions(exceptions) %}
    {{- adapter.dispatch('pendo_exceptions', 'dbt_pendo')(exceptions) -}}
{% endmacro %}

{% macro default__pendo_exceptions(exceptions) %}
        {%- for row in exceptions %}
        select {{ dbt_pendo.pendo_literal(row.bucket) }} as bucket, {{ row.seq }} as seq,
            {{ dbt_pendo.pendo_literal(row.status) }} as status, {{ dbt_pendo.pendo_literal(row.detail) }} as detail
        {%- if not loop.last %} union all{% endif %}
        {%- endfor %}
{%- endmacro %}

{# Each subquery adds to what BigQuery calls too complex a query; a list of constants does not. #}
{% macro bigquery__pendo_exceptions(exceptions) %}
        select bucket, seq, status, detail
        from unnest([
            {%- for row in exceptions %}
            struct<bucket string, seq int64, status string, detail string>(
                {{- dbt_pendo.pendo_literal(row.bucket) }}, {{ row.seq }}, {{ dbt_pendo.pendo_literal(row.status) }},
                {{- ' ' ~ dbt_pendo.pendo_literal(row.detail) }}){{ ',' if not loop.last }}
            {%- endfor %}
        ])
{%- endmacro %}


{#
  The ledger without its dead rows: what no plan would look at any more.

  Arguments:
    recent    the model's events whose keys have to be known, however old an entry is; none to keep all keys
    key       the key column: [{name, dtype}]
    max_age   seconds for which the key of any other event is known after its entry
#}
{% macro pendo_compact_ledger(compacted, ledger, recent=none, key=none, max_age=none) %}
create table {{ compacted }}{{ dbt_pendo.pendo_storage() }} as
select
    latest.record_key,
    latest.row_hash,
    latest.status,
    latest.detail,
    latest.attempts,
    latest.run_id,
    latest.logged_at
from (
    {{ dbt_pendo.pendo_latest(ledger) }}
) latest
{%- if recent %}
left join (
    select distinct {{ dbt_pendo.pendo_key(key) }} as record_key
    from {{ recent }}
) planned on latest.record_key = planned.record_key
where planned.record_key is not null or latest.logged_at >= {{ dbt_pendo.pendo_seconds_ago(max_age) }}
{%- endif %}
{% endmacro %}
