{{ config(materialized='ephemeral', enabled=dbt_pendo.pendo_wants_models()) }}

{%- set runs = source('dbt_pendo', 'pendo_runs') %}

select
    {%- for column in dbt_pendo.pendo_run_columns() %}
    {{ column[0] }},
    {%- endfor %}
    logged_at,
    cast(logged_at as date) as ran_on
from {{ dbt_pendo.pendo_runs_of(runs) }} runs
