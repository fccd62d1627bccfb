"""One file for each method of colorization, named after it; see `semcolor_jax.baselines.registry`."""
