{#
  The current rows of a snapshot, as a relation to read: rows without a later version, except records that
  dbt has marked as deleted (`hard_deletes: new_record`).

  Arguments:
    snapshot          the snapshot's relation, rendered
    valid_to          the column with the end of a row's validity
    valid_to_current  SQL of its value in a current row if that is not null; else none
    is_deleted        the column that is 'True' for a deleted record; none if there is none
#}
{% macro pendo_current_rows(snapshot, valid_to, valid_to_current, is_deleted) -%}
{%- set ended = dbt_pendo.pendo_name(valid_to) -%}
(
        select *
        from {{ snapshot }}
        where (
            {{ ended }} is null
            {%- if valid_to_current is not none %}
            or {{ ended }} = {{ valid_to_current }}
            {%- endif %}
        )
        {%- if is_deleted is not none %}
        and coalesce(lower(cast({{ dbt_pendo.pendo_name(is_deleted) }} as {{ dbt_pendo.pendo_type('string') }})), 'false') <> 'true'
        {%- endif %}
    ) current_rows
{%- endmacro %}


{# What a snapshot's config in the manifest says about its current rows; that of dbt 1.8 says nothing. #}
{% macro pendo_snapshot_config(node) %}
    {{ return({
        'snapshot_meta_column_names': node.config.snapshot_meta_column_names or {},
        'dbt_valid_to_current': node.config.dbt_valid_to_current or none
    }) }}
{% endmacro %}
