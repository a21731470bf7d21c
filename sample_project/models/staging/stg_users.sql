-- usr-057 occurs twice: the CRM merged two people and kept both rows.
-- usr-031 and USR-031 are two people: ids in Pendo are case sensitive, and are sent unchanged.
-- josé.núñez@example.com signs in by SSO, so his id is his address.
-- One id is blank; trim() makes it empty.
-- _PENDO_T_4fQbGkW2m9c is an anonymous id that somebody imported from a Pendo export.
-- Users with status 'invited' have never logged in: they have no plan and no last login, and Pendo has never seen them.
-- usr-020 was imported before roles existed; usr-033 before sign-up dates were kept.
-- usr-010 and usr-025 are freelancers without an organisation.
select
    trim(user_id) as user_id,
    org_id,
    full_name,
    email,
    role,
    status,
    plan,
    mrr_usd,
    is_admin,
    cast({{ moved('signed_up_on') }} as date) as signed_up_on,
    {{ moved('last_login_at') }} as last_login_at,
    login_count
from {{ ref('raw_users') }}
cross join {{ ref('demo_start') }}
where {{ on_demo_day() }}
