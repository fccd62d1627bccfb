"""One file per colorization method, named after it; see `semcolor_jax.baselines.registry`."""
