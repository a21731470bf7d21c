{#
  The ledger: append-only, the history of each key. Its column names are a contract with users who query it.
  `change` is how the row differed when it was sent; it is null where nothing was sent, and in rows of earlier versions.
  `attempts` counts consecutive attempts at a missing or rejected row while it is unchanged; it is null for others.
  `commit_number` increases with each statement that writes into the ledger: rows are ordered by it, because clocks go back.
#}
{% macro pendo_create_ledger(ledger) %}
{{ dbt_pendo.pendo_create_table(ledger, dbt_pendo.pendo_ledger_columns()) }}
{% endmacro %}


{#
  The columns: [(name, type)]; docs/reference/tables.md describes them. A new one needs a value in pendo_carried_entries, in
  pendo_latest, and in each macro that begins with pendo_add_entries.
#}
{% macro pendo_ledger_columns() %}
    {%- set text, word = dbt_pendo.pendo_text_type(), dbt_pendo.pendo_type('string') -%}
    {{ return([
        ('record_key', text), ('row_hash', word), ('change', word), ('status', word), ('detail', text),
        ('attempts', dbt_pendo.pendo_type('int')), ('run_id', word), ('logged_at', dbt_pendo.pendo_type('timestamp')), ('destination', text), ('commit_number', dbt_pendo.pendo_type('bigint'))
    ]) }}
{% endmacro %}


{#
  The destinations of a ledger, and the largest commit number of each. It names each column that an earlier version did
  not have, so it fails on a ledger of that version (see pendo_carried_entries).
#}
{% macro pendo_last_commits(ledger) %}
select destination, coalesce(max(commit_number), 0) as last_commit
from (
    select {{ dbt_pendo.pendo_exact('destination') }} as destination, commit_number, change
    from {{ ledger }} entries
) commits
group by destination
order by last_commit desc
{% endmacro %}


{# What changes with every entry that is added: how many there are, and when the last one was made. #}
{% macro pendo_ledger_version(ledger) %}
select count(*) as entries, max(logged_at) as latest
from {{ ledger }} entries
{% endmacro %}


{#
  The entries of a ledger of an earlier version, with the columns that it lacks, as a subquery. An earlier version
  ordered a ledger by the warehouse's clock, so commit numbers follow that order. A distinct first: so few rows are sorted.

  Arguments:
    lacking       the names of the missing columns
    destination   the destination of all its rows
#}
{% macro pendo_carried_entries(ledger, lacking, destination) -%}
(
    select
        {%- for name, type in dbt_pendo.pendo_ledger_columns() %}
        {%- if name not in lacking %}
        old.{{ name }}
        {%- elif name == 'destination' %}
        {{ dbt_pendo.pendo_literal(destination) }} as destination
        {%- elif name == 'commit_number' %}
        cast(coalesce(numbered.commit_number, 0) as {{ type }}) as commit_number
        {%- else %}
        cast(null as {{ type }}) as {{ name }}
        {%- endif %}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ ledger }} old
    {%- if 'commit_number' in lacking %}
    left join (
        select logged_at, run_id, row_number() over (order by logged_at, run_id) as commit_number
        from (
            select distinct logged_at, run_id
            from {{ ledger }} entries
        ) commits
    ) numbered on old.logged_at = numbered.logged_at and old.run_id = numbered.run_id
    {%- endif %}
)
{%- endmacro %}


{# The names of the columns, separated by commas; `of` is an alias and a dot. #}
{% macro pendo_ledger_names(of='') -%}
    {{ of }}{{ dbt_pendo.pendo_ledger_columns() | map(attribute=0) | join(', ' ~ of) }}
{%- endmacro %}


{# Fills a new ledger with entries: all columns of a relation or subquery. #}
{% macro pendo_carry_on(ledger, entries) %}
{{ dbt_pendo.pendo_add_entries(ledger) }}
select {{ dbt_pendo.pendo_ledger_names() }}
from {{ entries }} entries
{% endmacro %}


{# The start of each statement that commits: record_key, row_hash, change, status, detail, attempts, then pendo_commit_values. #}
{% macro pendo_add_entries(ledger) -%}
insert into {{ ledger }} ({{ dbt_pendo.pendo_ledger_names() }})
{%- endmacro %}

{# The values that all entries of a commit share: run_id, logged_at, destination, commit_number. #}
{% macro pendo_commit_values(run_id, destination, commit_number) -%}
    {{ dbt_pendo.pendo_literal(run_id) }}, {{ dbt_pendo.pendo_now() }}, {{ dbt_pendo.pendo_literal(destination) }}, {{ commit_number }}
{%- endmacro %}


{# The entries of a ledger with another destination, as a subquery. #}
{% macro pendo_other_entries(ledger, destination) -%}
(
    select *
    from {{ ledger }} own
    where {{ dbt_pendo.pendo_exact('destination') }} <> {{ dbt_pendo.pendo_literal(destination) }}
)
{%- endmacro %}


{# About how many rows a compaction keeps: the latest of each key and destination, and the first delivered one. #}
{% macro pendo_count_kept(ledger) %}
select coalesce(sum(case when deliveries > 0 and row_count > 1 then 2 else 1 end), 0) as kept
from (
    select
        {{ dbt_pendo.pendo_exact('record_key') }} as record_key,
        {{ dbt_pendo.pendo_exact('destination') }} as destination,
        count(*) as row_count,
        sum(case when status = 'delivered' then 1 else 0 end) as deliveries
    from {{ ledger }} entries
    group by {{ dbt_pendo.pendo_exact('record_key') }}, {{ dbt_pendo.pendo_exact('destination') }}
) known
{% endmacro %}


{#
  Commits the rows of a span of the change set in one atomic statement.

  Keys and hashes come from the change set, so the client never uploads what it just downloaded. It names only the rows
  whose outcome differs from the most common one; `unsent` rows leave no entry. Invalid rows of the span are logged too,
  unless the ledger has the same entry already. If another run has rewritten the change set since, nothing is committed.

  Arguments:
    status, detail   the outcome of every row that is not an exception
    exceptions       [{bucket, seq, status, detail}], all within the span
    span             the rows to commit (see pendo_within)
    destination      the destination of the rows
    commit_number    a larger number than any in the ledger
#}
{% macro pendo_commit(
    ledger, changes, run_id, status, detail, exceptions, span, destination, commit_number
) %}
{%- set outcome = dbt_pendo.pendo_literal(status) -%}
{%- set reason = dbt_pendo.pendo_literal(detail) -%}
{%- if exceptions -%}
    {%- set reason = 'case when exceptions.status is null then ' ~ reason ~ ' else exceptions.detail end' -%}
    {%- set outcome = 'coalesce(exceptions.status, ' ~ outcome ~ ')' -%}
{%- endif -%}
{{ dbt_pendo.pendo_add_entries(ledger) }}
select
    outcomes.record_key,
    outcomes.row_hash,
    case when outcomes.status <> 'invalid' then outcomes.change end,
    outcomes.status,
    outcomes.detail,
    case when outcomes.status in ('missing', 'rejected') then outcomes.attempts + 1 end,
    {{ dbt_pendo.pendo_commit_values(run_id, destination, commit_number) }}
from (
    {#- Distinct, because the copies of a duplicate key are one entry. #}
    select distinct
        pending.record_key,
        pending.row_hash,
        pending.change,
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
        select
            bucket,
            seq,
            change,
            {{ dbt_pendo.pendo_exact('record_key') }} as record_key,
            row_hash,
            detail,
            invalid_hash,
            attempts
        from {{ dbt_pendo.pendo_rows(changes, span) if exceptions or span.first_seq or span.last_seq else changes }} changes
        where change in ('added', 'changed', 'invalid', 'removed')
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

{# Each subquery would be a task of its own on Spark. #}
{% macro spark__pendo_exceptions(exceptions) %}
        select bucket, seq, status, detail
        from values
            {%- for row in exceptions %}
            ({{ dbt_pendo.pendo_literal(row.bucket) }}, {{ row.seq }}, {{ dbt_pendo.pendo_literal(row.status) }},
                {{- ' ' ~ dbt_pendo.pendo_literal(row.detail) }}){{ ',' if not loop.last }}
            {%- endfor %}
            as named (bucket, seq, status, detail)
{%- endmacro %}

{# Each subquery counts towards BigQuery's limit of query complexity; a list of constants does not. #}
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

{# A subquery for each would take long to analyse. #}
{% macro clickhouse__pendo_exceptions(exceptions) %}
        select bucket, seq, status, detail
        from values('bucket String, seq UInt64, status Nullable(String), detail Nullable(String)'
            {%- for row in exceptions %},
            ({{ dbt_pendo.pendo_literal(row.bucket) }}, {{ row.seq }}, {{ dbt_pendo.pendo_literal(row.status) }},
                {{- ' ' ~ ('null' if row.detail is none else dbt_pendo.pendo_literal(row.detail)) }})
            {%- endfor %}
        )
{%- endmacro %}


{#
  The ledger without the rows that no plan reads any more, but with the first delivered row of each key.

  Arguments:
    recent        the model's events whose keys must be kept, regardless of age; none to keep all keys
    key           the key column: [{name, dtype}]
    max_age       seconds to keep the key of any other event after its entry, by this run's clock and by that
                  of the previous run: a clock that is fast for one run drops no key too early
    destination   the sync's destination; rows of others are kept, because the sync may change back
    earlier       the last commit number before this run
#}
{% macro pendo_compact_ledger(
    compacted, ledger, recent=none, key=none, max_age=none, destination=none, earlier=none
) %}
{%- set run_before = '(select max(' ~ dbt_pendo.pendo_nullable('logged_at') ~ ') from ' ~ ledger ~ ' entries where commit_number <= ' ~ earlier ~ ')' %}
{%- set kept %}
select {{ dbt_pendo.pendo_ledger_names(of='latest.') }}
from (
    {{ dbt_pendo.pendo_latest(ledger, with_first=true) }}
) latest
{%- if recent %}
left join (
    select distinct {{ dbt_pendo.pendo_nullable(dbt_pendo.pendo_key(key) | trim) }} as record_key
    from {{ recent }}
) planned on latest.record_key = planned.record_key
where latest.destination <> {{ dbt_pendo.pendo_literal(destination) }}
    or planned.record_key is not null
    or latest.logged_at >= {{ dbt_pendo.pendo_seconds_ago(max_age) }}
    or latest.logged_at >= {{ dbt_pendo.pendo_seconds_before(max_age, run_before) }}
{%- endif %}
{%- endset %}
{{ dbt_pendo.pendo_create_table_as(compacted, kept | trim) }}
{% endmacro %}
