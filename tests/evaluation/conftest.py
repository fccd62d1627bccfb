from samples import make_sample, true_colors  # noqa: F401
