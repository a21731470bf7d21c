{# The run log: one row per sync and run, the results of pendo_results.json as plain columns. #}
{% macro pendo_create_runs(runs) %}
{{ dbt_pendo.pendo_create_table(runs, dbt_pendo.pendo_run_columns() + [('logged_at', dbt_pendo.pendo_type('timestamp'))]) }}
{% endmacro %}


{# Writes rows: each maps each column of pendo_run_columns to its value. #}
{% macro pendo_log_runs(runs, rows) %}
insert into {{ runs }} ({{ dbt_pendo.pendo_run_columns() | map(attribute=0) | join(', ') }}, logged_at)
{% for row in rows -%}
{{ 'union all\n' if not loop.first }}select
    {%- for column in dbt_pendo.pendo_run_columns() %}
    {%- set value = row[column[0]] %}
    {%- if column[1] == dbt_pendo.pendo_text_type() %}
    {{ dbt_pendo.pendo_literal(value) }},
    {%- else %}
    cast({{ value }} as {{ column[1] }}),
    {%- endif %}
    {%- endfor %}
    {{ dbt_pendo.pendo_now() }}
{% endfor %}
{%- endmacro %}


{% macro pendo_run_columns() %}
    {%- set text, number, real = dbt_pendo.pendo_text_type(), dbt_pendo.pendo_type('bigint'), dbt_pendo.pendo_type('float') -%}
    {{ return([
        ('run_id', text), ('sync', text), ('unique_id', text), ('object', text), ('status', text),
        ('message', text), ('added', number), ('changed', number), ('removed', number),
        ('unchanged', number), ('invalid', number), ('held', number), ('delivered', number),
        ('missing', number), ('rejected', number), ('requests', number), ('retries', number),
        ('bytes', number), ('duration', real), ('target', text), ('pendo_host', text),
        ('deleted', number), ('cleared', number)
    ]) }}
{% endmacro %}


{# Adds one of them to a table of an earlier version. #}
{% macro pendo_add_run_column(runs, name) %}
    {%- for column in dbt_pendo.pendo_run_columns() if column[0] == name -%}
    {{ dbt_pendo.pendo_add_column(runs, name, column[1]) }}
    {%- endfor -%}
{% endmacro %}


{# The rows of a table of an earlier version, as a subquery with the columns that it lacks. #}
{% macro pendo_older_runs(runs, lacking) -%}
(
    select
        {%- for name, type in dbt_pendo.pendo_run_columns() %}
        {{ 'cast(null as ' ~ type ~ ') as ' ~ name if name in lacking else name }},
        {%- endfor %}
        logged_at
    from {{ runs }} older
)
{%- endmacro %}
