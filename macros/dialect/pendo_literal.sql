{# Text as a string literal of the dialect; none becomes a null of the string type. #}
{% macro pendo_literal(text) -%}
    {%- if text is none -%}
    cast(null as {{ dbt_pendo.pendo_type('string') }})
    {%- else -%}
    {{ adapter.dispatch('pendo_quote_text', 'dbt_pendo')(text) }}
    {%- endif -%}
{%- endmacro %}

{# Texts as literals, separated by commas. #}
{% macro pendo_literals(texts) -%}
    {%- for text in texts -%}{{ dbt_pendo.pendo_literal(text) }}{{ ', ' if not loop.last }}{%- endfor -%}
{%- endmacro %}

{% macro default__pendo_quote_text(text) -%}
    '{{ text | replace("'", "''") }}'
{%- endmacro %}

{# PostgreSQL allows no NUL in a text, but a Pendo id may contain one. #}
{% macro postgres__pendo_quote_text(text) -%}
    {{ dbt_pendo.default__pendo_quote_text(text | replace("\0", "\ufffd")) }}
{%- endmacro %}

{# These dialects read a backslash in a literal as an escape; BigQuery allows no line break in one. #}
{% macro bigquery__pendo_quote_text(text) -%}
    '{{ text | replace("\\", "\\\\") | replace("'", "\\'") | replace("\n", "\\n") | replace("\r", "\\r") }}'
{%- endmacro %}

{# Spark replaces `${name}` anywhere in a statement with a setting or an environment variable. #}
{% macro spark__pendo_quote_text(text) -%}
    {{ dbt_pendo.bigquery__pendo_quote_text(text) | replace("${", "$\\{") }}
{%- endmacro %}

{% macro snowflake__pendo_quote_text(text) -%}
    {{ dbt_pendo.bigquery__pendo_quote_text(text) }}
{%- endmacro %}

{% macro clickhouse__pendo_quote_text(text) -%}
    {{ dbt_pendo.bigquery__pendo_quote_text(text) | replace("\0", "\\0") }}
{%- endmacro %}

{#
  Contains no backslash, which is an escape here: dbt-redshift splits statements with sqlparse, which reads the quote
  after two backslashes as part of the text. It has a type, because a bare literal has none as a column. The length is in
  bytes, at most four per character (dbt v2's Jinja cannot count them).
#}
{% macro redshift__pendo_quote_text(text) -%}
    {%- set quoted = dbt_pendo.postgres__pendo_quote_text(text) | replace("\\", "' || chr(92) || '") -%}
    cast({{ quoted }} as varchar({{ [[4 * text | length, 1] | max, 65535] | min }}))
{%- endmacro %}
