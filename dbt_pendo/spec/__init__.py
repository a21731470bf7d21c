"""What the user declared: ``meta.pendo`` → frozen syncs, and its JSON Schema."""
