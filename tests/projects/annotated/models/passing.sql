{{ config(materialized='ephemeral') }} select 'a' as id, 'pro' as plan
