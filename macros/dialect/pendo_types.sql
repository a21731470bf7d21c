{# The type of a text column in a `create table`, wide enough for every key and message. #}
{% macro pendo_text_type() -%}
    {{ return(adapter.dispatch('pendo_text_type', 'dbt_pendo')()) }}
{%- endmacro %}

{% macro default__pendo_text_type() -%}
    {{ return(dbt.type_string()) }}
{%- endmacro %}

{# A column of Redshift's `text` holds 256 bytes. #}
{% macro redshift__pendo_text_type() -%}
    {{ return('varchar(65535)') }}
{%- endmacro %}
