{#
  The columns of a relation as dbt finds them, for dbt-pendo alone. dbt asks PostgreSQL's information schema, which keeps
  materialized views out: theirs are read from the catalog, in the same words.
#}
{% macro postgres__get_columns_in_relation(relation) -%}
    {%- set found = dbt.postgres__get_columns_in_relation(relation) -%}
    {%- if found -%}
        {{ return(found) }}
    {%- endif -%}
    {%- call statement('pendo_columns_of_view', fetch_result=true) -%}
select
    attname as column_name,
    case
        when typelem <> 0 and typlen = -1 then 'ARRAY'
        when typnamespace = 'pg_catalog'::regnamespace then format_type(type_id, null)
        else 'USER-DEFINED'
    end as data_type,
    information_schema._pg_char_max_length(type_id, type_mod) as character_maximum_length,
    information_schema._pg_numeric_precision(type_id, type_mod) as numeric_precision,
    information_schema._pg_numeric_scale(type_id, type_mod) as numeric_scale
from (
    select
        columns.attname,
        columns.attnum,
        base.typelem,
        base.typlen,
        base.typnamespace,
        base.oid as type_id,
        case when types.typbasetype = 0 then columns.atttypmod else types.typtypmod end as type_mod
    from pg_catalog.pg_attribute columns
    join pg_catalog.pg_type types on columns.atttypid = types.oid
    join pg_catalog.pg_type base on base.oid = coalesce(nullif(types.typbasetype, 0), types.oid)
    where columns.attrelid = to_regclass({{ dbt_pendo.pendo_literal(relation.include(database=false) ~ '') }})
        and columns.attnum > 0
        and not columns.attisdropped
) named
order by attnum
    {%- endcall -%}
    {{ return(sql_convert_columns_in_relation(load_result('pendo_columns_of_view').table)) }}
{%- endmacro %}
