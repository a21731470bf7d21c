-- One has none, on purpose: Pendo needs a time, so dbt-pendo finds that row invalid.
{{ config(severity='warn') }}

select invoice_id
from {{ ref('stg_invoices') }}
where status = 'paid' and paid_at is null
