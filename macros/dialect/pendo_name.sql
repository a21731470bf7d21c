{# A column's name, quoted; unlike `adapter.quote` also one that holds the quote itself. #}
{% macro pendo_name(name) -%}
    {%- set quote = adapter.quote('')[0] -%}
    {{- adapter.quote(name | replace(quote, quote ~ quote)) -}}
{%- endmacro %}
