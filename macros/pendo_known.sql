{#
  What the ledger knows of each key, one row a key.

  A key's history has three strands, and the latest row of each counts: `settled` (delivered, removed) says
  what was last done about it, `failed` (missing, rejected) that a later attempt was in vain, `invalid` that the row was
  never sent. They are kept apart so that a row that was invalid for a while is not sent again when it is back
  as it was, and a record whose last update failed is still known to be in Pendo.
#}
{% macro pendo_known(ledger) %}
    select
        record_key,
        max(case when strand = 'settled' and status = 'delivered' then row_hash end) as delivered_hash,
        max(case when strand = 'settled' then logged_at end) as settled_at,
        max(case when strand = 'failed' then logged_at end) as failed_at,
        max(case when strand = 'failed' then row_hash end) as failed_hash,
        max(case when strand = 'failed' then status end) as failed_status,
        max(case when strand = 'failed' then attempts end) as attempts,
        max(case when strand = 'invalid' then row_hash end) as invalid_hash
    from (
        {{ dbt_pendo.pendo_latest(ledger) }}
    ) latest
    group by record_key
{% endmacro %}


{# The rows of the ledger that count: of each key the latest row of each strand. Compaction keeps just these. #}
{% macro pendo_latest(ledger) %}
        select record_key, row_hash, status, detail, attempts, run_id, logged_at, strand
        from (
            select
                stranded.*,
                row_number() over (partition by record_key, strand order by logged_at desc, run_id desc) as age
            from (
                select
                    entries.*,
                    case
                        when status in ('delivered', 'removed') then 'settled'
                        when status = 'invalid' then 'invalid'
                        else 'failed'
                    end as strand
                from {{ ledger if ledger else '(' ~ dbt_pendo.pendo_no_entries() ~ ')' }} entries
            ) stranded
        ) aged
        where age = 1
{% endmacro %}


{# A ledger without a row. #}
{% macro pendo_no_entries() %}
    select
        cast(null as {{ dbt.type_string() }}) as record_key,
        cast(null as {{ dbt.type_string() }}) as row_hash,
        cast(null as {{ dbt.type_string() }}) as status,
        cast(null as {{ dbt.type_string() }}) as detail,
        cast(null as {{ dbt.type_int() }}) as attempts,
        cast(null as {{ dbt.type_string() }}) as run_id,
        {{ dbt_pendo.pendo_now() }} as logged_at
    from (select 1 as nothing) nothing
    where 1 = 0
{% endmacro %}
