from scene_files import _own_cache, write_constant_h5, write_photo  # noqa: F401
from tiny_training import tiny_config  # noqa: F401
