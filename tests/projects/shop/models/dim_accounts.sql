select
    {{ "error('no luck today')" if env_var('SHOP_IS_BROKEN', '') else "'a-1'" }} as account_id,
    'pro' as plan
