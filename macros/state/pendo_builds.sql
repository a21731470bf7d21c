{#
  What dbt has published and what dbt-pendo has taken: append-only. A row with the action `published` is a model as one
  dbt invocation left it. `taken` means that a run of dbt-pendo has finished with it. `snapshot` stores, in `mapping`, what
  the config of a published snapshot says about its current rows; `marks`, what marks columns of a published model as
  personal data.
#}
{% macro pendo_create_builds(builds) %}
{{ dbt_pendo.pendo_create_table(builds, dbt_pendo.pendo_build_columns() + [('logged_at', dbt_pendo.pendo_type('timestamp'))]) }}
{% endmacro %}


{# Writes rows: each maps columns of pendo_build_columns to values; the other columns are null. #}
{% macro pendo_add_builds(builds, rows) %}
insert into {{ builds }} (
    {%- for column in dbt_pendo.pendo_build_columns() %}{{ dbt_pendo.pendo_own_name(column[0]) }}, {% endfor %}logged_at
)
select
    {%- for column in dbt_pendo.pendo_build_columns() %}
    {{ dbt_pendo.pendo_own_name(column[0]) }},
    {%- endfor %}
    {{ dbt_pendo.pendo_now() }}
from (
    {%- for row in rows %}
    select
        {%- for column in dbt_pendo.pendo_build_columns() %}
        {%- set value, name = row.get(column[0]), dbt_pendo.pendo_own_name(column[0]) %}
        {%- if column[0] == 'build_order' %}
        cast({{ 'null' if value is none else value }} as {{ column[1] }}) as {{ name }}
        {%- else %}
        {{ dbt_pendo.pendo_literal(value) }} as {{ name }}
        {%- endif %}
        {{- ',' if not loop.last }}
        {%- endfor %}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
) added
{% endmacro %}


{# The columns: [(name, type)]; docs/reference/tables.md describes them. #}
{% macro pendo_build_columns() %}
    {%- set text, word = dbt_pendo.pendo_text_type(), dbt_pendo.pendo_type('string') -%}
    {{ return([
        ('action', word), ('unique_id', text), ('invocation_id', word), ('command', word), ('status', word),
        ('partial', word), ('tests', text), ('model', text), ('file', text), ('database_name', text),
        ('schema_name', text), ('identifier', text), ('relation_name', text), ('materialized', word),
        ('mapping', text), ('column_mappings', text), ('build_order', dbt_pendo.pendo_type('int')), ('run_id', word)
    ]) }}
{% endmacro %}


{#
  The latest build of each model, unless it was taken, in build order. A build in the future was published while the clock
  was wrong: any other build is later.
#}
{% macro pendo_read_builds(builds) %}
select
    {%- for column in dbt_pendo.pendo_build_columns() if column[0] not in ('action', 'build_order', 'run_id') %}
    {%- set name = dbt_pendo.pendo_own_name(column[0]) %}
    latest.{{ name }} as {{ name }},
    {%- endfor %}
    details.snapshot_config as snapshot_config,
    details.marks as marks
from (
    select
        published.*,
        row_number() over (
            partition by {{ dbt_pendo.pendo_exact('unique_id') }}
            order by
                case when logged_at > {{ dbt_pendo.pendo_now() }} then 1 else 0 end,
                logged_at desc,
                invocation_id desc
        ) as age
    from {{ builds }} published
    where action = 'published'
) latest
left join (
    select distinct {{ dbt_pendo.pendo_exact('unique_id') }} as unique_id, invocation_id
    from {{ builds }} builds
    where action = 'taken'
) taken on {{ dbt_pendo.pendo_exact('latest.unique_id') }} = taken.unique_id and latest.invocation_id = taken.invocation_id
left join (
    select
        {{ dbt_pendo.pendo_exact('unique_id') }} as unique_id,
        invocation_id,
        max(case when action = 'snapshot' then mapping end) as snapshot_config,
        max(case when action = 'marks' then mapping end) as marks
    from {{ builds }} builds
    where action in ('snapshot', 'marks')
    group by {{ dbt_pendo.pendo_exact('unique_id') }}, invocation_id
) details
    on {{ dbt_pendo.pendo_exact('latest.unique_id') }} = details.unique_id
    and latest.invocation_id = details.invocation_id
where latest.age = 1 and taken.unique_id is null
order by latest.logged_at, latest.build_order, latest.unique_id
{% endmacro %}
