{# The change set: the rows a run has to deliver, written down before the first is sent. #}
{% macro pendo_create_changes(relation, plan) %}
    {{ return(adapter.dispatch('pendo_create_changes', 'dbt_pendo')(relation, plan)) }}
{% endmacro %}

{% macro default__pendo_create_changes(relation, plan) %}
create table {{ relation }} as
{{ plan }}
{% endmacro %}

{#- DuckDB skips row groups by their smallest and largest value: in order, a page is read without a full scan. #}
{% macro duckdb__pendo_create_changes(relation, plan) %}
create table {{ relation }} as
select * from (
{{ plan }}
) planned
order by bucket, seq
{% endmacro %}

{#-
  A file holds few buckets, in order: a page is found by the smallest and largest values that files and their parts
  are labelled with. Not by a sort of all rows, which would plan twice, the first time to learn where to cut.
#}
{% macro spark__pendo_create_changes(relation, plan) %}
create table {{ relation }}{{ dbt_pendo.pendo_storage() }} as
select * from (
{{ plan }}
) planned
distribute by substr(bucket, 1, 2) sort by bucket, seq
{% endmacro %}

{#-
  Snowflake does the same with micro-partitions. No `cluster by`: it would order nothing now, but have a service do so
  later, at a price.
#}
{% macro snowflake__pendo_create_changes(relation, plan) %}
{{ dbt_pendo.duckdb__pendo_create_changes(relation, plan) }}
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


{# What makes a page of a change set cheap to find, once it is written; empty where its order does. #}
{% macro pendo_index_changes(changes) %}
    {{ return(adapter.dispatch('pendo_index_changes', 'dbt_pendo')(changes)) }}
{% endmacro %}

{% macro default__pendo_index_changes(changes) %}{% endmacro %}

{% macro postgres__pendo_index_changes(changes) %}
create index on {{ changes }} (bucket, seq);
analyze {{ changes }}
{% endmacro %}

{#- Redshift would inherit PostgreSQL's; it has no indexes, and analyzes what a select creates. #}
{% macro redshift__pendo_index_changes(changes) %}{% endmacro %}


{# How many rows of each kind each bucket holds; `held` and `unchanged` ones are counted by `last_seq` (see pendo_plan). #}
{% macro pendo_count_changes(changes) %}
select bucket, change, count(*) as row_count, max(seq) as last_seq
from {{ changes }} changes
group by bucket, change
order by bucket, change
{% endmacro %}


{# Why rows are invalid, the most frequent reason first, with one key to look up. #}
{% macro pendo_invalid_reasons(changes) %}
select detail, count(*) as row_count, min(record_key) as example_key
from {{ changes }}
where change = 'invalid'
group by detail
order by row_count desc, detail
{% endmacro %}


{# The run that wrote a change set. #}
{% macro pendo_change_set_run(changes) %}
select max(run_id) as run_id
from {{ changes }}
{% endmacro %}
