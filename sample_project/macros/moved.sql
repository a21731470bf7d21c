{# A date or time of a seed as models have it: moved by as many days as demo_start says. #}
{% macro moved(column) -%}
    {{ column }} + to_days(moved_by)
{%- endmacro %}
