select 'a' as id, 'pro' as plan, timestamp '2026-01-01' as at
