{#
  The schema of dbt-pendo's tables beside the target's schema: its name with a suffix. If it is too long for the warehouse,
  it is cut and gets a hash. models/sources.yml has the same code, because it cannot call a macro.
#}
{% macro pendo_schema_beside(schema, ending='_pendo') %}
    {%- set longest = dbt_pendo.pendo_longest_name() -%}
    {{ return((dbt_pendo.pendo_cut(schema, longest - ending | length) if longest else schema) ~ ending) }}
{% endmacro %}


{# The bytes after which the warehouse silently cuts a name; 0 if it refuses long names, or allows them. #}
{% macro pendo_longest_name() %}
    {{ return(adapter.dispatch('pendo_longest_name', 'dbt_pendo')()) }}
{% endmacro %}

{% macro default__pendo_longest_name() %}
    {{ return(0) }}
{% endmacro %}

{% macro postgres__pendo_longest_name() %}
    {{ return(63) }}
{% endmacro %}

{% macro redshift__pendo_longest_name() %}
    {{ return(127) }}
{% endmacro %}


{# A name of at most that many bytes: a longer one is cut and ends in its hash. #}
{% macro pendo_cut(name, longest) %}
    {#- dbt v2 has no `encode`; names there are assumed to have no multi-byte letters. -#}
    {%- set bytes = name.encode('utf-8') if name.encode is defined else name -%}
    {%- if bytes | length <= longest -%}
        {{ return(name) }}
    {%- endif -%}
    {%- set start = bytes[:longest - 9].decode('utf-8', 'ignore') if name.encode is defined else name[:longest - 9] -%}
    {{ return(start ~ '_' ~ local_md5(name)[:8]) }}
{% endmacro %}


{# The schemas of the target's database with a table of that name; a warehouse may have no such list, and refuse. #}
{% macro pendo_schemas_with(identifier) -%}
    {{ return(adapter.dispatch('pendo_schemas_with', 'dbt_pendo')(identifier)) }}
{%- endmacro %}

{% macro default__pendo_schemas_with(identifier) %}
select distinct table_schema
from {{ information_schema_name(target.database) }}.tables tables
where lower(table_name) = {{ dbt_pendo.pendo_literal(identifier | lower) }}
{% endmacro %}

{# DuckDB has one list for all attached databases. #}
{% macro duckdb__pendo_schemas_with(identifier) %}
select distinct table_schema
from information_schema.tables tables
where lower(table_catalog) = {{ dbt_pendo.pendo_literal(target.database | lower) }}
    and lower(table_name) = {{ dbt_pendo.pendo_literal(identifier | lower) }}
{% endmacro %}

{% macro clickhouse__pendo_schemas_with(identifier) %}
select distinct database
from system.tables
where name = {{ dbt_pendo.pendo_literal(identifier) }}
{% endmacro %}
