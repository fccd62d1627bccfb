"""The command `semcolor colorize PHOTO... -o DIR`, which colours photos."""

from __future__ import annotations

import argparse
import dataclasses
import glob
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcolor_jax.cli.colorize_report import Reporter
from semcolor_jax.errors import UserError
from semcolor_jax.photos.formats import NAMES

if TYPE_CHECKING:
    from semcolor_jax.inference.colorize import Colorizer
    from semcolor_jax.inference.finished import Finished
    from semcolor_jax.inference.hints import Hint
    from semcolor_jax.inference.photo_files import Beside, Options
    from semcolor_jax.inference.plan import Job

_POLL_SECONDS = 2.0  # between looks of --watch; a file that has not grown since the last one is complete
_EXAMPLE = """\
examples:
  semcolor colorize photos/ -o coloured/
  semcolor colorize portrait.jpg -o portrait_in_colour.jpg --saturation 1.3
  semcolor colorize - < old.png > new.png

`semcolor data sample-photos -o photos/` writes photos to try it on. A second run skips what is finished.
Exit code: 0 all well, 1 some photos failed, 2 the call is wrong."""


class _HelpAll(argparse.Action):
    """Prints the help, including the options that `--help` hides."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, nargs=0, **kwargs)
        self.hidden: list[tuple[argparse.Action, str]] = []

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        for action, text in self.hidden:
            action.help = text
        parser.print_help()
        parser.exit()


def add_parser(commands: Any) -> None:
    """Adds `colorize` to the subparsers of the program; imports nothing heavy."""
    parser = commands.add_parser(
        "colorize",
        help="colour black-and-white photos",
        description="Colours black-and-white photos. Each keeps its size, its lightness, its kind of file and what the "
        "file says about it.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "photos", nargs="*", metavar="PHOTO", help="photos, folders, patterns such as '*.tif', or - for stdin to stdout"
    )
    add("-o", "--output", metavar="DIR", help="folder to write to; for one photo also a file")
    add("--model", "--workdir", metavar="M", help="released model, work directory or weights (default: the release)")
    add("--saturation", type=float, metavar="S", help="strength of the colours; 1 is the network's own")
    add("--format", choices=sorted(NAMES), metavar="F", help="write jpeg, png, tiff, webp, avif, heic, jp2 or bmp")
    add("--quality", type=int, default=95, metavar="Q", help="of lossy formats, 1..100 (%(default)s)")
    add("--hints", metavar="FILE.json", help="colours that you know, of one photo (docs/hints.md)")
    add("--compare", action="store_true", help="also write before and after side by side")
    add("--stretch", action="store_true", help="spread the greys of faded photos")
    add("--overwrite", action="store_true", help="redo finished photos")
    everything = add("--help-all", action=_HelpAll, help="show all options")
    _add_rare(parser, everything)


def _add_rare(parser: argparse.ArgumentParser, everything: Any) -> None:
    def add(*names: str, help: str, **kwargs: Any) -> None:
        everything.hidden.append((parser.add_argument(*names, help=argparse.SUPPRESS, **kwargs), help))

    add("--checkpoint", default="best", metavar="best|latest|STEP", help="of a training (default: best)")
    add("--temperature", type=float, metavar="T", help="of the annealed mean, (0, 1]; lower is more vivid")
    add("--branch", choices=["soft", "reg", "both"], help="what makes the colour: distribution, regression, or both")
    add("--soft-weight", type=float, metavar="W", help="of the distribution in --branch both, 0..1")
    add("--explain", action="store_true", help="also draw what the network saw and how sure it was: NAME_explain.png")
    add(
        "--variants",
        type=int,
        metavar="N",
        help="also write N plausible versions, likeliest first, and a sheet of them",
    )
    add("--size", type=int, metavar="N", help="short side in pixels that the network sees (default: the model's)")
    add("--tta", action="store_true", help="average with the mirrored photo: twice the time, steadier colours")
    add("--suffix", default="", metavar="TEXT", help="appended to each name; allows writing beside the photos")
    add("--strip-metadata", action="store_true", help="write no EXIF, XMP or text")
    add("--tolerant", action="store_true", help="colour what is left of truncated photos")
    add("--from-file", metavar="LIST", help="read paths of photos from a text file, one a line")
    add("--json", action="store_true", help="print one JSON object per photo instead of its path")
    add("--watch", metavar="FOLDER", help="colour what is put into a folder, until Ctrl-C")


def run(arguments: argparse.Namespace) -> None:
    """Runs what `add_parser`'s arguments say; exits with 1 if photos failed, 130 at Ctrl-C.

    Raises:
      UserError: the call is wrong.
    """
    photos = [*arguments.photos, *_listed(arguments.from_file)]
    reporter = Reporter(json_lines=arguments.json)
    try:
        if photos == ["-"]:
            failed = _through_pipe(arguments)
        elif arguments.watch:
            failed = _watch(arguments, photos, reporter)
        else:
            failed = _run_once(arguments, photos, reporter)
    except KeyboardInterrupt:
        reporter.close()
        print(f"Stopped: {reporter.counts()}. The same command goes on from here.", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    if failed:
        raise SystemExit(1)


def colorize(photos: Sequence[str], *, output: str | None, model: str | Path | None = None) -> list[Path]:
    """Colorizes photos with a model (see `semcolor_jax.load`); each keeps its name and size.

    Raises:
      UserError: no photo or no output folder given; a photo that cannot be read.
    """
    if not photos:
        raise UserError("No photo to colorize: name at least one file or folder.")
    if not output:
        raise UserError("No output folder: give one with --output DIR (or -o DIR).")
    colorizer = _load(model)
    from semcolor_jax.inference.photo_files import colorize_files

    written = colorize_files(colorizer, [Path(photo) for photo in photos], Path(output))
    for path in written:
        print(path)
    return written


def _run_once(arguments: argparse.Namespace, photos: Sequence[str], reporter: Reporter) -> bool:
    """Colours the photos of a call; returns whether some failed."""
    from semcolor_jax.inference.photo_files import colorize_each
    from semcolor_jax.inference.plan import make_plan

    if not photos:
        raise UserError("No photo to colorize: name at least one file or folder.")
    if not arguments.output:
        raise UserError("No output folder: give one with -o DIR.")
    options, paths, hints = _options(arguments), _expanded(photos), _hints(arguments)
    if _names_a_file(arguments.output):
        jobs, finished = _with_hints([_single(arguments, paths)], hints), None
        colorizer = _colorizer(arguments)
    else:
        out_dir = Path(arguments.output).expanduser()
        plan = make_plan(paths, out_dir, format=NAMES.get(arguments.format), suffix=arguments.suffix)
        reporter.start(len(plan.jobs) + len(plan.refused))
        for source, reason in plan.refused:
            reporter.refused(source, reason)
        reporter.passed_over(plan.passed_over)
        if not plan.jobs:
            return reporter.summary()
        jobs = _with_hints(plan.jobs, hints)
        colorizer = _colorizer(arguments)
        finished = _record(arguments, colorizer, out_dir, options)
    beside = _beside(arguments, colorizer, jobs, options)
    for outcome in colorize_each(colorizer, jobs, options, finished=finished, beside=beside):
        reporter.show(outcome)
    return reporter.summary()


def _single(arguments: argparse.Namespace, paths: Sequence[Path]) -> Any:
    """Returns the job of `-o FILE`."""
    from semcolor_jax.inference.plan import Job
    from semcolor_jax.photos.formats import format_of_suffix
    from semcolor_jax.photos.reading import examine

    target = Path(arguments.output).expanduser()
    if len(paths) != 1 or paths[0].is_dir():
        raise UserError(f"-o {target} names a file, which holds one photo: give a folder for several.")
    if os.path.realpath(paths[0]) == os.path.realpath(target):
        raise UserError(f"The output {target} would replace the photo itself; choose another name.")
    format = NAMES.get(arguments.format) or format_of_suffix(target.suffix)
    assert format is not None  # otherwise it would not count as a file
    return Job(paths[0], target, format, examine(paths[0]).pages if format == "TIFF" else 1)


def _watch(arguments: argparse.Namespace, photos: Sequence[str], reporter: Reporter) -> bool:
    """Colours files that appear in a folder once they stop growing; runs until Ctrl-C."""
    from semcolor_jax.inference.photo_files import colorize_each
    from semcolor_jax.inference.plan import make_plan

    if arguments.hints:
        raise UserError("--hints belongs to one photo, and --watch takes many: colour that photo by itself.")
    if photos or not arguments.output or _names_a_file(arguments.output):
        raise UserError("--watch FOLDER takes no photos beside it, and an output folder: give one with -o DIR.")
    folder, out_dir = Path(arguments.watch).expanduser(), Path(arguments.output).expanduser()
    if not folder.is_dir():
        raise UserError(f"The folder {folder} to watch does not exist.")
    options, colorizer = _options(arguments), _colorizer(arguments)
    finished = _record(arguments, colorizer, out_dir, options)
    seen: dict[Path, tuple[int, int]] = {}
    done: dict[Path, tuple[int, int]] = {}
    print(f"Watching {folder}; Ctrl-C ends it.", file=sys.stderr)
    while True:
        now = {path: _state(path) for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}
        stable = {path for path, state in now.items() if seen.get(path) == state and done.get(path) != state}
        if stable:
            plan = make_plan([folder], out_dir, format=NAMES.get(arguments.format), suffix=arguments.suffix)
            for source, reason in plan.refused:
                if source in stable:
                    reporter.refused(source, reason)
            beside = _beside(arguments, colorizer, plan.jobs, options)
            jobs = [job for job in plan.jobs if job.source in stable]
            for outcome in colorize_each(colorizer, jobs, options, finished=finished, beside=beside):
                reporter.show(outcome)
            done |= {path: now[path] for path in stable}
        seen = now
        time.sleep(_POLL_SECONDS)


def _state(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # gone in the meantime
        return (0, 0)
    return status.st_size, status.st_mtime_ns


def _through_pipe(arguments: argparse.Namespace) -> bool:
    """Colours the photo on stdin; writes it to stdout, or to the file of -o."""
    from semcolor_jax.inference.photo_files import colorize_bytes
    from semcolor_jax.photos.formats import format_of_suffix

    if arguments.explain or arguments.variants is not None:
        raise UserError("--explain and --variants write pictures beside a file: name the photo instead of -.")
    content = sys.stdin.buffer.read()
    target = Path(arguments.output).expanduser() if arguments.output else None
    format = NAMES.get(arguments.format) or (target and format_of_suffix(target.suffix))
    data, notes = colorize_bytes(
        _colorizer(arguments), content, _options(arguments), format=format or None, hints=_hints(arguments)
    )
    for note in notes:
        print(f"standard input {note}.", file=sys.stderr)
    if target is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        from semcolor_jax.files import write_bytes

        write_bytes(target, data)
    return False


def _hints(arguments: argparse.Namespace) -> Sequence[Hint]:
    from semcolor_jax.inference.hints import read_hints

    return read_hints(arguments.hints) if arguments.hints else ()


def _with_hints(jobs: Sequence[Job], hints: Sequence[Hint]) -> list[Job]:
    """Returns the jobs with their hints; with hints there may be only one."""
    if hints and (len(jobs) != 1 or jobs[0].pages > 1):
        what = f"{jobs[0].name} has {jobs[0].pages} pages" if len(jobs) == 1 else f"there are {len(jobs)} photos"
        raise UserError(f"--hints belongs to one photo, but {what}: name that photo alone.")
    return [dataclasses.replace(job, hints=tuple(hints)) for job in jobs]


def _options(arguments: argparse.Namespace) -> Options:
    from semcolor_jax.inference.photo_files import Options

    return Options(
        quality=arguments.quality,
        strip_metadata=arguments.strip_metadata,
        stretch=arguments.stretch,
        tolerant=arguments.tolerant,
        compare=arguments.compare,
    )


def _load(model: str | Path | None, *, checkpoint: str = "best") -> Colorizer:
    # JAX, but neither TensorFlow nor anything else of the training: they would double start-up time and memory.
    from semcolor_jax import load
    from semcolor_jax.cli.allocator import return_large_blocks
    from semcolor_jax.cli.compile_cache import enable_compile_cache

    return_large_blocks()
    enable_compile_cache()
    return load(model, checkpoint=checkpoint)


def _colorizer(arguments: argparse.Namespace) -> Colorizer:
    colorizer = _load(arguments.model, checkpoint=arguments.checkpoint)
    asked = {
        "branch": arguments.branch,
        "temperature": arguments.temperature,
        "share": arguments.soft_weight,
        "saturation": arguments.saturation,
    }
    choice = dataclasses.replace(colorizer.choice, **{key: value for key, value in asked.items() if value is not None})
    side = colorizer.side if arguments.size is None else arguments.size
    return dataclasses.replace(colorizer, choice=choice, side=side, mirror=arguments.tta)


def _beside(
    arguments: argparse.Namespace, colorizer: Colorizer, jobs: Sequence[Job], options: Options
) -> Beside | None:
    from semcolor_jax.cli.pictures_beside import pictures_beside

    return pictures_beside(colorizer, jobs, options, explain=arguments.explain, variants=arguments.variants)


def _record(arguments: argparse.Namespace, colorizer: Colorizer, out_dir: Path, options: Options) -> Finished:
    from semcolor_jax.checkpoints.models import DEFAULT_MODEL, find_model
    from semcolor_jax.inference.finished import Finished, fingerprint

    model = find_model(DEFAULT_MODEL if arguments.model is None else arguments.model)
    settings = [dataclasses.asdict(colorizer.choice), colorizer.side, colorizer.mirror, dataclasses.asdict(options)]
    settings = [fingerprint(model), arguments.checkpoint, *settings, arguments.format]
    hints = [dataclasses.asdict(hint) for hint in _hints(arguments)] or None
    asked = {"explain": arguments.explain or None, "variants": arguments.variants, "hints": hints}
    settings += [[key, value] for key, value in asked.items() if value is not None]  # none: as in older records
    return Finished(out_dir, settings, overwrite=arguments.overwrite)


def _names_a_file(output: str) -> bool:
    from semcolor_jax.photos.formats import format_of_suffix

    path = Path(output).expanduser()
    return format_of_suffix(path.suffix) is not None and not path.is_dir() and not output.endswith(os.sep)


def _expanded(photos: Sequence[str]) -> list[Path]:
    """Returns the paths; patterns that the shell did not expand are matched here."""
    paths: list[Path] = []
    for photo in photos:
        path = Path(photo).expanduser()
        if path.exists() or not glob.has_magic(photo):
            paths.append(path)
            continue
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
        if not matches:
            raise UserError(f"No photo matches the pattern {photo!r}.")
        paths += matches
    return list(dict.fromkeys(paths))


def _listed(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        text = sys.stdin.read() if path == "-" else Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the list {path}: {error}.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
