{#
  The statement by which the warehouse says what another would scan, without running it; empty if it has none.
  warehouse/costs.py reads the answer.
#}
{% macro pendo_explain(statement) %}
    {{ return(adapter.dispatch('pendo_explain', 'dbt_pendo')(statement)) }}
{% endmacro %}

{% macro default__pendo_explain(statement) %}
    {{ return('') }}
{% endmacro %}

{# Compiled without a virtual warehouse. #}
{% macro snowflake__pendo_explain(statement) %}
    {{ return('explain using json ' ~ statement) }}
{% endmacro %}

{# Redshift inherits it. #}
{% macro postgres__pendo_explain(statement) %}
    {{ return('explain ' ~ statement) }}
{% endmacro %}

{# Databricks inherits it. #}
{% macro spark__pendo_explain(statement) %}
    {{ return('explain cost ' ~ statement) }}
{% endmacro %}

{% macro duckdb__pendo_explain(statement) %}
    {{ return('explain (format json) ' ~ statement) }}
{% endmacro %}
