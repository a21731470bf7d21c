select * from (values ('u-1', 'pro'), ('u-2', 'free')) users(user_id, plan)
