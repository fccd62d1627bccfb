"""Reads and writes weights on disk: training runs, released models, and finding one by name."""
