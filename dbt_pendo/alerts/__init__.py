"""Sends alerts."""
