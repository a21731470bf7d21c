"""One sync, from its change set to its ledger."""
