-- One row per paid invoice.
select
    invoice_id,
    paid_by_user_id as user_id,
    org_id,
    paid_at,
    amount_usd,
    billed_in,
    seats,
    ip_address,
    user_agent,
    page_url
from {{ ref('stg_invoices') }}
where status = 'paid'
