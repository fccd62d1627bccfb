from networks import rng  # noqa: F401
