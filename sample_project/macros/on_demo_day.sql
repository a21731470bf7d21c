{# The rows that a source system holds on the demo's day: see "The two days" in README.md. #}
{% macro on_demo_day() -%}
    {%- set day = var('demo_day') | int -%}
    first_day <= {{ day }} and (last_day is null or last_day >= {{ day }})
{%- endmacro %}
