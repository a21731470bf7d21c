{# Text as a string literal of the dialect; none becomes a null of the string type. #}
{% macro pendo_literal(text) -%}
    {%- if text is none -%}
    cast(null as {{ dbt.type_string() }})
    {%- else -%}
    {{ adapter.dispatch('pendo_quote_text', 'dbt_pendo')(text) }}
    {%- endif -%}
{%- endmacro %}

{# Texts as literals, with commas between them. #}
{% macro pendo_literals(texts) -%}
    {%- for text in texts -%}{{ dbt_pendo.pendo_literal(text) }}{{ ', ' if not loop.last }}{%- endfor -%}
{%- endmacro %}

{% macro default__pendo_quote_text(text) -%}
    '{{ text | replace("'", "''") }}'
{%- endmacro %}

{# PostgreSQL has no NUL in a text, and Pendo may have one in an id. #}
{% macro postgres__pendo_quote_text(text) -%}
    {{ dbt_pendo.default__pendo_quote_text(text | replace("\0", "\ufffd")) }}
{%- endmacro %}

{# These dialects read a backslash in a literal as an escape; BigQuery allows no line break in one. #}
{% macro bigquery__pendo_quote_text(text) -%}
    '{{ text | replace("\\", "\\\\") | replace("'", "\\'") | replace("\n", "\\n") | replace("\r", "\\r") }}'
{%- endmacro %}

{# Spark puts a setting or an environment variable in place of `${name}`, wherever it stands. #}
{% macro spark__pendo_quote_text(text) -%}
    {{ dbt_pendo.bigquery__pendo_quote_text(text) | replace("${", "$\\{") }}
{%- endmacro %}

{% macro snowflake__pendo_quote_text(text) -%}
    {{ dbt_pendo.bigquery__pendo_quote_text(text) }}
{%- endmacro %}

{#
  Without a single backslash, which is an escape here: dbt-redshift cuts statements with sqlparse, which takes the
  quote after two of them for a part of the text. With a type, for a bare literal has none as a column; its length is in
  bytes, of which a character has four at most (dbt v2's Jinja cannot count them).
#}
{% macro redshift__pendo_quote_text(text) -%}
    {%- set quoted = dbt_pendo.postgres__pendo_quote_text(text) | replace("\\", "' || chr(92) || '") -%}
    cast({{ quoted }} as varchar({{ [[4 * text | length, 1] | max, 65535] | min }}))
{%- endmacro %}
