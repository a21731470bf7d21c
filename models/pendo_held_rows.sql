{{ config(materialized='table', enabled=dbt_pendo.pendo_wants_models()) }}

with entries as (
    select
        *,
        row_number() over (partition by sync, record_key order by commit_number desc, run_id desc) as age
    from {{ ref('stg_pendo_ledger') }}
),

last_runs as (
    select
        sync,
        invalid,
        row_number() over (partition by sync order by logged_at desc, run_id desc) as age
    from {{ ref('stg_pendo_runs') }}
    where status in ('success', 'warn', 'partial')
),

held as (
    select
        entries.sync,
        entries.status,
        {#- A reason may contain the row's id, and each row would have a different reason. #}
        coalesce(
            case
                when entries.record_key = '' then entries.detail
                else {{ dbt_pendo.pendo_replaced('entries.detail', 'entries.record_key', "'<key>'") }}
            end,
            'no reason given'
        ) as reason,
        entries.record_key,
        entries.attempts,
        entries.logged_at
    from entries
    left join last_runs on entries.sync = last_runs.sync and last_runs.age = 1
    where entries.age = 1
        and (
            entries.status in ('missing', 'rejected')
            {#- A row that is again as it was delivered gets no new entry; the last run tells whether any row is invalid. #}
            or (entries.status = 'invalid' and coalesce(last_runs.invalid, 1) > 0)
        )
)

select
    sync,
    status,
    reason,
    cast(count(*) as {{ dbt_pendo.pendo_type('bigint') }}) as row_count,
    min(logged_at) as first_tried_at,
    max(logged_at) as last_tried_at,
    max(attempts) as most_attempts,
    min(record_key) as example_key
from held
group by sync, status, reason
