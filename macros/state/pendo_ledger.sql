{#
  The ledger: append-only, what happened to each key. Its column names are a contract with those who query it.
  `attempts` counts how often in a row a missing or rejected row was tried as it is; it is null for others.
  `commit_number` is larger with each statement that writes into the ledger: rows are ordered by it, for clocks go back.
#}
{% macro pendo_create_ledger(ledger) %}
create table {{ ledger }} (
    {%- for name, type in dbt_pendo.pendo_ledger_columns() %}
    {{ name }} {{ type }}{{ ',' if not loop.last }}
    {%- endfor %}
){{ dbt_pendo.pendo_storage() }}
{% endmacro %}


{#
  The columns: [(name, type)]; the README says what each holds. A new one needs a value in pendo_carried_entries, in
  pendo_latest, and in each macro that begins with pendo_add_entries.
#}
{% macro pendo_ledger_columns() %}
    {%- set text, word = dbt_pendo.pendo_text_type(), dbt.type_string() -%}
    {{ return([
        ('record_key', text), ('row_hash', word), ('status', word), ('detail', text), ('attempts', dbt.type_int()),
        ('run_id', word), ('logged_at', dbt.type_timestamp()), ('destination', text), ('commit_number', dbt.type_bigint())
    ]) }}
{% endmacro %}


{#
  What a ledger's rows were delivered as, and the largest commit number of each. It names each column that an earlier
  version did not have, and so fails on a ledger of that version (see pendo_carried_entries).
#}
{% macro pendo_last_commits(ledger) %}
select destination, coalesce(max(commit_number), 0) as last_commit
from (
    select {{ dbt_pendo.pendo_exact('destination') }} as destination, commit_number
    from {{ ledger }} entries
) commits
group by destination
order by last_commit desc
{% endmacro %}


{#
  The entries of a ledger that an earlier version made, with the columns that it lacks, as a subquery. An earlier version
  ordered a ledger by the warehouse's clock, so commit numbers follow that order. A distinct first: so few rows are sorted.

  Arguments:
    lacking       the names of the columns that it lacks
    destination   what all of its rows were delivered as
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


{# How each statement that commits begins: record_key, row_hash, status, detail and attempts follow, then its values. #}
{% macro pendo_add_entries(ledger) -%}
insert into {{ ledger }} ({{ dbt_pendo.pendo_ledger_names() }})
{%- endmacro %}

{# What all entries of a commit have in common: run_id, logged_at, destination, commit_number. #}
{% macro pendo_commit_values(run_id, destination, commit_number) -%}
    {{ dbt_pendo.pendo_literal(run_id) }}, {{ dbt_pendo.pendo_now() }}, {{ dbt_pendo.pendo_literal(destination) }}, {{ commit_number }}
{%- endmacro %}


{# The entries of a ledger that were delivered as something else, as a subquery. #}
{% macro pendo_other_entries(ledger, destination) -%}
(
    select *
    from {{ ledger }} own
    where {{ dbt_pendo.pendo_exact('destination') }} <> {{ dbt_pendo.pendo_literal(destination) }}
)
{%- endmacro %}


{# How many keys a ledger knows; a key counts once for each destination. #}
{% macro pendo_count_known(ledger) %}
select count(*) as keys
from (
    select distinct
        {{ dbt_pendo.pendo_exact('record_key') }} as record_key,
        {{ dbt_pendo.pendo_exact('destination') }} as destination
    from {{ ledger }} entries
) known
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
    destination      what the rows were delivered as
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
    outcomes.status,
    outcomes.detail,
    case when outcomes.status in ('missing', 'rejected') then outcomes.attempts + 1 end,
    {{ dbt_pendo.pendo_commit_values(run_id, destination, commit_number) }}
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
        select
            bucket,
            seq,
            change,
            {{ dbt_pendo.pendo_exact('record_key') }} as record_key,
            row_hash,
            detail,
            invalid_hash,
            attempts
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
    recent        the model's events whose keys have to be known, however old an entry is; none to keep all keys
    key           the key column: [{name, dtype}]
    max_age       seconds for which the key of any other event is known after its entry, by this run's clock and by that
                  of the run before: a clock that is fast for one run makes no key forgotten
    destination   what the sync delivers to; rows of others are kept, for it may be set back
    earlier       the last commit number before this run
#}
{% macro pendo_compact_ledger(
    compacted, ledger, recent=none, key=none, max_age=none, destination=none, earlier=none
) %}
{%- set run_before = '(select max(logged_at) from ' ~ ledger ~ ' entries where commit_number <= ' ~ earlier ~ ')' %}
create table {{ compacted }}{{ dbt_pendo.pendo_storage() }} as
select {{ dbt_pendo.pendo_ledger_names(of='latest.') }}
from (
    {{ dbt_pendo.pendo_latest(ledger) }}
) latest
{%- if recent %}
left join (
    select distinct {{ dbt_pendo.pendo_key(key) }} as record_key
    from {{ recent }}
) planned on latest.record_key = planned.record_key
where latest.destination <> {{ dbt_pendo.pendo_literal(destination) }}
    or planned.record_key is not null
    or latest.logged_at >= {{ dbt_pendo.pendo_seconds_ago(max_age) }}
    or latest.logged_at >= {{ dbt_pendo.pendo_seconds_before(max_age, run_before) }}
{%- endif %}
{% endmacro %}
