"""Colours photos and image files with a trained network."""
