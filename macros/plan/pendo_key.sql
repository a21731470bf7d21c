{#
  The id of a record as text: that of the key column, or `Parent::Child` of two. Empty when one of the two is empty, and
  null when one is null, so that neither ever names a record. Keys are compared byte by byte.
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
    case when trim({{ texts[0] }}) = '' or trim({{ texts[1] }}) = '' then '' else {{ texts | join(" || '::' || ") }} end
    {%- endset -%}
    {{ dbt_pendo.pendo_exact(joined) }}
    {%- endif -%}
{%- endmacro %}
