{#
  Writes builds (see `pendo_builds_of`) with one statement; the very first makes the table as well. To look whether it
  is there would be a statement more in every run, so it is the refusal that tells, where an error can be held back.

  Statements run as dbt runs those of a hook, each in a transaction of its own: an error leaves nothing behind that
  the user's next hooks would feel.
#}
{% macro pendo_publish(relation, builds) %}
    {%- set insert = dbt_pendo.pendo_add_builds(relation, builds) -%}
    {%- set done = [] -%}
    {%- if dbt_pendo.pendo_can_try() or adapter.get_relation(relation.database, relation.schema, relation.identifier) -%}
        {%- call dbt_pendo.pendo_try(done) -%}
            {%- do adapter.execute(insert) -%}
        {%- endcall -%}
    {%- endif -%}
    {%- if not done -%}
        {#- Either may be there, made by an administrator or this very moment; whether all is well, the insert shows. #}
        {%- call dbt_pendo.pendo_try([]) -%}
            {%- do adapter.create_schema(relation) -%}
        {%- endcall -%}
        {#-
          dbt makes schemas in a transaction. After one that failed psycopg2 opens another by itself, which would take
          in the user's next hooks and be committed by nobody; one that ends well puts that right.
        #}
        {%- call dbt_pendo.pendo_try([]) -%}
            {%- do adapter.execute('select 1', auto_begin=true) -%}
            {%- do adapter.commit() -%}
        {%- endcall -%}
        {%- call dbt_pendo.pendo_try([]) -%}
            {%- do adapter.execute(dbt_pendo.pendo_create_builds(relation)) -%}
        {%- endcall -%}
        {%- do adapter.execute(insert) -%}
    {%- endif -%}
    {%- set count = builds | selectattr('action', 'equalto', 'published') | list | length -%}
    {%- set models = '1 model' if count == 1 else count ~ ' models' -%}
    {%- do log('dbt_pendo: published ' ~ models ~ ' to ' ~ relation, info=true) -%}
{% endmacro %}


{# The schema of dbt-pendo's tables, found as dbt-pendo finds it. #}
{% macro pendo_schema() %}
    {%- set settings = var('dbt_pendo', none) or {} -%}
    {{ return(env_var('DBT_PENDO_SCHEMA', '') or settings.get('schema') or dbt_pendo.pendo_schema_beside(target.schema)) }}
{% endmacro %}


{# The table of the builds in that schema, named as dbt-pendo names it. #}
{% macro pendo_builds_relation(schema) %}
    {%- set name = {'database': target.database or none, 'schema': schema} -%}
    {%- do name.update({'identifier': 'pendo_builds', 'type': 'table'}) -%}
    {#- Not quoted as the user's project says: dbt-pendo opens one of its own, which says nothing. #}
    {%- if api.Relation.get_default_quote_policy is defined -%}
        {%- do name.update({'quote_policy': api.Relation.get_default_quote_policy().to_dict()}) -%}
    {%- endif -%}
    {{ return(api.Relation.create(**name)) }}
{% endmacro %}


{#
  The rows of pendo_builds that this invocation has to publish: of a command that builds, the models in `results`; of
  `dbt run-operation` all, of which it does not know how they were built. None for other commands, which run hooks too.
#}
{% macro pendo_builds_of(results) %}
    {%- set builds = [] -%}
    {%- if flags.WHICH == 'run-operation' -%}
        {%- for node in graph.nodes.values() -%}
            {%- do dbt_pendo.pendo_add_build(builds, node, none, none) -%}
        {%- endfor -%}
    {%- elif flags.WHICH in ['run', 'build', 'seed', 'snapshot', 'retry'] -%}
        {%- set tests = {} -%}
        {%- for result in results or [] if result.node.resource_type in ['test', 'unit_test'] -%}
            {#- A test of relationships reads the other model as well, and says nothing about that one. #}
            {%- set attached = result.node.attached_node or result.node.tested_node_unique_id -%}
            {%- for tested in ([attached] if attached else result.node.depends_on.nodes) -%}
                {%- if tested not in tests -%}
                    {%- do tests.update({tested: {}}) -%}
                {%- endif -%}
                {%- do tests[tested].update({result.node.unique_id: result.status ~ ''}) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- for result in results or [] if result.node.unique_id in graph.nodes -%}
            {%- set id = result.node.unique_id -%}
            {%- do dbt_pendo.pendo_add_build(builds, graph.nodes[id], result.status ~ '', tests.get(id, {})) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(builds) }}
{% endmacro %}


{# Adds a node's row, if it is a model, seed or snapshot that is mapped, or of which a column is; a null takes it out. #}
{% macro pendo_add_build(builds, node, status, tests) %}
    {%- if node.resource_type in ['model', 'seed', 'snapshot'] -%}
        {%- set mapping = dbt_pendo.pendo_metas(node) -%}
        {%- set columns = {} -%}
        {%- for name, column in (node.columns or {}).items() -%}
            {#- dbt v2 lets columns that have no meta of their own inherit the model's. #}
            {%- for meta in dbt_pendo.pendo_metas(column) if meta not in mapping -%}
                {%- do columns.update({column.name or name: meta}) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- if mapping != [none] and (mapping or columns) -%}
            {%- set version = '_v' ~ node.version if node.version is defined and node.version is not none else '' -%}
            {%- set flag = invocation_args_dict -%}
            {%- do builds.append({
                'action': 'published',
                'unique_id': node.unique_id,
                'invocation_id': invocation_id,
                'command': flags.WHICH,
                'status': status,
                'partial': '--empty' if flag.get('empty') else '--sample' if flag.get('sample') else none,
                'tests': none if tests is none else tojson(tests),
                'model': node.name ~ version,
                'file': (node.patch_path or '').split('://')[-1] or node.original_file_path,
                'database_name': node.database,
                'schema_name': node.schema,
                'identifier': node.alias or node.name,
                'relation_name': node.relation_name,
                'materialized': node.config.materialized,
                'mapping': tojson(mapping[0]) if mapping else none,
                'column_mappings': tojson(columns),
                'build_order': builds | length
            }) -%}
            {%- if node.resource_type == 'snapshot' -%}
                {%- do builds.append({
                    'action': 'snapshot',
                    'unique_id': node.unique_id,
                    'invocation_id': invocation_id,
                    'mapping': tojson(dbt_pendo.pendo_snapshot_config(node))
                }) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{# What `meta.pendo` of a model or a column says, as a list of one; empty where there is none. #}
{% macro pendo_metas(holder) %}
    {%- for meta in [(holder.config or {}).meta, holder.meta] if meta is mapping and 'pendo' in meta -%}
        {{ return([meta.pendo]) }}
    {%- endfor -%}
    {{ return([]) }}
{% endmacro %}
