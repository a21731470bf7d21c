{#
  The current rows of a snapshot, as a relation to read: those that no later version has ended, but for records that
  dbt has noted as deleted (`hard_deletes: new_record`).

  Arguments:
    snapshot          the snapshot's relation, rendered
    valid_to          the column that says until when a row was current
    valid_to_current  SQL of the value that it has in a current row instead of null; none where there is none
    is_deleted        the column that is 'True' where a record was deleted; none where there is none
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
        and coalesce(lower(cast({{ dbt_pendo.pendo_name(is_deleted) }} as {{ dbt.type_string() }})), 'false') <> 'true'
        {%- endif %}
    ) current_rows
{%- endmacro %}


{# What the config of a snapshot says of its current rows, as a manifest has it; that of dbt 1.8 says nothing. #}
{% macro pendo_snapshot_config(node) %}
    {{ return({
        'snapshot_meta_column_names': node.config.snapshot_meta_column_names or {},
        'dbt_valid_to_current': node.config.dbt_valid_to_current or none
    }) }}
{% endmacro %}
