{{ config(enabled=dbt_pendo.pendo_wants_models()) }}

select ran_on, sync
from {{ ref('pendo_delivery_by_day') }}
group by ran_on, sync
having count(*) > 1 or min(delivery_rate) < 0 or max(delivery_rate) > 1
