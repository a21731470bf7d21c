"""Reading back through ``POST /api/v1/aggregation`` (pendo-api.md 6): stages, and the expressions in them."""
