-- One row per organisation, with sums over its users: when a user changes plan, the account changes too.
with organisations as (

    select * from {{ ref('stg_organisations') }}

),

users as (

    select
        org_id,
        count(distinct user_id) as seats,
        sum(mrr_usd) as mrr_usd
    from {{ ref('stg_users') }}
    where status <> 'deactivated'
    group by org_id

)

select
    organisations.org_id,
    organisations.org_name,
    organisations.industry,
    organisations.country,
    organisations.plan,
    organisations.is_paying,
    organisations.renewal_on,
    coalesce(users.seats, 0) as seats,
    cast(coalesce(users.mrr_usd, 0) * 12 as decimal(18, 2)) as arr_usd
from organisations
left join users on organisations.org_id = users.org_id
where organisations.org_id is not null -- a prospect is no account yet
order by organisations.org_id -- two builds are alike, also in what a plan shows first
