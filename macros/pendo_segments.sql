{#
  Which of Pendo's segments a sync fills: append-only, the latest row of a sync and a name counts. `members` is
  `known` while the sync's ledger tells them, and `in doubt` from a run's first write to its end.
#}
{% macro pendo_create_segments(segments) %}
create table {{ segments }} (
    sync {{ dbt_pendo.pendo_text_type() }},
    segment {{ dbt_pendo.pendo_text_type() }},
    segment_id {{ dbt_pendo.pendo_text_type() }},
    members {{ dbt.type_string() }},
    logged_at {{ dbt.type_timestamp() }}
){{ dbt_pendo.pendo_storage() }}
{% endmacro %}


{# Notes the id of a segment, and what is known of its members. #}
{% macro pendo_note_segment(segments, sync, segment, segment_id, members) %}
insert into {{ segments }} (sync, segment, segment_id, members, logged_at)
select
    {{ dbt_pendo.pendo_literal(sync) }},
    {{ dbt_pendo.pendo_literal(segment) }},
    {{ dbt_pendo.pendo_literal(segment_id) }},
    {{ dbt_pendo.pendo_literal(members) }},
    {{ dbt_pendo.pendo_now() }}
{% endmacro %}


{#
  The latest row of a sync and a name: segment_id, members. A ledger tells the members of the segment that was filled
  last; once there was another, those of this one are in doubt.
#}
{% macro pendo_read_segment(segments, sync, segment) %}
select segment_id, case when age = 1 then members else 'in doubt' end as members
from (
    select segment, segment_id, members, row_number() over (order by logged_at desc) as age
    from {{ segments }}
    where sync = {{ dbt_pendo.pendo_literal(sync) }}
) noted
where segment = {{ dbt_pendo.pendo_literal(segment) }}
order by age
limit 1
{% endmacro %}


{# One column of the latest note about a segment, whichever sync made it; found by another column. #}
{% macro pendo_latest_segment_note(segments, wanted, column, value) %}
select {{ wanted }}
from {{ segments }}
where {{ column }} = {{ dbt_pendo.pendo_literal(value) }}
order by logged_at desc
limit 1
{% endmacro %}


{# The members that a model lists, each once, as a relation to plan with: a segment is a set. #}
{% macro pendo_members(model, key) -%}
(
    select distinct {{ dbt_pendo.pendo_name(key.name) }}
    from {{ model }}
) members
{%- endmacro %}
