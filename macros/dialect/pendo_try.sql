{#
  Runs its block, and adds to `done` if the block completed. An error in the block stops only the block.

  Jinja has no `try`. But a `for` runs its filter only when the next item is requested. The test whether `loop` is a
  sequence requests all items, and treats any error as false (except an interrupt). dbt v2 has another Jinja, which runs
  the filter before the loop, so an error there is not caught.
#}
{% macro pendo_try(done) %}
    {%- for step in ['before', 'block'] if step == 'before' or done.append(caller()) is none -%}
        {%- set tried = loop is sequence -%}
    {%- endfor -%}
{% endmacro %}


{# Whether `pendo_try` catches errors. #}
{% macro pendo_can_try() %}
    {{ return(not dbt_version.startswith('2.')) }}
{% endmacro %}
