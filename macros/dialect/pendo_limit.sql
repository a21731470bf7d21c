{# The clause that ends a select after so many rows. `is_ordered` says whether there is an `order by` before it. #}
{% macro pendo_limit(row_limit, is_ordered=true) -%}
    {{ return(adapter.dispatch('pendo_limit', 'dbt_pendo')(row_limit, is_ordered)) }}
{%- endmacro %}

{% macro default__pendo_limit(row_limit, is_ordered) -%}
    {{ return('limit ' ~ row_limit) }}
{%- endmacro %}

{% macro sqlserver__pendo_limit(row_limit, is_ordered) -%}
    {{ return(('' if is_ordered else 'order by (select null) ') ~ 'offset 0 rows fetch next ' ~ row_limit ~ ' rows only') }}
{%- endmacro %}

{% macro fabric__pendo_limit(row_limit, is_ordered) -%}
    {{ return(dbt_pendo.sqlserver__pendo_limit(row_limit, is_ordered)) }}
{%- endmacro %}
