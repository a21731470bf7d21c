{#
  Publishes what dbt has just built, for `dbt-pendo sync --published`: writes the models with `meta.pendo` to the table
  pendo_builds. `on-run-end: "{{ dbt_pendo.publish(results) }}"` publishes the models of that run;
  `dbt run-operation dbt_pendo.publish` publishes the current tables of all models of the project.

  It renders to nothing and never stops dbt's run: if publishing fails, it logs a line.
#}
{% macro publish(results=none) %}
    {%- if execute -%}
        {%- set done = [] -%}
        {%- call dbt_pendo.pendo_try(done) -%}
            {%- set builds = dbt_pendo.pendo_builds_of(results) -%}
            {%- if builds -%}
                {%- do dbt_pendo.pendo_publish(dbt_pendo.pendo_builds_relation(dbt_pendo.pendo_schema()), builds) -%}
            {%- endif -%}
        {%- endcall -%}
        {%- if not done -%}
            {%- do log(
                'dbt_pendo: nothing was published to pendo_builds; if the warehouse refused it, dbt\'s log says why. '
                ~ 'Nothing else is affected.',
                info=true
            ) -%}
        {%- endif -%}
    {%- endif -%}
    {{ return('') }}
{% endmacro %}
