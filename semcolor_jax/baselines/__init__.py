"""Colorization methods that the paper compares itself with, beside its own, and how to build them."""
