"""Measures training input in images per second: this project's pipeline against a torch DataLoader doing the same.

Both read the same photos and label maps, resize the short side to 256, rotate, scale, shift, crop to 224 and mirror
photo and labels alike, change contrast and brightness, and end with Lab in float32. Ours hands uint8 batches to the
device and converts to Lab in a jitted function, as the training step does; the other converts with scikit-image in the
DataLoader's workers. torch is spared two things: it fills borders with one colour, where we reflect, and keeps the ids
in label maps, where we map them to COCO-Stuff.

  python experiments/benchmarks/input_pipeline.py [--dir FOLDER]

needs requirements/bench.txt. FOLDER is laid out as `semcolor_jax.data.folder` says, with label maps for all photos;
without it, crops of the embedded photos are written to a temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import importlib.metadata
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))  # run from anywhere, without an installation

from semcolor_jax.errors import UserError

SHORT_SIDE, SIZE = 256, 224
WARM_UP = 8
"""Untimed batches: compilation, start of threads and workers, filling of queues."""

PACKAGES = ("jax", "tensorflow_cpu", "torch", "torchvision", "scikit-image", "pillow", "numpy")
RESULT = Path(__file__).parents[1] / "results" / "input_pipeline.json"


@dataclasses.dataclass(frozen=True)
class TorchPhotos:
    """A map-style torch dataset: Lab float32 (224, 224, 3) and label ids uint8 (224, 224).

    The transforms are torchvision's functions on Pillow images, its fastest on a CPU, with the parameters that its
    random transforms draw.
    """

    photos: Sequence[str]
    labels: Sequence[str]
    length: int
    augment: dict[str, float]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        from skimage.color import rgb2lab

        torch, transforms = import_torch()
        change, nearest = transforms.functional, transforms.InterpolationMode.NEAREST
        limits = self.augment
        with Image.open(self.photos[index % len(self.photos)]) as file:
            photo = file.convert("RGB")
        with Image.open(self.labels[index % len(self.labels)]) as file:
            labels = file.copy()
        photo, labels = change.resize(photo, SHORT_SIDE), change.resize(labels, SHORT_SIDE, nearest)
        angle, shift, factor, shear = transforms.RandomAffine.get_params(
            [-limits["rotate"], limits["rotate"]],
            [limits["translate"]] * 2,
            [1 - limits["scale"], 1 + limits["scale"]],
            None,
            [photo.width, photo.height],
        )
        photo = change.affine(photo, angle, shift, factor, shear, transforms.InterpolationMode.BILINEAR)
        labels = change.affine(labels, angle, shift, factor, shear, nearest, fill=255)
        window = transforms.RandomCrop.get_params(photo, (SIZE, SIZE))
        photo, labels = change.crop(photo, *window), change.crop(labels, *window)
        if torch.rand(()) < limits["flip"]:
            photo, labels = change.hflip(photo), change.hflip(labels)
        photo = transforms.ColorJitter(limits["brightness"], limits["contrast"])(photo)
        lab = rgb2lab(np.asarray(photo)).astype(np.float32)
        return torch.from_numpy(lab), torch.from_numpy(np.array(labels))


def import_torch() -> tuple[Any, Any]:
    """Returns torch and torchvision.transforms.

    A torchvision built for CUDA does not load its compiled operators with a CPU torch, and then fails to import because
    two are missing. No transform here uses any, so the two get a declaration without a body.

    Raises:
      UserError: if one of the two is not installed.
    """
    try:
        torch = importlib.import_module("torch")
        try:
            return torch, importlib.import_module("torchvision.transforms")
        except RuntimeError as error:
            if "does not exist" not in str(error):
                raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import_torch.library = torch.library.Library("torchvision", "DEF")  # type: ignore[attr-defined]
        for name in ("nms", "qnms"):
            import_torch.library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[attr-defined]
        return torch, importlib.import_module("torchvision.transforms")
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: pip install -r requirements/bench.txt.") from error


def ours(source: Any, config: Any) -> Iterator[Any]:
    """Yields Lab batches on the device, endlessly."""
    import jax

    from semcolor_jax.color.lab import rgb_to_lab
    from semcolor_jax.data.augment import training_ops
    from semcolor_jax.data.pipeline import prefetch_to_device, train_batches

    to_lab = jax.jit(rgb_to_lab)
    batches = train_batches(source, ops=training_ops(config), batch_size=config.data.batch_size, seed=0)
    for batch in prefetch_to_device(batches):
        yield to_lab(batch["image"]).block_until_ready(), batch["labels"]


def images_per_second(batches: Iterator[Any], *, images: int, batch_size: int) -> float:
    """Times the given number of images after the warm-up."""
    for _ in itertools.islice(batches, WARM_UP):
        pass
    start = time.perf_counter()
    count = sum(batch_size for _ in itertools.islice(batches, images // batch_size))
    return count / (time.perf_counter() - start)


def write_embedded(folder: Path) -> None:
    """Writes crops of the embedded photos, 320 x 256, with their label maps, as a folder data set."""
    from semcolor_jax.data.embedded import photos
    from semcolor_jax.files import write_json
    from semcolor_jax.photos.files import write_image
    from semcolor_jax.taxonomy.label_sets import COCO_STUFF

    for part in ("images", "labels"):
        (folder / "train" / part).mkdir(parents=True)
    names = {str(index): name for index, name in enumerate(COCO_STUFF)}
    write_json(folder / "labels.json", {"ignore": 255, "unlabeled": 0, "classes": names})
    for photo in photos():
        height, width = photo.labels.shape
        for top, left in itertools.product(range(0, height - 255, 64), range(0, width - 319, 64)):
            window = np.s_[top : top + 256, left : left + 320]
            name = f"{photo.name}_{top}_{left}"
            write_image(folder / "train" / "images" / f"{name}.jpg", photo.image[window])
            write_image(folder / "train" / "labels" / f"{name}.png", photo.labels[window])


def measure(folder: Path, *, images: int, repeats: int, batch_size: int, workers: int) -> dict[str, Any]:
    """Measures both in turn, `repeats` times. Raises `UserError` if the folder or a package is not there."""
    torch, _ = import_torch()
    from semcolor_jax.config import default
    from semcolor_jax.data.folder import FolderSource

    source, config = FolderSource(folder, "train"), default()
    config.data.short_side, config.data.image_size, config.data.batch_size = SHORT_SIDE, SIZE, batch_size
    photos = [folder / name for name in source.names]
    labels = [photo.parents[1] / "labels" / f"{photo.stem}.png" for photo in photos]
    missing = [path for path in labels if not path.is_file()]
    if missing:
        raise UserError(f"{missing[0]} is missing: the benchmark needs a label map for every photo.")
    loader = torch.utils.data.DataLoader(
        TorchPhotos(
            photos=[os.fspath(path) for path in photos],
            labels=[os.fspath(path) for path in labels],
            length=images + WARM_UP * batch_size,
            augment=config.augment.to_dict(),
        ),
        batch_size=batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        multiprocessing_context="spawn",  # forking beside the threads of TensorFlow and JAX may hang
    )
    cases: dict[str, Callable[[], Iterator[Any]]] = {
        "semcolor_jax": lambda: ours(source, config),
        "torch": lambda: iter(loader),
    }
    rates: dict[str, list[float]] = {case: [] for case in cases}
    for case in list(cases) * repeats:
        with contextlib.closing(_Stream(cases[case]())) as batches:
            rates[case].append(images_per_second(batches, images=images, batch_size=batch_size))
        print(json.dumps({"case": case, "images_per_second": round(rates[case][-1], 1)}), flush=True)
    median = {case: round(statistics.median(values), 1) for case, values in rates.items()}
    return {
        "images_per_second": median,
        "ratio": round(median["semcolor_jax"] / median["torch"], 2),
        "repeats": {case: [round(value, 1) for value in values] for case, values in rates.items()},
        "setting": {"size": SIZE, "batch_size": batch_size, "workers": workers, "images": images},
        "files": {"folder": folder.name, "photos": len(photos)},
        "cores": os.cpu_count(),
        "versions": {package: _version(package) for package in PACKAGES},
        "torchvision_operators": "left out" if hasattr(import_torch, "library") else "loaded",
    }


class _Stream:
    """An iterator that can be closed, whether or not its source can: torch's cannot."""

    def __init__(self, batches: Iterator[Any]):
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._batches)

    def close(self) -> None:
        getattr(self._batches, "close", lambda: None)()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Parses the command line, measures, prints and writes the result."""
    from semcolor_jax.files import write_json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, help="a folder data set; default: the embedded photos")
    parser.add_argument("--images", type=int, default=800, help="timed images per repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2, help="of the DataLoader")
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    args = parser.parse_args()
    settings = {key: getattr(args, key) for key in ("images", "repeats", "batch_size", "workers")}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.dir or Path(temporary, "embedded")
        if args.dir is None:
            write_embedded(folder)
        result = measure(folder, **settings)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, result)
    print(f"\n{'':24}images/s (median of {args.repeats})")
    for case, rate in result["images_per_second"].items():
        print(f"{case:24}{rate:8.1f}")
    print(f"{'ratio':24}{result['ratio']:8.2f}")
    if result["torchvision_operators"] == "left out":
        print("torchvision ran without its compiled operators, which do not load here; no transform uses them.")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
