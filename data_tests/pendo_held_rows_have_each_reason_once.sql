{{ config(enabled=dbt_pendo.pendo_wants_models()) }}

select sync, status, reason
from {{ ref('pendo_held_rows') }}
group by sync, status, reason
having count(*) > 1 or max(case when status in ('missing', 'rejected', 'invalid') then 0 else 1 end) = 1
