{# The statement that renames a table of ours, and fails if there is one of the new name; empty if the adapter's does. #}
{% macro pendo_rename_table(relation, new_relation) -%}
    {{ return(adapter.dispatch('pendo_rename_table', 'dbt_pendo')(relation, new_relation)) }}
{%- endmacro %}

{% macro default__pendo_rename_table(relation, new_relation) -%}
    {{ return('') }}
{%- endmacro %}

{# dbt-clickhouse's drops the table of the new name first. #}
{% macro clickhouse__pendo_rename_table(relation, new_relation) -%}
    {{ return('rename table ' ~ relation ~ ' to ' ~ new_relation) }}
{%- endmacro %}
