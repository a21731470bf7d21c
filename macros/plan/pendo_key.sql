{#
  The id of a record as text: the key column's, or `Parent::Child` from two columns. Empty if one of the two is empty, and
  null if one is null, so that neither can name a record. Keys are compared byte by byte.
#}
{% macro pendo_key(columns) -%}
    {%- set texts = [] -%}
    {%- for column in columns -%}
        {%- do texts.append(dbt_pendo.pendo_text(dbt_pendo.pendo_name(column.name), column.dtype) | trim) -%}
    {%- endfor -%}
    {%- if texts | length == 1 -%}
    {{ texts[0] }}
    {%- else -%}
    {%- set joined -%}
    case when trim({{ texts[0] }}) = '' or trim({{ texts[1] }}) = '' then '' else {{ texts | join(' ' ~ dbt_pendo.pendo_and_then() ~ " '::' " ~ dbt_pendo.pendo_and_then() ~ ' ') }} end
    {%- endset -%}
    {{ dbt_pendo.pendo_exact(joined) }}
    {%- endif -%}
{%- endmacro %}


{# Whether a visitor id is one that Pendo gives to an anonymous visitor. #}
{% macro pendo_is_anonymous(text) -%}
    substring({{ text }}, 1, 9) = '_PENDO_T_' or substring({{ text }}, 1, 7) = 'PENDO_T' or {{ text }} = 'VISITOR-UNIQUE-ID'
{%- endmacro %}
