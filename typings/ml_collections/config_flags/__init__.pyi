from typing import Any

from ml_collections.config_flags import config_flags as config_flags

def DEFINE_config_file(name: str, default: str | None = ..., help_string: str = ..., **kwargs: Any) -> Any: ...
