"""Opens the data set that a config names."""

from __future__ import annotations

from ml_collections import ConfigDict

from semcolor_jax.data.colourful import ColourfulSource
from semcolor_jax.data.embedded import EmbeddedSource
from semcolor_jax.data.example import Source
from semcolor_jax.data.folder import FolderSource, Split
from semcolor_jax.data.mix import MixedSource, MixPart, parse_mix
from semcolor_jax.data.packs import open_pack
from semcolor_jax.data.test_sets import TEST_SETS, PublishedTestSource
from semcolor_jax.errors import UserError


def make_source(config: ConfigDict, split: Split) -> Source:
    """Returns one split of the data set that config.data names; for training, without photos below data.min_chroma.

    Raises:
      UserError: if the data set is unknown, not at config.data.dir, or damaged.
    """
    source, min_chroma = _named_source(config, split), config.data.min_chroma
    # A mix leaves them out source by source, so that its weights still hold.
    if split == "val" or not min_chroma or config.data.source == "mix":
        return source
    if isinstance(source, MixedSource):
        return source.each(lambda part: ColourfulSource(part, min_chroma=min_chroma))
    return ColourfulSource(source, min_chroma=min_chroma)


def _named_source(config: ConfigDict, split: Split) -> Source:
    data = config.data
    match data.source:
        case "embedded":
            return EmbeddedSource(split)
        case "folder":
            return FolderSource(data.dir, split)
        case "pack":
            return open_pack(data.dir, split)
        case "coco_stuff":
            from semcolor_jax.data.coco_stuff import find_prepared, how_to_prepare  # the one that needs TFDS

            source = find_prepared(data.dir, split, short_side=data.short_side)
            if source is None:
                raise UserError(how_to_prepare(data.dir, short_side=data.short_side))
            return source
        case "mix":
            parts = parse_mix(data.mix)
            sources = [make_source(_config_of_part(config, part), split) for part in parts]
            # Evaluation takes each sample once, so weights have no effect.
            weights = [part.weight for part in parts] if split == "train" else [len(source) for source in sources]
            return MixedSource(sources, weights=weights)
        case name if name in TEST_SETS:
            return PublishedTestSource(name, data.dir, split)
    raise UserError(f"config.data.source is {data.source!r}, which is no data set.")


def _config_of_part(config: ConfigDict, part: MixPart) -> ConfigDict:
    """Returns the config of a training on this part of the mix alone."""
    config = config.copy_and_resolve_references()
    config.data.source, config.data.dir = part.source, part.dir
    return config
