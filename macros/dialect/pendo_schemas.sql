{#
  The schema of dbt-pendo's tables beside that of a target: its name with an ending. One too long for the warehouse is
  cut and told apart by its hash; models/sources.yml, which can call no macro, has the same.
#}
{% macro pendo_schema_beside(schema, ending='_pendo') %}
    {%- set longest = dbt_pendo.pendo_longest_name() -%}
    {{ return((dbt_pendo.pendo_cut(schema, longest - ending | length) if longest else schema) ~ ending) }}
{% endmacro %}


{# How many bytes a name may have where a longer one is cut without a word; 0 where it is refused, or is fine. #}
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


{# A name of so many bytes at most: one that is longer is cut and told apart by its hash. #}
{% macro pendo_cut(name, longest) %}
    {#- dbt v2 has no `encode`; there a name is taken to have no letters of several bytes. -#}
    {%- set bytes = name.encode('utf-8') if name.encode is defined else name -%}
    {%- if bytes | length <= longest -%}
        {{ return(name) }}
    {%- endif -%}
    {%- set start = bytes[:longest - 9].decode('utf-8', 'ignore') if name.encode is defined else name[:longest - 9] -%}
    {{ return(start ~ '_' ~ local_md5(name)[:8]) }}
{% endmacro %}
