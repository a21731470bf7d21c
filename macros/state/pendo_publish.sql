{#
  Writes builds (see `pendo_builds_of`); the first time, it also creates the table. To check whether the table exists would
  cost another statement in every run, so, where errors can be caught, a failed insert shows that it is missing.

  Statements run as dbt runs a hook's, each in a separate transaction: an error does not affect the user's next
  hooks.
#}
{% macro pendo_publish(relation, builds) %}
    {%- set parts = dbt_pendo.pendo_build_parts(builds) -%}
    {%- set insert = dbt_pendo.pendo_add_builds(relation, parts[0]) -%}
    {%- set done = [] -%}
    {%- if dbt_pendo.pendo_can_try() or adapter.get_relation(relation.database, relation.schema, relation.identifier) -%}
        {%- call dbt_pendo.pendo_try(done) -%}
            {%- do adapter.execute(insert) -%}
        {%- endcall -%}
    {%- endif -%}
    {%- if not done -%}
        {#- Either may exist already, created by an administrator or concurrently; the insert shows whether all is well. #}
        {%- call dbt_pendo.pendo_try([]) -%}
            {%- do adapter.create_schema(relation) -%}
        {%- endcall -%}
        {#-
          dbt creates schemas in a transaction. After a failed one psycopg2 opens another, which would include the user's
          next hooks and never be committed. A transaction that succeeds ends that state.
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
    {%- for part in parts[1:] -%}
        {%- do adapter.execute(dbt_pendo.pendo_add_builds(relation, part)) -%}
    {%- endfor -%}
    {%- set count = builds | selectattr('action', 'equalto', 'published') | list | length -%}
    {%- set models = '1 model' if count == 1 else count ~ ' models' -%}
    {%- do log('dbt_pendo: published ' ~ models ~ ' to ' ~ relation, info=true) -%}
{% endmacro %}


{#
  The rows in parts, each for one statement: no warehouse takes fewer than 262,144 bytes (Athena, ClickHouse), and a long
  union may be too complex (BigQuery).
#}
{% macro pendo_build_parts(rows) %}
    {%- set parts, sizes = [], [] -%}
    {%- for row in rows -%}
        {#- The names and types of the columns, and the values, of which every character may have to be escaped. #}
        {%- set lengths = [1200] -%}
        {%- for value in row.values() if value is string -%}
            {%- do lengths.append(2 * value | length) -%}
        {%- endfor -%}
        {%- set size = lengths | sum -%}
        {%- if parts and parts[-1] | length < 50 and sizes[-1] + size < 200000 -%}
            {%- do parts[-1].append(row) -%}
            {%- do sizes.append(sizes[-1] + size) -%}
        {%- else -%}
            {%- do parts.append([row]) -%}
            {%- do sizes.append(size) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(parts) }}
{% endmacro %}


{# The schema of dbt-pendo's tables, by the same rules as in dbt-pendo. #}
{% macro pendo_schema() %}
    {%- set settings = var('dbt_pendo', none) or {} -%}
    {%- set targets = settings.get('targets') -%}
    {%- set own = (targets.get(target.name) or {}) if targets is mapping else {} -%}
    {%- set named = env_var('DBT_PENDO_SCHEMA', '') or own.get('schema') or settings.get('schema') -%}
    {{ return(named or dbt_pendo.pendo_schema_beside(target.schema)) }}
{% endmacro %}


{# The table of the builds in that schema, with the same name as in dbt-pendo. #}
{% macro pendo_builds_relation(schema) %}
    {%- set name = {'database': target.database or none, 'schema': schema} -%}
    {%- do name.update({'identifier': 'pendo_builds', 'type': 'table'}) -%}
    {#- Ignores the quoting of the user's project: dbt-pendo opens another project, which has no quoting settings. #}
    {%- if api.Relation.get_default_quote_policy is defined -%}
        {%- do name.update({'quote_policy': api.Relation.get_default_quote_policy().to_dict()}) -%}
    {%- endif -%}
    {{ return(api.Relation.create(**name)) }}
{% endmacro %}


{#
  The rows of pendo_builds for this invocation: for a command that builds, the models in `results`; for
  `dbt run-operation`, all models, without knowing how they were built. None for other commands, which also run hooks.
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
            {#- A relationships test also reads the other model, but does not test it. #}
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


{# Adds a node's row, if it is a model, seed or snapshot with a mapping at it or at a column; a null removes it. #}
{% macro pendo_add_build(builds, node, status, tests) %}
    {%- if node.resource_type in ['model', 'seed', 'snapshot'] -%}
        {%- set mapping = dbt_pendo.pendo_metas(node) -%}
        {%- set columns, marks = {}, {} -%}
        {%- for name, column in (node.columns or {}).items() -%}
            {%- set found = dbt_pendo.pendo_marks(column) -%}
            {%- if found -%}
                {%- do marks.update({column.name or name: found}) -%}
            {%- endif -%}
            {#- In dbt v2, columns without meta inherit the model's. #}
            {%- for meta in dbt_pendo.pendo_metas(column) if meta not in mapping -%}
                {%- do columns.update({column.name or name: meta}) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- if mapping != [none] and (mapping or columns) -%}
            {%- set version = '_v' ~ node.version if node.version is defined and node.version is not none else '' -%}
            {%- set flag = invocation_args_dict -%}
            {#- First, so that nobody reads the model without them. Tables of earlier versions have no columns for them. #}
            {%- set details = {} -%}
            {%- if node.resource_type == 'snapshot' -%}
                {%- do details.update({'snapshot': dbt_pendo.pendo_snapshot_config(node)}) -%}
            {%- endif -%}
            {%- if marks -%}
                {%- do details.update({'marks': marks}) -%}
            {%- endif -%}
            {%- for action, detail in details.items() -%}
                {%- do builds.append({
                    'action': action,
                    'unique_id': node.unique_id,
                    'invocation_id': invocation_id,
                    'mapping': tojson(detail)
                }) -%}
            {%- endfor -%}
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
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{# The `meta.pendo` of a model or a column, as a list of one; empty if there is none. #}
{% macro pendo_metas(holder) %}
    {%- for meta in [(holder.config or {}).meta, holder.meta] if meta is mapping and 'pendo' in meta -%}
        {{ return([meta.pendo]) }}
    {%- endfor -%}
    {{ return([]) }}
{% endmacro %}


{# What marks a column as personal data, as in dbt-pendo (project/artifacts.py): `meta.pii`, and its tags. #}
{% macro pendo_marks(column) %}
    {%- set found = [] -%}
    {%- for holder in [column.config or {}, column] -%}
        {%- if holder.meta is mapping and holder.meta.pii is true -%}
            {%- do found.append('meta.pii') -%}
        {%- endif -%}
        {%- do found.extend([holder.tags] if holder.tags is string else holder.tags or []) -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}
