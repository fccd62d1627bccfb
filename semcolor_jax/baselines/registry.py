"""Finds colorization methods by name: the paper's own and those it compares itself with.

A method is a file in `baselines/methods/` that defines `METHOD`. `config.model.method` is the file's name; there is no
other list. Importing this module does not import JAX.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from semcolor_jax import config as common
from semcolor_jax.baselines import methods
from semcolor_jax.errors import UserError

if TYPE_CHECKING:
    import flax.linen as nn

    from semcolor_jax.baselines.published import PublishedWeights
    from semcolor_jax.losses.objective import Objective

Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """The parts of a method.

    Attributes:
      build: from a config to the network, applied as `model.apply(variables, lightness, train=...)`; it returns
        `Predictions`. Equal configs give equal, and hash-equal, networks.
      objective: the losses by name; `config.loss` has a weight for each name.
      fields: this method's own fields, and its defaults for common ones, by config section.
      check: raises `UserError` for a bad value in these fields.
      start: replaces freshly initialised variables, for instance by pretrained ones.
      labels: which of the labels "scene" and "seg" the losses use.
      rebalances: whether the losses weight colours by rarity (eq. 12), so that training measures the colour prior.
      encoder_blocks: how many blocks `config.model.frozen_blocks` can freeze.
      load_published: reads the weight file published by the method's authors. Raises `UserError`.
    """

    build: Callable[[ConfigDict], nn.Module]
    objective: Objective
    fields: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    check: Callable[[ConfigDict], None] = lambda config: None
    start: Callable[[Variables, ConfigDict], Variables] = lambda variables, config: variables
    labels: Callable[[ConfigDict], Collection[str]] = lambda config: ()
    rebalances: bool = False
    encoder_blocks: int = 0
    load_published: Callable[[Path], PublishedWeights] | None = None


def method_names() -> tuple[str, ...]:
    """Returns the names of all methods, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(methods.__path__)))


def find_method(name: str) -> Method:
    """Returns the method of that name.

    Raises:
      UserError: there is none.
    """
    if name not in method_names():
        raise UserError(f"config.model.method is {name!r}, but must be one of: {', '.join(method_names())}.")
    return importlib.import_module(f"{methods.__name__}.{name}").METHOD


def default_config(method: str) -> ConfigDict:
    """Returns the common config with the method's own defaults and fields applied.

    Raises:
      UserError: there is no such method.
    """
    return with_method(common.default(), method)


def with_method(config: ConfigDict, method: str) -> ConfigDict:
    """Returns a copy of a config for another method, with its own fields and its defaults for common ones.

    Raises:
      UserError: there is no such method.
    """
    config = ConfigDict(config.to_dict())
    config.model.method = method
    for section, fields in find_method(method).fields.items():
        config[section].update(dict(fields))
    return config


def checked(config: ConfigDict) -> ConfigDict:
    """Returns a checked copy with missing fields added (another `--config.model.method` brings its own).

    Raises:
      UserError: naming the field, the value and what is allowed.
    """
    method = find_method(config.model.method)
    complete = default_config(config.model.method)
    complete.update(config.to_dict())
    common.validate(complete)
    if complete.model.frozen_blocks > method.encoder_blocks:
        raise UserError(
            f"config.model.frozen_blocks is {complete.model.frozen_blocks}, but config.model.method is "
            f"{complete.model.method!r}, which has {method.encoder_blocks} encoder blocks to freeze."
        )
    method.check(complete)
    return complete


def config_from_saved(saved: Mapping[str, Any]) -> ConfigDict:
    """Returns the config in a `config.json` of this or an earlier version.

    Missing fields get their defaults. Fields that neither the common config nor its method has any more are dropped:
    earlier versions wrote the fields of all methods.

    Raises:
      UserError: there is no such method.
      TypeError, ValueError, KeyError: these are not the fields of a config.
    """
    defaults = common.default()
    model = _known(saved, defaults).get("model", {})
    config = default_config(model.get("method", defaults.model.method))
    config.update(_known(saved, config))
    return config


def _known(saved: Mapping[str, Any], config: ConfigDict) -> dict[str, Any]:
    if not isinstance(saved, Mapping):
        raise TypeError(f"{saved!r} stands where a section should, with {', '.join(config)}")
    return {
        name: _known(value, config[name]) if isinstance(config[name], ConfigDict) else value
        for name, value in saved.items()
        if name in config.keys()  # noqa: SIM118 - a ConfigDict's type says that it has no `in`
    }
