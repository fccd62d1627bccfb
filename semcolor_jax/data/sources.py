"""The data set that a config asks for."""

from __future__ import annotations

from ml_collections import ConfigDict

from semcolor_jax.data.coco_stuff import find_prepared, how_to_prepare
from semcolor_jax.data.embedded import EmbeddedSource
from semcolor_jax.data.example import Source
from semcolor_jax.data.folder import FolderSource, Split
from semcolor_jax.errors import UserError


def make_source(config: ConfigDict, split: Split) -> Source:
    """Returns one split of the data set that config.data names.

    Raises:
      UserError: if there is no such data set, or it is not at config.data.dir, or it is damaged.
    """
    data = config.data
    match data.source:
        case "embedded":
            return EmbeddedSource(split)
        case "folder":
            return FolderSource(data.dir, split)
        case "coco_stuff":
            source = find_prepared(data.dir, split)
            if source is None:
                raise UserError(how_to_prepare(data.dir))
            return source
    raise UserError(f"config.data.source is {data.source!r}, which is no data set.")
