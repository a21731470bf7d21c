{#
  Which Pendo segment a sync writes: append-only, the latest row of each sync and name counts. `members` is `known` while
  the sync's ledger equals them, and `in doubt` from a run's first write to its end. Rows are ordered by `note_number`,
  because clocks go back. Rows of an earlier version have no number, come first, and are ordered by `logged_at`.
#}
{% macro pendo_create_segments(segments) %}
{%- set text = dbt_pendo.pendo_text_type() -%}
{{ dbt_pendo.pendo_create_table(segments, [
    ('sync', text), ('segment', text), ('segment_id', text), ('members', dbt_pendo.pendo_type('string')),
    ('logged_at', dbt_pendo.pendo_type('timestamp')), ('note_number', dbt_pendo.pendo_type('bigint'))
]) }}
{% endmacro %}


{# Adds the column to a table of an earlier version: syncs share the table, and no lock guards it. #}
{% macro pendo_number_segments(segments) %}
    {{- dbt_pendo.pendo_add_column(segments, 'note_number', dbt_pendo.pendo_type('bigint')) -}}
{% endmacro %}


{# The rows of a table without numbers, as a subquery. #}
{% macro pendo_unnumbered_segments(segments) -%}
(
    select sync, segment, segment_id, members, logged_at, cast(null as {{ dbt_pendo.pendo_type('bigint') }}) as note_number
    from {{ segments }} notes
)
{%- endmacro %}


{# Stores the id of a segment, and the state of its members. #}
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
  The latest row of a sync and a name: segment_id, members. A ledger knows only the members of the segment that was filled
  last; the members of an earlier segment are in doubt.
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


{# One column of the latest note about a segment, by any sync, found by another column. #}
{% macro pendo_latest_segment_note(segments, wanted, column, value) %}
select {{ wanted }}
from {{ segments }} notes
where {{ dbt_pendo.pendo_exact(column) }} = {{ dbt_pendo.pendo_literal(value) }}
order by {{ dbt_pendo.pendo_latest_note_first() }}
limit 1
{% endmacro %}


{#
  The visitors of a model whose ids differ from those of visitors who left it only by spaces around them and by capitals:
  a subscription may make one member of both.
#}
{% macro pendo_removed_twins(model, key, changes) %}
select distinct twins.record_key
from (select {{ dbt_pendo.pendo_key(key) }} as record_key from {{ model }}) twins
inner join {{ changes }} gone on {{ dbt_pendo.pendo_lower('trim(gone.record_key)') }} = {{ dbt_pendo.pendo_lower('trim(twins.record_key)') }}
where gone.change = 'removed'
{% endmacro %}


{# A text in lower case. #}
{% macro pendo_lower(text) -%}
    {{ return(adapter.dispatch('pendo_lower', 'dbt_pendo')(text)) }}
{%- endmacro %}

{% macro default__pendo_lower(text) -%}
    {{ return('lower(' ~ text ~ ')') }}
{%- endmacro %}

{# ClickHouse's `lower` knows ASCII only. #}
{% macro clickhouse__pendo_lower(text) -%}
    {{ return('lowerUTF8(' ~ text ~ ')') }}
{%- endmacro %}
