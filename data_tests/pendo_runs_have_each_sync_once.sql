{{ config(enabled=dbt_pendo.pendo_wants_models()) }}

select run_id, sync
from {{ ref('stg_pendo_runs') }}
group by run_id, sync
having count(*) > 1
