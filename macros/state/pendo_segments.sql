{#
  Which of Pendo's segments a sync fills: append-only, the latest row of a sync and a name counts. `members` is
  `known` while the sync's ledger tells them, and `in doubt` from a run's first write to its end. Rows are ordered by
  `note_number`, for clocks go back; rows of an earlier version have none, come first, and are ordered by `logged_at`.
#}
{% macro pendo_create_segments(segments) %}
create table {{ segments }} (
    sync {{ dbt_pendo.pendo_text_type() }},
    segment {{ dbt_pendo.pendo_text_type() }},
    segment_id {{ dbt_pendo.pendo_text_type() }},
    members {{ dbt.type_string() }},
    logged_at {{ dbt.type_timestamp() }},
    note_number {{ dbt.type_bigint() }}
){{ dbt_pendo.pendo_storage() }}
{% endmacro %}


{# Gives a table of an earlier version its column: syncs share the table, and no lock keeps them from it. #}
{% macro pendo_number_segments(segments) %}
    {{- dbt_pendo.pendo_add_column(segments, 'note_number', dbt.type_bigint()) -}}
{% endmacro %}


{# The rows of a table that has no numbers yet, as a subquery. #}
{% macro pendo_unnumbered_segments(segments) -%}
(
    select sync, segment, segment_id, members, logged_at, cast(null as {{ dbt.type_bigint() }}) as note_number
    from {{ segments }} notes
)
{%- endmacro %}


{# Notes the id of a segment, and what is known of its members. #}
{% macro pendo_note_segment(segments, sync, segment, segment_id, members) %}
insert into {{ segments }} (sync, segment, segment_id, members, logged_at, note_number)
select
    {{ dbt_pendo.pendo_literal(sync) }},
    {{ dbt_pendo.pendo_literal(segment) }},
    {{ dbt_pendo.pendo_literal(segment_id) }},
    {{ dbt_pendo.pendo_literal(members) }},
    {{ dbt_pendo.pendo_now() }},
    coalesce(max(note_number), 0) + 1
from {{ segments }} notes
{% endmacro %}


{% macro pendo_latest_note_first() -%}
coalesce(note_number, 0) desc, logged_at desc
{%- endmacro %}


{#
  The latest row of a sync and a name: segment_id, members. A ledger tells the members of the segment that was filled
  last; once there was another, those of this one are in doubt.
#}
{% macro pendo_read_segment(segments, sync, segment) %}
select segment_id, case when age = 1 then members else 'in doubt' end as members
from (
    select segment, segment_id, members, row_number() over (order by {{ dbt_pendo.pendo_latest_note_first() }}) as age
    from {{ segments }} notes
    where {{ dbt_pendo.pendo_exact('sync') }} = {{ dbt_pendo.pendo_literal(sync) }}
) noted
where {{ dbt_pendo.pendo_exact('segment') }} = {{ dbt_pendo.pendo_literal(segment) }}
order by age
limit 1
{% endmacro %}


{# One column of the latest note about a segment, whichever sync made it; found by another column. #}
{% macro pendo_latest_segment_note(segments, wanted, column, value) %}
select {{ wanted }}
from {{ segments }} notes
where {{ dbt_pendo.pendo_exact(column) }} = {{ dbt_pendo.pendo_literal(value) }}
order by {{ dbt_pendo.pendo_latest_note_first() }}
limit 1
{% endmacro %}
