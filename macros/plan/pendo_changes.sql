{# The change set: the rows that a run has to deliver, written before the first is sent. #}
{% macro pendo_create_changes(relation, plan) %}
    {{ return(adapter.dispatch('pendo_create_changes', 'dbt_pendo')(relation, plan)) }}
{% endmacro %}

{% macro default__pendo_create_changes(relation, plan) %}
create table {{ relation }} as
{{ plan }}
{% endmacro %}

{#-
  Each file holds few buckets, sorted: the minimum and maximum in the metadata of files and their parts locate a page.
  A global sort would run the plan twice, the first time to find the ranges.
#}
{% macro spark__pendo_create_changes(relation, plan) %}
create table {{ relation }}{{ dbt_pendo.pendo_storage() }} as
select * from (
{{ plan }}
) planned
distribute by substr(bucket, 1, 2) sort by bucket, seq
{% endmacro %}

{#-
  Snowflake does the same with micro-partitions. No `cluster by`: it would sort nothing now, but let a paid service do
  so later.
#}
{% macro snowflake__pendo_create_changes(relation, plan) %}
create table {{ relation }} as
select * from (
{{ plan }}
) planned
order by bucket, seq
{% endmacro %}

{% macro bigquery__pendo_create_changes(relation, plan) %}
create table {{ relation }}
cluster by bucket as
{{ plan }}
{% endmacro %}

{% macro redshift__pendo_create_changes(relation, plan) %}
create table {{ relation }}
compound sortkey (bucket, seq) as
{{ plan }}
{% endmacro %}

{% macro clickhouse__pendo_create_changes(relation, plan) %}
create table {{ relation }} engine = MergeTree order by (bucket, seq) as
{{ plan }}
{% endmacro %}


{# Makes pages of a written change set cheap to find; empty if the sort order does. #}
{% macro pendo_index_changes(changes) %}
    {{ return(adapter.dispatch('pendo_index_changes', 'dbt_pendo')(changes)) }}
{% endmacro %}

{% macro default__pendo_index_changes(changes) %}{% endmacro %}

{% macro postgres__pendo_index_changes(changes) %}
create index on {{ changes }} (bucket, seq);
analyze {{ changes }}
{% endmacro %}

{#- Redshift would inherit PostgreSQL's; it has no indexes, and analyzes the result of a `create table as`. #}
{% macro redshift__pendo_index_changes(changes) %}{% endmacro %}


{# How many rows of each kind each bucket holds; `last_seq` of `total` and `unchanged` is a number of rows (see pendo_plan). #}
{% macro pendo_count_changes(changes) %}
select bucket, change, count(*) as row_count, cast(max(seq) as {{ dbt_pendo.pendo_type('bigint') }}) as last_seq
from {{ changes }} changes
group by bucket, change
{% endmacro %}


{#
  The counts of a written change set, and in the same statement what a sync has to know before its first row: the run that
  holds the lock (`lock`), and of each destination of the ledger the number of entries and the last commit (`ledger`).
#}
{% macro pendo_count_written(changes, lock, ledger) %}
select bucket, change, row_count, last_seq
from (
    {{ dbt_pendo.pendo_count_changes(changes) }}
) counted
{%- if lock %}
union all
select max(run_id), 'lock', count(*), 0
from {{ lock }} holders
{%- endif %}
{%- if ledger %}
union all
select destination, 'ledger', count(*), coalesce(max(commit_number), 0)
from (
    select {{ dbt_pendo.pendo_exact('destination') }} as destination, commit_number
    from {{ ledger }} entries
) commits
group by destination
{%- endif %}
{% endmacro %}


{# At most so many rows of the model, to select from: any, but the same each time, and the rows of one key together. #}
{% macro pendo_sample(model, key, row_limit) -%}
(
        select *
        from {{ model }}
        order by {{ dbt_pendo.pendo_md5("coalesce(" ~ dbt_pendo.pendo_key(key) ~ ", '')") }}
        limit {{ row_limit }}
    ) sample_rows
{%- endmacro %}


{# The reasons why rows are invalid, the most frequent first, with one example key. #}
{% macro pendo_invalid_reasons(changes) %}
select detail, count(*) as row_count, min(record_key) as example_key
from {{ changes }} changes
where change = 'invalid'
group by detail
order by row_count desc, detail
{% endmacro %}


{# The run that wrote a change set. #}
{% macro pendo_change_set_run(changes) %}
select max(run_id) as run_id
from {{ changes }}
{% endmacro %}


{#
  What a change set says of consents: how many values are to be sent, and how many of them turn one on that cannot be undone.

  Arguments:
    columns   the aliases of the columns with a consent
    ignored   the one of `donotprocess`; none if it is not mapped
#}
{% macro pendo_count_consents(changes, columns, ignored) %}
select pendo_calls as calls, pendo_ignored as ignored, pendo_example_key as example_key
from (
    select
        {%- for column in columns %}
        {{ '+ ' if not loop.first }}coalesce(sum(case when {{ dbt_pendo.pendo_name(column) }} is not null then 1 else 0 end), 0)
        {%- endfor %} as pendo_calls,
        {%- set marked = dbt_pendo.pendo_name(ignored) if ignored else '1 = 0' %}
        coalesce(sum(case when {{ marked }} then 1 else 0 end), 0) as pendo_ignored,
        min(case when {{ marked }} then record_key end) as pendo_example_key
    from {{ changes }} changes
    where change in ('added', 'changed')
) counted
{% endmacro %}
