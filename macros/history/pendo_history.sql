{# Reads past runs from the ledger and the run log, for reports. #}

{# The rows of the latest runs, the latest run first; `run` is one run's id, or its start or end. #}
{% macro pendo_read_runs(runs, run_limit, run=none) %}
select
    log.{{ dbt_pendo.pendo_run_columns() | map(attribute=0) | join(', log.') }},
    {{ dbt_pendo.pendo_fetched('log.logged_at', 'timestamp') }} as logged_at
from {{ runs }} log
inner join (
    select distinct run_id
    from {{ runs }} ids
    {%- if run is not none %}
    where run_id = {{ dbt_pendo.pendo_literal(run) }}
        or run_id like {{ dbt_pendo.pendo_literal(run ~ '%') }}
        or run_id like {{ dbt_pendo.pendo_literal('%' ~ run) }}
    {%- endif %}
    order by run_id desc
    limit {{ run_limit }}
) latest on log.run_id = latest.run_id
order by log.run_id desc, log.logged_at
{% endmacro %}


{#
  The latest rows of each sync, the latest first, without runs that were skipped or interrupted.

  Arguments:
    syncs       names of syncs
    but         the id of a run to leave out
    row_limit   how many rows of each sync
#}
{% macro pendo_read_recent_runs(runs, syncs, but, row_limit) %}
select
    recent.{{ dbt_pendo.pendo_run_columns() | map(attribute=0) | join(', recent.') }},
    {{ dbt_pendo.pendo_fetched('recent.logged_at', 'timestamp') }} as logged_at
from (
    select
        log.*,
        row_number() over (partition by {{ dbt_pendo.pendo_exact('sync') }} order by logged_at desc, run_id desc) as age
    from {{ runs }} log
    where {{ dbt_pendo.pendo_exact('sync') }} in ({{ dbt_pendo.pendo_literals(syncs) }})
        and status not in ('skipped', 'interrupted')
        and run_id <> {{ dbt_pendo.pendo_literal(but) }}
) recent
where recent.age <= {{ row_limit }}
order by recent.sync, recent.age
{% endmacro %}


{# How many rows of a run ended in each status, by reason; the most frequent first. #}
{% macro pendo_reasons(ledger, run_id, row_limit) %}
select status, detail, count(*) as row_count, min(record_key) as example
from {{ ledger }} entries
where run_id = {{ dbt_pendo.pendo_literal(run_id) }}
    and status in ('missing', 'rejected', 'invalid')
group by status, detail
order by row_count desc, status, detail
limit {{ row_limit }}
{% endmacro %}


{# What is read of an entry. #}
{% macro pendo_entry() -%}
    record_key, status, detail, attempts, run_id, {{ dbt_pendo.pendo_fetched('logged_at', 'timestamp') }}, destination
{%- endmacro %}


{#
  The rows of a run that were not delivered.

  Arguments:
    changes     the run's change set, which has every row that the plan found invalid, and every row whose values an
                earlier run has found invalid; the ledger has an invalid row once. None if another run has rewritten it
#}
{% macro pendo_failed_rows(ledger, run_id, row_limit, changes=none) %}
{%- set key, of_run = dbt_pendo.pendo_exact('record_key'), 'run_id = ' ~ dbt_pendo.pendo_literal(run_id) %}
select {{ dbt_pendo.pendo_entry() }}
from (
    select record_key, status, detail, attempts, run_id, logged_at, destination
    from {{ ledger }} entries
    where {{ of_run }}
        and status in ('missing', 'rejected'{{ ", 'invalid'" if not changes }})
    {%- if changes %}
    union all
    select
        planned.record_key,
        {{ dbt_pendo.pendo_literal('invalid') }} as status,
        coalesce(planned.detail, logged.detail) as detail,
        cast(null as {{ dbt_pendo.pendo_type('int') }}) as attempts,
        planned.run_id,
        logged.logged_at,
        logged.destination
    from (
        select {{ key }} as record_key, change, row_hash, detail, run_id
        from {{ changes }} changes
        where {{ of_run }}
            and change in ('added', 'changed', 'invalid')
    ) planned
    left join (
        select
            {{ key }} as record_key,
            row_hash,
            max(detail) as detail,
            max(logged_at) as logged_at,
            max(destination) as destination
        from {{ ledger }} entries
        where status = 'invalid'
        group by {{ key }}, row_hash
    ) logged on planned.record_key = logged.record_key and planned.row_hash = logged.row_hash
    left join (
        select distinct {{ key }} as record_key
        from {{ ledger }} entries
        where {{ of_run }}
            and status <> 'invalid'
    ) judged on planned.record_key = judged.record_key
    where planned.change = 'invalid'
        or (logged.record_key is not null and judged.record_key is null)
    {%- endif %}
) failed
order by status desc, record_key
{%- if row_limit is not none %}
limit {{ row_limit }}
{%- endif %}
{% endmacro %}


{# All entries of one key, the latest first. #}
{% macro pendo_key_history(ledger, record_key, row_limit) %}
select {{ dbt_pendo.pendo_entry() }}
from {{ ledger }} entries
where {{ dbt_pendo.pendo_exact('record_key') }} = {{ dbt_pendo.pendo_literal(record_key) }}
order by commit_number desc, run_id desc
limit {{ row_limit }}
{% endmacro %}


{#
  The model's rows of one key: at most two, because a key that occurs twice is invalid.

  Arguments:
    key       the key column, or the two of `Parent::Child`: [{name, dtype}]
    columns   the mapped columns: [{alias, dtype, as_text}], by their own names
#}
{% macro pendo_model_rows(model, key, columns, record_key) %}
select
    {{ dbt_pendo.pendo_key(key) }}
    {%- for column in columns %},
    {{ dbt_pendo.pendo_wanted(column) }}
    {%- endfor %}
from {{ model }}
where {{ dbt_pendo.pendo_key(key) }} = {{ dbt_pendo.pendo_literal(record_key) }}
limit 2
{% endmacro %}


{# For each sync the latest row of a completed run, and of one that did not complete; the latest row first. #}
{% macro pendo_latest_syncs(runs) %}
select
    {{ dbt_pendo.pendo_run_columns() | map(attribute=0) | join(', ') }},
    {{ dbt_pendo.pendo_fetched('logged_at', 'timestamp') }} as logged_at
from (
    select
        log.*,
        row_number() over (
            partition by {{ dbt_pendo.pendo_exact('sync') }}, case when status in ('success', 'warn', 'partial') then 1 else 0 end
            order by run_id desc, logged_at desc
        ) as age
    from {{ runs }} log
) aged
where age = 1
order by aged.sync, aged.run_id desc, aged.logged_at desc
{% endmacro %}


{# Whether an entry has the destination of the last commit; entries of other destinations are history. #}
{% macro pendo_is_current(ledger) -%}
    {{ dbt_pendo.pendo_exact('destination') }} = (
        select max({{ dbt_pendo.pendo_exact('destination') }})
        from {{ ledger }} last_entries
        where commit_number = (select max(commit_number) from {{ ledger }} all_entries)
    )
{%- endmacro %}


{# The rows whose last entry has one of the given statuses: rows that are still undelivered. #}
{% macro pendo_open_rows(ledger, statuses, row_limit) %}
{%- set wanted = 'status in (' ~ dbt_pendo.pendo_literals(statuses) ~ ')' -%}
{%- set key = dbt_pendo.pendo_exact('record_key') -%}
select {{ dbt_pendo.pendo_entry() }}
from (
    select
        entries.*,
        row_number() over (partition by {{ key }} order by commit_number desc, run_id desc) as age
    from {{ ledger }} entries
    {#- Most keys never failed. #}
    where {{ key }} in (select {{ key }} from {{ ledger }} failures where {{ wanted }})
        and {{ dbt_pendo.pendo_is_current(ledger) }}
) aged
where age = 1
    and {{ wanted }}
order by status desc, record_key
limit {{ row_limit }}
{% endmacro %}
