-- Every paid invoice becomes one payment, and no amount changes.
with invoices as (

    select count(*) as n, sum(amount_usd) as total
    from {{ ref('stg_invoices') }}
    where status = 'paid'

),

payments as (

    select count(*) as n, sum(amount_usd) as total
    from {{ ref('pendo_payments') }}

)

select invoices.n, payments.n as payments
from invoices
cross join payments
where invoices.n <> payments.n or invoices.total <> payments.total
