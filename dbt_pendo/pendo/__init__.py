"""Pendo's HTTP API: one client, one small module an API."""
