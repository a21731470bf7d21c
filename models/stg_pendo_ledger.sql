{{ config(materialized='ephemeral', enabled=dbt_pendo.pendo_wants_models()) }}

{#- Named for dbt's lineage, and for its schema: each sync has such a table. #}
{%- set ledgers = dbt_pendo.pendo_ledgers(source('dbt_pendo', 'ledger')) %}

{%- for ledger in ledgers or [{'sync': none, 'relation': none}] %}
select
    {{ dbt_pendo.pendo_literal(ledger.sync) }} as sync,
    latest.record_key,
    latest.row_hash,
    latest.status,
    latest.detail,
    latest.attempts,
    latest.run_id,
    latest.logged_at,
    latest.destination,
    latest.commit_number,
    latest.strand
from (
    {{ dbt_pendo.pendo_latest(ledger.relation) }}
) latest
{%- if ledger.relation %}
where {{ dbt_pendo.pendo_is_current(ledger.relation) }}
{%- endif %}
{%- if not loop.last %}
union all
{% endif %}
{%- endfor %}
