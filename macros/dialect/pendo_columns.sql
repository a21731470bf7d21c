{#
  The columns of a readable relation for which the adapter finds none: name, type, in the information schema's words. Empty
  if there is no such relation. dbt reads PostgreSQL's information schema, which has no materialized views.
#}
{% macro pendo_columns(relation) %}
    {{ return(adapter.dispatch('pendo_columns', 'dbt_pendo')(relation)) }}
{% endmacro %}

{% macro default__pendo_columns(relation) %}{% endmacro %}

{% macro postgres__pendo_columns(relation) %}
select
    columns.attname as column_name,
    case
        when base.typelem <> 0 and base.typlen = -1 then 'ARRAY'
        when base.typnamespace <> cast('pg_catalog' as regnamespace) then 'USER-DEFINED'
        {#- For a domain, its base type. The fractional digits of a time's seconds do not matter. #}
        else format_type(
            base.oid,
            case
                when base.typcategory = 'D' then null
                when types.typbasetype <> 0 then types.typtypmod
                else columns.atttypmod
            end
        )
    end as data_type
from pg_catalog.pg_attribute columns
join pg_catalog.pg_type types on columns.atttypid = types.oid
join pg_catalog.pg_type base on base.oid = coalesce(nullif(types.typbasetype, 0), types.oid)
where columns.attrelid = cast({{ dbt_pendo.pendo_literal(relation.include(database=false) ~ '') }} as regclass)
    and columns.attnum > 0
    and not columns.attisdropped
order by columns.attnum
{% endmacro %}

{# Redshift would inherit PostgreSQL's; its adapter also knows late-binding views and external tables. #}
{% macro redshift__pendo_columns(relation) %}{% endmacro %}
