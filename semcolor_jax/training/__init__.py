"""Trains networks: optimizer, state, step and loop."""
