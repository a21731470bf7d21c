-- One row per user. dbt-pendo never sends bad ids, so they are not filtered here.
select
    user_id,
    full_name,
    email, -- not mapped, so a change of address sends nothing
    role,
    status,
    plan as plan_name,
    mrr_usd, -- a decimal with ten places, sent as a float
    is_admin,
    signed_up_on, -- a date
    last_login_at, -- a timestamp without time zone, in UTC
    login_count
from {{ ref('stg_users') }}
