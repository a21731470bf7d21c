-- One row a thing done in the product, bad rows included (see stg_usage_events).
select
    event_id,
    user_id,
    org_id,
    event_name,
    feature,
    duration_seconds,
    occurred_at
from {{ ref('stg_usage_events') }}
