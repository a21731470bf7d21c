{# The rows of a change set that Pendo lacks (`missing`), has with other values, or hides (any other state). #}
{% macro pendo_create_drift(drift) %}
{%- set word = dbt_pendo.pendo_type('string') -%}
{{ dbt_pendo.pendo_create_table(drift, [('bucket', word), ('seq', dbt_pendo.pendo_type('bigint')), ('state', word)]) }}
{% endmacro %}


{# Adds rows of [[bucket, seq], state]. #}
{% macro pendo_add_drift(drift, rows) %}
insert into {{ drift }} (bucket, seq, state) values
{%- for position, state in rows %}
    ('{{ position[0] }}', {{ position[1] }}, '{{ state }}'){{ ',' if not loop.last }}
{%- endfor %}
{% endmacro %}


{# The rows of a model that drifted or that cannot be sent, as a relation to plan with; not those that Pendo hides. #}
{% macro pendo_drifted_rows(model, key, changes, drift, with_missing) -%}
(
    select *
    from {{ model }}
    where {{ dbt_pendo.pendo_key(key) }} in (
        select {{ dbt_pendo.pendo_exact('changes.record_key') }}
        from {{ dbt_pendo.pendo_rows(changes) }} changes
        inner join {{ drift }} drift on changes.bucket = drift.bucket and changes.seq = drift.seq
        where drift.state in ('drifted', 'invalid'{{ ", 'missing'" if with_missing }})
    )
)
{%- endmacro %}


{#
  Logs the rows of a change set as delivered without sending them. With `drift`, a drifted row gets another hash, so that
  it counts as changed, and a missing row is left out.
#}
{% macro pendo_adopt(ledger, changes, run_id, destination, commit_number, drift=none) %}
{{ dbt_pendo.pendo_add_entries(ledger) }}
select
    changes.record_key,
    {{ "case when drift.state is null then changes.row_hash else 'drifted' end" if drift else 'changes.row_hash' }},
    {{ dbt_pendo.pendo_literal(none) }},
    'delivered',
    'adopted',
    cast(null as {{ dbt_pendo.pendo_type('int') }}),
    {{ dbt_pendo.pendo_commit_values(run_id, destination, commit_number) }}
from {{ dbt_pendo.pendo_rows(changes) if drift else changes }} changes
{%- if drift %}
left join {{ drift }} drift on changes.bucket = drift.bucket and changes.seq = drift.seq
{%- endif %}
where changes.change in ('added', 'changed')
    {%- if drift %}
    and coalesce(drift.state, 'drifted') <> 'missing'
    {%- endif %}
{% endmacro %}
