{#
  What the ledger knows about each key at the sync's current destination, as the table expression `known`, one row per key.
  Its columns of failures may be in another one, `failures`, that is joined apart. `delivered_hash` is as `pendo_compared`
  makes it, unless `with_consents`, which are read from it.

  A key's history has three strands, and the latest row of each counts: `settled` (delivered, removed) is the last
  completed change, `failed` (missing, rejected) a later failed attempt, `invalid` a row that was never sent. With separate
  strands, a row that was invalid for a while is not sent again when it returns unchanged, and a record whose last
  update failed is still known to be in Pendo.
#}
{% macro pendo_known(ledger, destination, with_consents) %}
    {{- adapter.dispatch('pendo_known', 'dbt_pendo')(ledger, destination, with_consents) -}}
{% endmacro %}

{% macro default__pendo_known(ledger, destination, with_consents) %}
known as (
    select
        record_key,
        max(case when strand = 'settled' and status = 'delivered' then row_hash end) as delivered_hash,
        max(case when strand = 'settled' then commit_number end) as settled_number,
        max(case when strand = 'failed' then commit_number end) as failed_number,
        max(case when strand = 'failed' then logged_at end) as failed_at,
        max(case when strand = 'failed' then row_hash end) as failed_hash,
        max(case when strand = 'failed' then status end) as failed_status,
        max(case when strand = 'failed' then attempts end) as attempts,
        max(case when strand = 'invalid' then row_hash end) as invalid_hash
    from (
        {{ dbt_pendo.pendo_latest(ledger, destination) }}
    ) latest
    group by record_key
),
{%- endmacro %}

{#
  DuckDB holds every key in memory to join it, so nothing else is to be there: failures are few, and joined apart. Only
  keys with several entries go through `arg_max`, which would keep a copy of each hash.
#}
{% macro duckdb__pendo_known(ledger, destination, with_consents) %}
    {%- set entries = ledger if ledger else '(' ~ dbt_pendo.pendo_no_entries() ~ ')' -%}
    {%- set here = dbt_pendo.pendo_exact('destination') ~ ' = ' ~ dbt_pendo.pendo_literal(destination) -%}
    {%- set settled -%}
(
        select {{ dbt_pendo.pendo_exact('record_key') }} as record_key, commit_number,
            {{ 'rowid' if not entries.startswith('(') else 'row_number() over () - 1' }} as place,
            case when status = 'delivered' then {{ 'row_hash' if with_consents else dbt_pendo.pendo_compared('row_hash') }} end as delivered_hash
        from {{ entries }} entries
        where {{ here }} and status in ('delivered', 'removed')
    ) settled
    {%- endset -%}
repeated as materialized (
    select record_key
    from {{ settled }}
    group by record_key
    having count(*) > 1
),

known as (
    select record_key, delivered_hash, commit_number as settled_number, place
    from {{ settled }}
    anti join repeated on settled.record_key = repeated.record_key
    union all
    select record_key, arg_max_null(delivered_hash, commit_number), max(commit_number), max(place)
    from {{ settled }}
    semi join repeated on settled.record_key = repeated.record_key
    group by record_key
),

failures as (
    select
        record_key,
        failed_number,
        failed.logged_at as failed_at,
        failed.row_hash as failed_hash,
        failed.status as failed_status,
        failed.attempts as attempts,
        invalid_hash
    from (
        select
            {{ dbt_pendo.pendo_exact('record_key') }} as record_key,
            max(commit_number) filter (where status <> 'invalid') as failed_number,
            arg_max(struct_pack(logged_at, row_hash, status, attempts), commit_number)
                filter (where status <> 'invalid') as failed,
            arg_max(row_hash, commit_number) filter (where status = 'invalid') as invalid_hash
        from {{ entries }} entries
        where {{ here }} and status not in ('delivered', 'removed')
        group by 1
    ) others
),
{%- endmacro %}


{# A row's hash, to compare with another one. DuckDB holds all of the ledger's in memory: eight bytes of them will do. #}
{% macro pendo_compared(row_hash) %}
    {{ return(adapter.dispatch('pendo_compared', 'dbt_pendo')(row_hash)) }}
{% endmacro %}

{% macro default__pendo_compared(row_hash) %}
    {{ return(row_hash) }}
{% endmacro %}

{% macro duckdb__pendo_compared(row_hash) %}
    {{ return('hash(' ~ row_hash ~ ')') }}
{% endmacro %}


{# The name of the table expression with the failures. #}
{% macro pendo_failures() %}
    {{ return(adapter.dispatch('pendo_failures', 'dbt_pendo')()) }}
{% endmacro %}

{% macro default__pendo_failures() %}
    {{ return('known') }}
{% endmacro %}

{% macro duckdb__pendo_failures() %}
    {{ return('failures') }}
{% endmacro %}


{#
  The rows of the ledger that count: for each key and destination, the latest row of each strand. The latest row has the
  largest commit number, because a clock may go back.

  Arguments:
    ledger        the ledger's relation, or a subquery with its columns; none for an empty ledger
    destination   only rows with this destination; none for all
  with_first    also the first `delivered` row of each key and destination: with these, what compaction keeps
#}
{% macro pendo_latest(ledger, destination=none, with_first=false) %}
        select {{ dbt_pendo.pendo_ledger_names() }}, strand
        from (
            select
                stranded.*,
                row_number() over (
                    partition by record_key, strand{{ ', destination' if destination is none }}
                    order by commit_number desc, run_id desc
                ) as age
                {%- if with_first %},
                row_number() over (partition by record_key, destination, status order by commit_number, run_id) as place
                {%- endif %}
            from (
                select
                    {{ dbt_pendo.pendo_exact('record_key') }} as record_key,
                    row_hash,
                    change,
                    status,
                    detail,
                    attempts,
                    run_id,
                    logged_at,
                    {{ dbt_pendo.pendo_exact('destination') }} as destination,
                    commit_number,
                    case
                        when status in ('delivered', 'removed') then 'settled'
                        when status = 'invalid' then 'invalid'
                        else 'failed'
                    end as strand
                from {{ ledger if ledger else '(' ~ dbt_pendo.pendo_no_entries() ~ ')' }} entries
                {%- if destination is not none %}
                where {{ dbt_pendo.pendo_exact('destination') }} = {{ dbt_pendo.pendo_literal(destination) }}
                {%- endif %}
            ) stranded
        ) aged
        where age = 1{{ " or (status = 'delivered' and place = 1)" if with_first }}
{% endmacro %}


{# An empty ledger. #}
{% macro pendo_no_entries() %}
    select
        {%- for name, type in dbt_pendo.pendo_ledger_columns() if name != 'logged_at' %}
        cast(null as {{ type }}) as {{ name }},
        {%- endfor %}
        {{ dbt_pendo.pendo_now() }} as logged_at
    from (select 1 as nothing) nothing
    where 1 = 0
{% endmacro %}
