"""Names and downloads the three archives that COCO-Stuff is published in."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from semcolor_jax.data.download import download, partial, verify
from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """An archive as it is published.

    Attributes:
      url: where.
      gigabytes: its size, as the publisher's page gives it.
      size: in bytes; None if never published to the byte.
      sha256: hexadecimal; None if never published.
    """

    url: str
    gigabytes: float
    size: int | None = None
    sha256: str | None = None


PUBLISHED = {
    # Sizes and checksums are those of TensorFlow Datasets' own `coco`.
    "train2017.zip": PublishedFile(
        url="http://images.cocodataset.org/zips/train2017.zip",
        gigabytes=19.3,
        size=19336861798,
        sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    "val2017.zip": PublishedFile(
        url="http://images.cocodataset.org/zips/val2017.zip",
        gigabytes=0.8,
        size=815585330,
        sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
    # Published without a checksum, so its structure is checked: a label map for every photo, and the zip's own CRC-32.
    "stuffthingmaps_trainval2017.zip": PublishedFile(
        url="http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
        gigabytes=0.7,
    ),
}
"""By file name: the photos of both splits, and their label maps."""

LABEL_ARCHIVE = "stuffthingmaps_trainval2017.zip"
PHOTOS = {"train": 118_287, "validation": 5_000}
"""Number of published photos, by split."""


def download_archives(folder: Path) -> dict[str, Path]:
    """Downloads what is not in the folder yet, resuming earlier downloads.

    Raises:
      UserError: as `download`.
    """
    for name, file in PUBLISHED.items():
        download(file.url, folder / name, size=file.size, sha256=file.sha256)
    return {name: folder / name for name in PUBLISHED}


def bytes_to_download(folder: Path) -> int:
    """Returns how much of the archives is not in the folder yet."""
    missing = 0
    for name, file in PUBLISHED.items():
        if not (folder / name).exists():
            part = partial(folder / name)
            have = part.stat().st_size if part.exists() else 0
            missing += max(0, (file.size or int(file.gigabytes * 1e9)) - have)
    return missing


def find_archives(folder: Path) -> dict[str, Path]:
    """Returns the archives that the user has downloaded into a folder.

    Raises:
      UserError: saying which are missing and where they are published.
    """
    missing = [name for name in PUBLISHED if not (folder / name).is_file()]
    if missing:
        wanted = ", ".join(f"{name} ({PUBLISHED[name].gigabytes} GB, {PUBLISHED[name].url})" for name in missing)
        raise UserError(f"there is no file {folder / missing[0]}: put {wanted} there as published.")
    return {name: folder / name for name in PUBLISHED}


def verify_archives(archives: Mapping[str, Path]) -> None:
    """Verifies archives of the user's.

    One of a different size is accepted with a warning, because it may be a subset, or repacked; a damaged one of the
    right size is not.

    Raises:
      UserError: if an archive has the published size but a different checksum.
    """
    for name, path in archives.items():
        published, size = PUBLISHED[name], path.stat().st_size
        if published.size not in (None, size):
            logger.warning(
                "%s has %s bytes, not the %s of the published archive: it is taken as it is.",
                path,
                f"{size:,}",
                f"{published.size:,}",
            )
            continue
        try:
            verify(path, size=published.size, sha256=published.sha256)
        except UserError as error:
            raise UserError(f"{error}: delete it and download it again.") from error


def check_space(needs: Mapping[str, tuple[Path, int]]) -> None:
    """Logs the disk space that preparing takes, and compares it with what is free.

    Args:
      needs: folder and bytes, by purpose. Folders need not exist yet.

    Raises:
      UserError: if a file system has too little space.
    """
    total = sum(size for _, size in needs.values())
    parts = " and ".join(f"{size / 1e9:.1f} GB {what}" for what, (_, size) in needs.items())
    logger.info("COCO-Stuff takes %.1f GB of disk: %s", total / 1e9, parts)
    wanted: dict[int, int] = {}
    for folder, size in needs.values():
        place = _existing(folder)
        device = os.stat(place).st_dev
        wanted[device] = wanted.get(device, 0) + size
        free = shutil.disk_usage(place).free
        if wanted[device] > free:
            raise UserError(
                f"{folder} has {free / 1e9:.1f} GB free, but COCO-Stuff takes {total / 1e9:.1f} GB ({parts}): free "
                "some space, or name another folder."
            )


def _existing(folder: Path) -> Path:
    """Returns the folder, or its nearest existing parent."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())
