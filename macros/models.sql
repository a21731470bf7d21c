{# Helpers of the package's models. The user builds these models; dbt-pendo never reads them. #}

{# Whether the user wants the models: `models: true` under `vars: dbt_pendo:`. #}
{% macro pendo_wants_models() %}
    {{ return((var('dbt_pendo', none) or {}).models or false) }}
{% endmacro %}


{# Whether a table is in the warehouse; it is not before the first sync. #}
{% macro pendo_is_there(relation) %}
    {{ return(load_relation(relation) is not none) }}
{% endmacro %}


{# What to select the run log from: it is empty before the first sync, and one of an earlier version lacks columns. #}
{% macro pendo_runs_of(runs) %}
    {%- if not dbt_pendo.pendo_is_there(runs) -%}
        {{ return('(' ~ dbt_pendo.pendo_no_runs() ~ ')') }}
    {%- endif -%}
    {%- set lacking = dbt_pendo.pendo_lacking(runs, dbt_pendo.pendo_run_columns()) -%}
    {{ return(dbt_pendo.pendo_older_runs(runs, lacking) if lacking else runs) }}
{% endmacro %}


{# The names of the columns, of [(name, type)], that a table of an earlier version lacks. #}
{% macro pendo_lacking(relation, columns) %}
    {%- set found = adapter.get_columns_in_relation(relation) | map(attribute='name') | map('lower') | list -%}
    {%- set lacking = [] -%}
    {%- for column in columns if column[0] not in found -%}
        {%- do lacking.append(column[0]) -%}
    {%- endfor -%}
    {{ return(lacking) }}
{% endmacro %}


{# An empty run log. #}
{% macro pendo_no_runs() %}
    select
        {%- for column in dbt_pendo.pendo_run_columns() %}
        cast(null as {{ column[1] }}) as {{ column[0] }},
        {%- endfor %}
        {{ dbt_pendo.pendo_now() }} as logged_at
    from (select 1 as nothing) nothing
    where 1 = 0
{% endmacro %}


{#
  The ledgers of the project's syncs in the warehouse: [{sync, relation}]; the relation may be a subquery.

  Arguments:
    one   any relation in their schema
#}
{% macro pendo_ledgers(one) %}
    {%- set found = [] -%}
    {%- if execute -%}
        {%- for sync in dbt_pendo.pendo_sync_names() -%}
            {%- set name = dbt_pendo.pendo_ledger_name(sync) -%}
            {%- set relation = adapter.get_relation(one.database, one.schema, name) -%}
            {%- if relation is not none -%}
                {%- do found.append({'sync': sync, 'relation': dbt_pendo.pendo_entries_of(relation)}) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(found) }}
{% endmacro %}


{# What to select a ledger's entries from: a ledger of an earlier version lacks columns until its next sync. #}
{% macro pendo_entries_of(ledger) %}
    {%- set lacking = dbt_pendo.pendo_lacking(ledger, dbt_pendo.pendo_ledger_columns()) -%}
    {{ return(dbt_pendo.pendo_carried_entries(ledger, lacking, '') if lacking else ledger) }}
{% endmacro %}


{# The names of the project's syncs, as dbt-pendo names them (mapping/parse.py): `model`, or `model.name`. #}
{% macro pendo_sync_names() %}
    {%- set names = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type in ['model', 'seed', 'snapshot'] -%}
        {%- set version = '_v' ~ node.version if node.version is defined and node.version is not none else '' -%}
        {%- set metas = dbt_pendo.pendo_metas(node) -%}
        {%- set pendo = metas[0] if metas else none -%}
        {%- set mappings = pendo if pendo is sequence and pendo is not string and pendo is not mapping else [pendo] -%}
        {%- for one in mappings if one is mapping -%}
            {%- set name = node.name ~ version ~ ('.' ~ one.name if one.name else '') -%}
            {%- if name not in names -%}
                {%- do names.append(name) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(names | sort) }}
{% endmacro %}


{# The name of a sync's ledger, as in warehouse/session.py: a long name is cut and ends in its hash. #}
{% macro pendo_ledger_name(sync) %}
    {{ return(dbt_pendo.pendo_cut(sync | replace('.', '__'), 50) ~ '__ledger') }}
{% endmacro %}


{# A text in which all of a part are replaced; all three are expressions. #}
{% macro pendo_replaced(text, part, other) %}
    {{- return(adapter.dispatch('pendo_replaced', 'dbt_pendo')(text, part, other)) -}}
{% endmacro %}

{% macro default__pendo_replaced(text, part, other) %}
    {{- return(dbt.replace(text, part, other)) -}}
{% endmacro %}

{# dbt-clickhouse's takes the part for a text, and quotes it. #}
{% macro clickhouse__pendo_replaced(text, part, other) %}
    {{- return('replaceAll(' ~ text ~ ', ' ~ part ~ ', ' ~ other ~ ')') -}}
{% endmacro %}
