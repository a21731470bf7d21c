{# The hash of a row: the mapping's fingerprint and every mapped column as text. #}
{% macro pendo_row_hash(fingerprint, columns) %}
    {%- set texts = [] -%}
    {%- for column in columns -%}
        {%- do texts.append(dbt_pendo.pendo_text(dbt_pendo.pendo_name(column.name), column.dtype) | trim) -%}
    {%- endfor -%}
    {{ dbt_pendo.pendo_md5(adapter.dispatch('pendo_joined', 'dbt_pendo')(fingerprint, texts)) }}
{%- endmacro %}

{#
  What a row says of consents, as the end of its hash: a full stop, and a letter for each of them (t, f; - for null). The
  ledger keeps hashes, so it also knows which consents were delivered.

  Arguments:
    consents   the column of each of Pendo's consents, in an order that never changes; none where it is not mapped
#}
{% macro pendo_consent_letters(consents) -%}
    '.'
    {%- for column in consents %}
    || {% if column is none %}'-'{% else -%}
    case when {{ dbt_pendo.pendo_name(column.name) }} then 't' when not {{ dbt_pendo.pendo_name(column.name) }} then 'f' else '-' end
    {%- endif %}
    {%- endfor %}
{%- endmacro %}

{# The letter of one consent in a hash, from 0; of a hash without letters it is empty or null. #}
{% macro pendo_consent_letter(hash, at) -%}
    substr({{ hash }}, {{ 34 + at }}, 1)
{%- endmacro %}


{# One text from many; different inputs give different texts. #}
{% macro default__pendo_joined(first, texts) -%}
    '{{ first }}'
    {%- for text in texts %}
            {# Each text has its length before it: ('ab', 'c') and ('a', 'bc') differ, and a null from every text. -#}
            || coalesce(cast(length({{ text }}) as {{ dbt_pendo.pendo_type('string') }}) || ':' || {{ text }}, '-')
    {%- endfor -%}
{%- endmacro %}

{# JSON also separates them, and is faster: `||` copies the text so far for each new text. #}
{% macro duckdb__pendo_joined(first, texts) -%}
    concat('{{ first }}', to_json([{{ texts | join(', ') }}]))
{%- endmacro %}


{# The MD5 of a text as hex digits in lower case. #}
{% macro pendo_md5(text) -%}
    {{ return(adapter.dispatch('pendo_md5', 'dbt_pendo')(text)) }}
{%- endmacro %}

{% macro default__pendo_md5(text) -%}
    {{ return(dbt.hash(text)) }}
{%- endmacro %}

{# dbt casts to `text` first, which Redshift may cut after 256 bytes. #}
{% macro redshift__pendo_md5(text) -%}
    {{ return('md5(' ~ text ~ ')') }}
{%- endmacro %}


{# The bucket of a key: the first three hex digits of its hash, 4,096 equal shares of any table. #}
{% macro pendo_bucket(key) -%}
    substr({{ dbt_pendo.pendo_md5("coalesce(" ~ key ~ ", '')") }}, 1, 3)
{%- endmacro %}


{# A column as text, compared byte by byte. The same value gives the same text in any session time zone. #}
{% macro pendo_text(expression, dtype) -%}
    {{ return(dbt_pendo.pendo_exact(dbt_pendo.pendo_plain_text(expression, dtype) | trim)) }}
{%- endmacro %}

{# The same text, compared by the column's collation. #}
{% macro pendo_plain_text(expression, dtype) -%}
    {%- if dbt_pendo.pendo_is_padded(dtype) -%}
        {{ return(dbt_pendo.pendo_unpadded(expression)) }}
    {%- endif -%}
    {{ return(adapter.dispatch('pendo_text', 'dbt_pendo')(expression, dtype)) }}
{%- endmacro %}

{% macro default__pendo_text(expression, dtype) -%}
    {%- if dbt_pendo.pendo_has_zone(dtype) -%}
    cast({{ expression }} at time zone 'UTC' as {{ dbt_pendo.pendo_type('string') }})
    {%- else -%}
    cast({{ expression }} as {{ dbt_pendo.pendo_type('string') }})
    {%- endif -%}
{%- endmacro %}

{# Lists of timestamps depend on the session's time zone too. #}
{% macro duckdb__pendo_text(expression, dtype) -%}
    {%- set kind = dtype | lower -%}
    {%- if kind.endswith('[]') and dbt_pendo.pendo_has_zone(kind[:-2]) -%}
    cast([moment at time zone 'UTC' for moment in {{ expression }}] as {{ dbt.type_string() }})
    {%- else -%}
    {{ dbt_pendo.default__pendo_text(expression, dtype) }}
    {%- endif -%}
{%- endmacro %}

{# A session's output formats affect its casts, and the default ones cut a time to milliseconds. #}
{% macro snowflake__pendo_text(expression, dtype) -%}
    {%- set kind = dtype | lower -%}
    {%- if dbt_pendo.pendo_has_zone(dtype) -%}
    to_char(convert_timezone('UTC', {{ expression }}), 'YYYY-MM-DD HH24:MI:SS.FF9')
    {%- elif kind.startswith('timestamp') or kind.startswith('datetime') -%}
    to_char({{ expression }}, 'YYYY-MM-DD HH24:MI:SS.FF9')
    {%- elif kind == 'date' -%}
    to_char({{ expression }}, 'YYYY-MM-DD')
    {%- elif kind.startswith('time') -%}
    to_char({{ expression }}, 'HH24:MI:SS.FF9')
    {%- else -%}
    cast({{ expression }} as {{ dbt.type_string() }})
    {%- endif -%}
{%- endmacro %}

{# Redshift does not cast booleans to text, and may cut casts after 256 bytes. #}
{% macro redshift__pendo_text(expression, dtype) -%}
    {%- set kind = dtype | lower -%}
    {%- if kind.startswith('character varying') or kind.startswith('varchar') -%}
    {{ expression }}
    {%- elif kind in ('boolean', 'bool') -%}
    case when {{ expression }} then 'true' when not {{ expression }} then 'false' end
    {%- else -%}
    {{ dbt_pendo.default__pendo_text(expression, dtype) }}
    {%- endif -%}
{%- endmacro %}

{# BigQuery writes every timestamp in UTC. #}
{% macro bigquery__pendo_text(expression, dtype) -%}
    cast({{ expression }} as {{ dbt.type_string() }})
{%- endmacro %}

{% macro spark__pendo_text(expression, dtype) -%}
    {%- if dtype | lower == 'timestamp' -%}
    cast({{ dbt_pendo.spark__pendo_utc(expression) }} as {{ dbt.type_string() }})
    {%- else -%}
    cast({{ expression }} as {{ dbt.type_string() }})
    {%- endif -%}
{%- endmacro %}

{# A time as text depends on the zone of its column, of the session or of the server. #}
{% macro clickhouse__pendo_text(expression, dtype) -%}
    {%- set kind = dtype | lower -%}
    {%- if kind.startswith('datetime') -%}
    toString({{ expression }}, 'UTC')
    {%- elif kind.startswith('array(datetime') or kind.startswith('array(nullable(datetime') -%}
    toString(arrayMap(moment -> toString(moment, 'UTC'), {{ expression }}))
    {%- else -%}
    toString({{ expression }})
    {%- endif -%}
{%- endmacro %}


{% macro pendo_has_zone(dtype) -%}
    {%- set lowered = dtype | lower -%}
    {#- Not a list or structure of these. #}
    {{ return(lowered.startswith('time') and not lowered.endswith(']') and ('with time zone' in lowered
        or 'timestamptz' in lowered or 'timestamp_tz' in lowered or 'timestamp_ltz' in lowered)) }}
{%- endmacro %}


{# Whether a column holds text of a fixed width, which is padded with blanks. #}
{% macro pendo_is_padded(dtype) -%}
    {{ return((dtype | lower).split('(')[0] | trim in ('character', 'char', 'nchar', 'bpchar')) }}
{%- endmacro %}


{# Text of a fixed width without its trailing blanks. Trino pads the trimmed text again, unless it is cast first. #}
{% macro pendo_unpadded(expression) -%}
    {{ return(adapter.dispatch('pendo_unpadded', 'dbt_pendo')(expression)) }}
{%- endmacro %}

{% macro default__pendo_unpadded(expression) -%}
    {{ return("trim(trailing ' ' from cast(" ~ expression ~ ' as ' ~ dbt_pendo.pendo_type('string') ~ '))') }}
{%- endmacro %}

{# Redshift may cut casts after 256 bytes. #}
{% macro redshift__pendo_unpadded(expression) -%}
    {{ return("trim(trailing ' ' from " ~ expression ~ ')') }}
{%- endmacro %}
