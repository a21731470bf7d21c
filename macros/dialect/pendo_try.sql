{#
  Runs the block it is called with, and adds to `done` if that came to its end; an error in it ends the block alone.

  Jinja has no `try`. But the filter of a `for` runs only when its next item is asked for, and to find out whether the
  loop itself is a sequence is to ask for all of them, in a test that takes any error for a no. (It does not take an
  interrupt for one.) dbt v2 has another Jinja, which runs the filter before the loop: there an error is an error.
#}
{% macro pendo_try(done) %}
    {%- for step in ['before', 'block'] if step == 'before' or done.append(caller()) is none -%}
        {%- set tried = loop is sequence -%}
    {%- endfor -%}
{% endmacro %}


{# Whether `pendo_try` can hold an error back. #}
{% macro pendo_can_try() %}
    {{ return(not dbt_version.startswith('2.')) }}
{% endmacro %}
