from tiny_training import memory_data, tiny_config  # noqa: F401
