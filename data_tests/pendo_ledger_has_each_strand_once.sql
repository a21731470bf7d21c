{{ config(enabled=dbt_pendo.pendo_wants_models()) }}

select sync, record_key, strand
from {{ ref('stg_pendo_ledger') }}
group by sync, record_key, strand
having count(*) > 1
