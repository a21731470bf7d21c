{#
  The latest entries of keys that were queued for deletion and whose deletion is still open: record_key, row_hash,
  detail. One scan finds the few keys that were ever queued; only their history is read.

  Nobody can ask Pendo for the end of a job that is not known. Pendo completes each within 21 days (pendo-api.md 7).
#}
{% macro pendo_queued(ledger, queued, unknown, destination) %}
    {%- set key = dbt_pendo.pendo_exact('record_key') -%}
    {%- set marked = 'status = ' ~ dbt_pendo.pendo_literal('removed')
        ~ ' and substr(detail, 1, ' ~ queued | length ~ ') = ' ~ dbt_pendo.pendo_literal(queued) -%}
    select record_key, row_hash, {{ dbt_pendo.pendo_exact('detail') }} as detail
    from (
        {{- dbt_pendo.pendo_latest('(select * from ' ~ ledger ~ ' where ' ~ key ~ ' in (select ' ~ key ~ ' from ' ~ ledger
            ~ ' where ' ~ marked ~ '))', destination) }}
    ) latest
    where {{ marked }}
        and (
            {{ dbt_pendo.pendo_exact('detail') }} <> {{ dbt_pendo.pendo_literal(queued ~ unknown) }}
            or logged_at > {{ dbt_pendo.pendo_seconds_ago(21 * 24 * 60 * 60) }}
        )
{% endmacro %}


{# How many rows wait for each deletion: detail, row_count. #}
{% macro pendo_queued_deletions(ledger, queued, unknown, destination) %}
select detail, count(*) as row_count
from (
    {{- dbt_pendo.pendo_queued(ledger, queued, unknown, destination) }}
) waiting
group by detail
order by detail
{% endmacro %}


{# The keys that a run's change set has anew while their deletion is still open: record_key, detail. #}
{% macro pendo_returned(ledger, changes, queued, unknown, destination, run_id) %}
select waiting.record_key, waiting.detail
from (
    {{- dbt_pendo.pendo_queued(ledger, queued, unknown, destination) }}
) waiting
inner join (
    select {{ dbt_pendo.pendo_exact('record_key') }} as record_key
    from {{ changes }} changes
    where change = 'added' and run_id = {{ dbt_pendo.pendo_literal(run_id) }}
) anew on waiting.record_key = anew.record_key
{% endmacro %}


{#
  Logs the result of a deletion. Its rows are `removed` for good, or still `delivered`, with a hash that matches no row,
  so that a plan finds them removed, or changed if they are back.
#}
{% macro pendo_end_deletion(
    ledger, queued, unknown, destination, job, run_id, detail, is_undone, commit_number
) %}
{{ dbt_pendo.pendo_add_entries(ledger) }}
select
    record_key,
    {{ dbt_pendo.pendo_literal('not deleted') if is_undone else 'row_hash' }},
    {{ dbt_pendo.pendo_literal(none) }},
    {{ dbt_pendo.pendo_literal('delivered' if is_undone else 'removed') }},
    {{ dbt_pendo.pendo_literal(detail) }},
    cast(null as {{ dbt_pendo.pendo_type('int') }}),
    {{ dbt_pendo.pendo_commit_values(run_id, destination, commit_number) }}
from (
    {{- dbt_pendo.pendo_queued(ledger, queued, unknown, destination) }}
) waiting
where detail = {{ dbt_pendo.pendo_literal(queued ~ job) }}
{% endmacro %}


{# The rows of a run that an earlier run has removed: status (delivered, missing), row_count, example_key. #}
{% macro pendo_came_back(ledger, destination, run_id) %}
{%- set key = dbt_pendo.pendo_exact('record_key') %}
{%- set here = dbt_pendo.pendo_exact('destination') ~ ' = ' ~ dbt_pendo.pendo_literal(destination) %}
select status, count(*) as row_count, min(record_key) as example_key
from {{ ledger }} entries
where run_id = {{ dbt_pendo.pendo_literal(run_id) }}
    and {{ here }}
    and status in ('delivered', 'missing')
    and change <> 'removed'
    and {{ key }} in (
        select {{ key }}
        from {{ ledger }} earlier
        where status = 'removed'
            and run_id <> {{ dbt_pendo.pendo_literal(run_id) }}
            and {{ here }}
    )
group by status
order by status
{% endmacro %}
