"""Published weights, read safely and laid out as Flax parameters."""
