{#
  The columns of a relation that the adapter finds none of, though it can be read: name, type. Empty where there is no
  such relation. PostgreSQL's information schema, which dbt asks, has no materialized views.
#}
{% macro pendo_columns(relation) %}
    {{ return(adapter.dispatch('pendo_columns', 'dbt_pendo')(relation)) }}
{% endmacro %}

{% macro default__pendo_columns(relation) %}{% endmacro %}

{% macro postgres__pendo_columns(relation) %}
select attname, format_type(atttypid, atttypmod)
from pg_attribute
where attrelid = cast({{ dbt_pendo.pendo_literal(relation.include(database=false) ~ '') }} as regclass)
    and attnum > 0
    and not attisdropped
order by attnum
{% endmacro %}

{# Redshift would inherit PostgreSQL's; its adapter knows late-binding views and external tables as well. #}
{% macro redshift__pendo_columns(relation) %}{% endmacro %}
