"""Colouring photos and files with a trained network."""
