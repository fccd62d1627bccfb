"""From a config and data to trained weights: optimizer, state, step and the loop around them."""
