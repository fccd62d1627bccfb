"""Checks the shapes and dtypes that functions promise: pyproject.toml names `checked` to jaxtyping's import hook.

Types without a shape are pyright's business. Of lists beartype looks at one item, another one each time, so what holds
arrays of several shapes would pass or fail by chance: they are left out, too. So are constructors: JAX builds pytrees
of whatever it has in the place of an array.
"""

import inspect
import types
from typing import Any, Union, get_args, get_origin

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

_beartype: Any = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, too, as for type checkers


def checked(function: Any) -> Any:
    """Has beartype check those annotations of a function that are arrays of a shape."""
    shapes = {name: hint for name, hint in function.__annotations__.items() if _has_shape(hint)}
    if not shapes or function.__name__ == "__init__":
        return function
    function.__annotations__ = shapes
    return _beartype(function)


def _has_shape(hint: Any) -> bool:
    """Whether a hint is an array of a shape, or a union or a tuple of known length with one."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType) or (origin is tuple and ... not in parts):
        return any(map(_has_shape, parts))
    return inspect.isclass(hint) and issubclass(hint, AbstractArray)
