-- One row has no org_id: a prospect in the CRM that the product does not know yet. pendo_accounts leaves it out.
-- Names keep the customers' spelling: umlauts, Japanese, quotes, an ampersand, an emoji.
-- The two organisations on trial (org-12, org-15) have no renewal date; a few lack industry or country.
select
    org_id,
    org_name,
    industry,
    country,
    plan,
    is_paying,
    cast({{ moved('renewal_on') }} as date) as renewal_on
from {{ ref('raw_organisations') }}
cross join {{ ref('demo_start') }}
where {{ on_demo_day() }}
