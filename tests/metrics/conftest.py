from samples import make_sample  # noqa: F401
