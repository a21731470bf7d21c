{# The statement that creates an empty table of columns [(name, type)]. #}
{% macro pendo_create_table(relation, columns) -%}
    {{- adapter.dispatch('pendo_create_table', 'dbt_pendo')(relation, columns) -}}
{%- endmacro %}

{% macro default__pendo_create_table(relation, columns) -%}
create table {{ relation }} (
    {%- for name, type in columns %}
    {{ dbt_pendo.pendo_own_name(name) }} {{ type }}{{ ',' if not loop.last }}
    {%- endfor %}
){{ dbt_pendo.pendo_storage() }}
{%- endmacro %}

{# Athena would read a list of columns as Hive, which takes no quoted names, and wants a place for the files. #}
{% macro athena__pendo_create_table(relation, columns) -%}
create table {{ relation }} as
select
    {%- for name, type in columns %}
    cast(null as {{ type }}) as {{ name }}{{ ',' if not loop.last }}
    {%- endfor %}
from (select 1 as nothing) nothing
where 1 = 0
{%- endmacro %}

{# The statement that creates a table of a select's rows. #}
{% macro pendo_create_table_as(relation, rows) -%}
    {{- adapter.dispatch('pendo_create_table_as', 'dbt_pendo')(relation, rows) -}}
{%- endmacro %}

{% macro default__pendo_create_table_as(relation, rows) -%}
create table {{ relation }}{{ dbt_pendo.pendo_storage() }} as
{{ rows }}
{%- endmacro %}

{# It has no `create table as`, and Fabric has. #}
{% macro sqlserver__pendo_create_table_as(relation, rows) -%}
select * into {{ relation }}
from (
{{ rows }}
) made
{%- endmacro %}
