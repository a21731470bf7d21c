-- By how many days all dates of the seeds are moved: their second day, 2026-06-02, becomes the day of the first build.
-- The table is incremental, so later builds keep the number: a date changes only where a seed says so.
{{ config(materialized='incremental') }}

select cast(cast('{{ run_started_at.strftime("%Y-%m-%d") }}' as date) - date '2026-06-02' as integer) as moved_by
{% if is_incremental() %}
where false
{% endif %}
