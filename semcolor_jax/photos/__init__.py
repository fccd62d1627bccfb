"""Reads and writes image files, with colour profiles and metadata."""
