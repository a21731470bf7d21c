-- evt-0200 occurs twice: the tracker retried.
-- One event has no event_id, one (evt-0175) no user_id, one (evt-0225) no time.
-- evt-0101 and evt-0102 happened before login, so their user is Pendo's anonymous id.
-- evt-0150 has VISITOR-UNIQUE-ID: a page has Pendo's install snippet with its placeholder.
-- evt-0424 and evt-0425 arrive on day 2 but happened four days before, earlier than most events already sent.
select
    event_id,
    user_id,
    org_id,
    event_name,
    feature,
    duration_seconds,
    {{ moved('occurred_at') }} as occurred_at
from {{ ref('raw_usage_events') }}
cross join {{ ref('demo_start') }}
where {{ on_demo_day() }}
