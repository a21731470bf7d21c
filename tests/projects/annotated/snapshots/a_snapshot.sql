{% snapshot a_snapshot %}
{{ config(target_schema='main', unique_key='id', strategy='check', check_cols='all',
          meta={'pendo': {'object': 'visitor', 'visitor_id': 'id', 'fields': {'plan': 'plan'}}}) }}
select * from {{ ref('people') }}
{% endsnapshot %}
