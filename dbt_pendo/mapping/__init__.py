"""`meta.pendo` becomes a `SyncSpec` (pure)."""
