-- Invoices in euro are converted at the day's rate, so some amounts have many decimals (inv-0050: 1180.3333333333).
-- A bank transfer has no browser: no address, user agent or page.
select
    invoice_id,
    org_id,
    paid_by_user_id,
    status,
    amount_usd,
    billed_in,
    seats,
    cast({{ moved('issued_on') }} as date) as issued_on,
    {{ moved('paid_at') }} as paid_at,
    ip_address,
    user_agent,
    page_url
from {{ ref('raw_invoices') }}
cross join {{ ref('demo_start') }}
where {{ on_demo_day() }}
