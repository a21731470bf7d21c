{# Which of Pendo's segments a sync fills: append-only, the latest row of a sync and a name counts. #}
{% macro pendo_create_segments(segments) %}
create table {{ segments }} (
    sync {{ dbt_pendo.pendo_text_type() }},
    segment {{ dbt_pendo.pendo_text_type() }},
    segment_id {{ dbt_pendo.pendo_text_type() }},
    logged_at {{ dbt.type_timestamp() }}
){{ dbt_pendo.pendo_storage() }}
{% endmacro %}


{# Notes the id of a segment; none when it is not known any more. #}
{% macro pendo_note_segment(segments, sync, segment, segment_id) %}
insert into {{ segments }} (sync, segment, segment_id, logged_at)
select
    {{ dbt_pendo.pendo_literal(sync) }},
    {{ dbt_pendo.pendo_literal(segment) }},
    {{ dbt_pendo.pendo_literal(segment_id) }},
    {{ dbt_pendo.pendo_now() }}
{% endmacro %}


{% macro pendo_segment_id(segments, sync, segment) %}
select segment_id
from {{ segments }}
where sync = {{ dbt_pendo.pendo_literal(sync) }}
    and segment = {{ dbt_pendo.pendo_literal(segment) }}
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
