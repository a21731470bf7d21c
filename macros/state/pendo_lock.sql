{#
  The lock of a sync: a table, for `create table` is the one thing that is atomic on every engine. Who creates it
  holds the lock; each further row is a sign of life.
#}
{% macro pendo_create_lock(lock, run_id, host, pid) %}
create table {{ lock }}{{ dbt_pendo.pendo_storage() }} as
{{ dbt_pendo.pendo_sign_of_life(run_id, host, pid) }}
{% endmacro %}


{% macro pendo_renew_lock(lock, run_id, host, pid) %}
insert into {{ lock }} (run_id, host, pid, seen_at)
{{ dbt_pendo.pendo_sign_of_life(run_id, host, pid) }}
{% endmacro %}


{% macro pendo_sign_of_life(run_id, host, pid) %}
select
    {{ dbt_pendo.pendo_literal(run_id) }} as run_id,
    {{ dbt_pendo.pendo_literal(host) }} as host,
    cast({{ pid }} as {{ dbt.type_int() }}) as pid,
    {{ dbt_pendo.pendo_now() }} as seen_at
{% endmacro %}


{# Who holds the lock, since when, and how many seconds ago it last gave a sign of life. #}
{% macro pendo_read_lock(lock) %}
select
    run_id,
    host,
    pid,
    {{ dbt_pendo.pendo_fetched('since', dbt.type_timestamp()) }},
    {{ dbt.datediff('seen_at', dbt_pendo.pendo_now(), 'second') }} as silent_for
from (
    select run_id, host, pid, min(seen_at) as since, max(seen_at) as seen_at
    from {{ lock }}
    group by run_id, host, pid
) holders
order by since
{% endmacro %}
