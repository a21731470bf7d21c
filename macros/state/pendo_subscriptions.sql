{#
  Which Pendo the ledger of a sync belongs to: append-only, the latest row of each sync counts. `host` is null once the
  ledger was reset. `fingerprint` is a keyed hash: it tells whether the key is another one, and nothing about the key.
#}
{% macro pendo_create_subscriptions(subscriptions) %}
{%- set text = dbt_pendo.pendo_text_type() -%}
{{ dbt_pendo.pendo_create_table(subscriptions, [
    ('sync', text), ('host', text), ('fingerprint', dbt_pendo.pendo_type('string')), ('target_schema', text),
    ('logged_at', dbt_pendo.pendo_type('timestamp')), ('note_number', dbt_pendo.pendo_type('bigint'))
]) }}
{% endmacro %}


{# Notes whose the ledger of a sync is from now on; none for nobody's. #}
{% macro pendo_note_subscription(subscriptions, sync, host, fingerprint, target_schema) %}
insert into {{ subscriptions }} (sync, host, fingerprint, target_schema, logged_at, note_number)
select
    {{ dbt_pendo.pendo_literal(sync) }},
    {{ dbt_pendo.pendo_literal(host) }},
    {{ dbt_pendo.pendo_literal(fingerprint) }},
    {{ dbt_pendo.pendo_literal(target_schema) }},
    {{ dbt_pendo.pendo_now() }},
    coalesce(max(note_number), 0) + 1
from {{ subscriptions }} notes
{% endmacro %}


{# The latest note about each sync: sync, host, fingerprint, target_schema. #}
{% macro pendo_read_subscriptions(subscriptions) %}
select sync, host, fingerprint, target_schema
from (
    select
        sync,
        host,
        fingerprint,
        target_schema,
        row_number() over (
            partition by {{ dbt_pendo.pendo_exact('sync') }} order by note_number desc, logged_at desc
        ) as age
    from {{ subscriptions }} notes
) noted
where age = 1
{% endmacro %}
