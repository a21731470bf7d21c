-- Pendo needs a time: without one, dbt-pendo marks the row as invalid.
select invoice_id
from {{ ref('stg_invoices') }}
where status = 'paid' and paid_at is null
