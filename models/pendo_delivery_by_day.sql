{{ config(materialized='table', enabled=dbt_pendo.pendo_wants_models()) }}

{%- set number = dbt_pendo.pendo_type('bigint') %}

with days as (
    select
        ran_on,
        sync,
        cast(count(*) as {{ number }}) as runs,
        cast(
            sum(case when status in ('error', 'blocked', 'interrupted') then 1 else 0 end) as {{ number }}
        ) as failed_runs,
        cast(sum(case when status = 'skipped' then 1 else 0 end) as {{ number }}) as skipped_runs,
        cast(sum(delivered) as {{ number }}) as delivered,
        cast(sum(missing) as {{ number }}) as missing,
        cast(sum(rejected) as {{ number }}) as rejected
    from {{ ref('stg_pendo_runs') }}
    group by ran_on, sync
)

select
    days.*,
    cast(delivered as {{ dbt_pendo.pendo_double_type() }}) / nullif(delivered + missing + rejected, 0) as delivery_rate
from days
