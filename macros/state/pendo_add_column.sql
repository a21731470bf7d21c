{# Adds a column to a dbt-pendo table of an earlier version; it is null in existing rows. #}
{% macro pendo_add_column(relation, name, type) -%}
    {{ return(adapter.dispatch('pendo_add_column', 'dbt_pendo')(relation, name, type)) }}
{%- endmacro %}

{% macro default__pendo_add_column(relation, name, type) -%}
    {{ return('alter table ' ~ relation ~ ' add column ' ~ name ~ ' ' ~ type) }}
{%- endmacro %}

{% macro sqlserver__pendo_add_column(relation, name, type) -%}
    {{ return('alter table ' ~ relation ~ ' add ' ~ name ~ ' ' ~ type) }}
{%- endmacro %}

{% macro fabric__pendo_add_column(relation, name, type) -%}
    {{ return(dbt_pendo.sqlserver__pendo_add_column(relation, name, type)) }}
{%- endmacro %}

{% macro spark__pendo_add_column(relation, name, type) -%}
    {{ return('alter table ' ~ relation ~ ' add columns (' ~ name ~ ' ' ~ type ~ ')') }}
{%- endmacro %}

{# Athena reads this as Hive: names in backticks, without the catalog. #}
{% macro athena__pendo_add_column(relation, name, type) -%}
    {{ return('alter table ' ~ ((relation ~ '').partition('.')[2] | replace('"', '`')) ~ ' add columns (' ~ name ~ ' ' ~ type ~ ')') }}
{%- endmacro %}
