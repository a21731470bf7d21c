{# Adds a column to a table of ours that an earlier version made; it is null in the rows that are there. #}
{% macro pendo_add_column(relation, name, type) -%}
    {{ return(adapter.dispatch('pendo_add_column', 'dbt_pendo')(relation, name, type)) }}
{%- endmacro %}

{% macro default__pendo_add_column(relation, name, type) -%}
    {{ return('alter table ' ~ relation ~ ' add column ' ~ name ~ ' ' ~ type) }}
{%- endmacro %}

{% macro spark__pendo_add_column(relation, name, type) -%}
    {{ return('alter table ' ~ relation ~ ' add columns (' ~ name ~ ' ' ~ type ~ ')') }}
{%- endmacro %}

{# Athena wants Hive's form, and its names in such a statement in backticks or without quotes. #}
{% macro athena__pendo_add_column(relation, name, type) -%}
    {{ return('alter table ' ~ (relation | replace('"', '`')) ~ ' add columns (' ~ name ~ ' ' ~ type ~ ')') }}
{%- endmacro %}
