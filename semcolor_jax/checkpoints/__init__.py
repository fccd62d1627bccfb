"""Weights on disk: training runs, released models, and finding one by its name."""
