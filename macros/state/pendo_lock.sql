{#
  The lock of a sync: a table, because `create table` is the only operation that is atomic on every engine. Its creator
  holds the lock; each further row is a heartbeat. A run that will be silent for longer than usual says when that begins to
  count: `seen_at` is then later than now.
#}
{% macro pendo_create_lock(lock, run_id, host, pid) %}
create table {{ lock }}{{ dbt_pendo.pendo_storage() }} as
{{ dbt_pendo.pendo_sign_of_life(run_id, host, pid) }}
{% endmacro %}


{# `pause`: the seconds from now on in which the run's silence does not count. #}
{% macro pendo_renew_lock(lock, run_id, host, pid, pause=0) %}
insert into {{ lock }} (run_id, host, pid, seen_at)
{{ dbt_pendo.pendo_sign_of_life(run_id, host, pid, pause) }}
{% endmacro %}


{% macro pendo_sign_of_life(run_id, host, pid, pause=0) %}
select
    {{ dbt_pendo.pendo_literal(run_id) }} as run_id,
    {{ dbt_pendo.pendo_literal(host) }} as host,
    cast({{ pid }} as {{ dbt_pendo.pendo_type('int') }}) as pid,
    {{ dbt_pendo.pendo_seconds_ago(-pause) if pause else dbt_pendo.pendo_now() }} as seen_at
{% endmacro %}


{# The holder of the lock, the start, and the seconds since the last heartbeat. #}
{% macro pendo_read_lock(lock) %}
select
    run_id,
    host,
    pid,
    {{ dbt_pendo.pendo_fetched('since', dbt_pendo.pendo_type('timestamp')) }} as since,
    {{ dbt.datediff('last_seen_at', dbt_pendo.pendo_now(), 'second') }} as silent_for
from (
    select run_id, host, pid, min(seen_at) as since, max(seen_at) as last_seen_at
    from {{ lock }}
    group by run_id, host, pid
) holders
order by holders.since
{% endmacro %}
