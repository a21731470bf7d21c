-- One row per action in the product, including bad rows (see stg_usage_events).
select
    event_id,
    user_id,
    org_id,
    event_name,
    feature,
    duration_seconds,
    occurred_at
from {{ ref('stg_usage_events') }}
