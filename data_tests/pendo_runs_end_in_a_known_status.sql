{{ config(enabled=dbt_pendo.pendo_wants_models()) }}

select status
from {{ ref('stg_pendo_runs') }}
where status not in ('success', 'warn', 'partial', 'error', 'skipped', 'blocked', 'interrupted')
