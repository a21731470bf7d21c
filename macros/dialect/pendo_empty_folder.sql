{#
  The statements, one per line, that empty the folder of a table that could not be created because files are in its place;
  empty if it was refused for another reason, or if nothing can be done about it. Only for tables that are created under
  the lock of their sync: another table's folder may be that of a table in the making.

  Arguments:
    relation   the table
    refusal    why the warehouse refused to create it
#}
{% macro pendo_empty_folder(relation, refusal) -%}
    {{ return(adapter.dispatch('pendo_empty_folder', 'dbt_pendo')(relation, refusal)) }}
{%- endmacro %}

{% macro default__pendo_empty_folder(relation, refusal) -%}
    {{ return('') }}
{%- endmacro %}

{#
  A run that was killed while Spark wrote a table leaves the files, and no table in the catalog. Spark then refuses to
  create the table, and has no statement to delete the files: `drop table if exists` finds no table. So a table of another
  kind takes over the folder, is overwritten with nothing, and is dropped, which keeps the folder.

  An overwrite leaves no file behind if the table has partitions and no mark of success is written.
#}
{% macro spark__pendo_empty_folder(relation, refusal) -%}
    {#- Spark 3 puts the folder in parentheses. Spark 4 quotes it as SQL does. -#}
    {%- set found = modules.re.search("associated location ?\\(?('(?:[^'\\\\]|\\\\.)*')\\)? already exists", refusal) -%}
    {%- set folder = found.group(1) if found else '' -%}
    {%- if not folder.lower().endswith('/' ~ relation.identifier | lower ~ "'") -%}
        {{ return('') }}
    {%- endif -%}
    {%- set options = "'mapreduce.fileoutputcommitter.marksuccessfuljobs' 'false', 'partitionOverwriteMode' 'static'" -%}
    {{ return([
        'create table ' ~ relation ~ ' (nothing int, part int) using parquet options (' ~ options
            ~ ') partitioned by (part) location ' ~ folder,
        'insert overwrite ' ~ relation ~ ' select 1, 1 where 1 = 0',
        'drop table ' ~ relation
    ] | join('\n')) }}
{%- endmacro %}

{# Its tables are Delta's, whose files count only with Delta's log. #}
{% macro databricks__pendo_empty_folder(relation, refusal) -%}
    {{ return('') }}
{%- endmacro %}
