-- One deliberately has none. Pendo needs a time, so dbt-pendo marks that row as invalid.
{{ config(severity='warn') }}

select invoice_id
from {{ ref('stg_invoices') }}
where status = 'paid' and paid_at is null
