{# A column's name, quoted. Unlike `adapter.quote`, it escapes a quote in the name. #}
{% macro pendo_name(name) -%}
    {%- set quote = adapter.quote('')[0] -%}
    {{- adapter.quote(name | replace(quote, quote ~ quote)) -}}
{%- endmacro %}
