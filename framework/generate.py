"""Generate from trained stages: samples of every stage, frame by frame into films, pictures or a Zarr group."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from mmengine.device import get_device
from torch import Tensor

from components import ranks
from framework.artifact import versions
from framework.cascade import Cascade
from framework.checkpoint import write_whole
from framework.locking import locked
from framework.outputs import Film, Output, Sheet, Track, ZarrGroup, make_group
from framework.pictures import FILM_RATE, to_pixels
from framework.request import Request
from framework.targets import refuse_targets, stem_of
from framework.together import on_first, together
from framework.trained import Loaded, Trained, find, open_cascade
from registry.cli import note
from registry.progress import Progress


@attrs.frozen
class Given:
    """Low-resolution videos that come from elsewhere, in place of a stage's."""

    track: Track
    """The stage that they stand for, and their frames."""
    pieces: Callable[[int], Iterable[Tensor]]
    """Gives their frames ``(batch, n, C, H, W)`` in order, for so many samples."""
    rate: Fraction | None = None
    """Frames per second at which the last stage's videos last as long as they; None where nobody knows."""


def generate(path: Path, request: Request, out: Path | None = None) -> list[Path]:
    """Generate videos of the cascade in ``path``, a run or an artifact, into ``out``.

    Sample ``k`` depends on the seed and on ``k`` alone, not on how many samples are made, nor on who makes it: several
    ranks share the batches. Memory does not grow with the length of the videos.

    Returns:
        The files and folders written; by rank 0 and, for films and pictures, by the other ranks.

    Raises:
        InputError: a stage is unknown or not trained, an artifact is damaged or does not belong to the others, or a
            class is unknown. Nothing is written then.
    """
    trained = together(lambda: find(path, request.stage))
    loaded = together(lambda: open_cascade(trained, request.frames))
    labels = together(lambda: request.labels(trained.classes))
    return write_videos(trained, loaded, request, labels, out or default_folder(trained))


def default_folder(trained: Trained) -> Path:
    """Where videos go unless somebody says otherwise: into the run, or the working directory."""
    return Path("generated") if trained.run is None else trained.run.path / "generated"


def write_videos(
    trained: Trained,
    loaded: Loaded,
    request: Request,
    labels: Tensor | None,
    out: Path,
    given: Given | None = None,
    about: dict[str, Any] | None = None,
    stem: str = "",
) -> list[Path]:
    """Generate the samples of ``request`` in batches, each straight into its files.

    Args:
        trained: whose videos they are.
        loaded: its cascade.
        request: what to generate.
        labels: the class of every sample, or None.
        out: folder of the files.
        given: the low-resolution videos that the first stage upsamples, shown beside; None where it is a base.
        about: more to say in the file that describes the others.
        stem: more for the files' names.

    Returns:
        The files and folders that this rank wrote.

    Raises:
        InputError: they cannot be written, or something else is in their place.
    """
    cascade = loaded.cascade.to(get_device())
    clips, lengths = [link.clip for link in cascade.links], cascade.lengths(request.frames)
    tracks = [
        Track(link.name, length, clip.height, clip.width)
        for link, length, clip in zip(cascade.links, lengths, clips, strict=True)
    ]
    tracks = tracks if given is None else [given.track, *tracks]
    for link, length in zip(cascade.links, lengths, strict=True):
        if length != link.clip.frames:
            note(f"{link.name}: {length} frames, batch-norm statistics {loaded.statistics[link.name]}")
    stem = _stem(trained, request, lengths[-1]) + stem
    rate = Fraction(request.rate or (given and given.rate) or FILM_RATE)
    described = _description(trained, loaded, request, labels, lengths) | {"rate": float(rate)} | (about or {})
    batches = request.batches()
    names = [stem if len(batches) == 1 else f"{stem}_{batch[0]:06d}-{batch[-1]:06d}" for batch in batches]
    targets = [out / f"{name}.{kind}" for name in names for kind in request.formats if kind != "zarr"]
    together(partial(refuse_targets, out, [*targets, out / f"{stem}.zarr", out / f"{stem}.json"]))
    together(lambda: out.mkdir(parents=True, exist_ok=True))
    mine = batches[ranks.rank() :: ranks.world()]
    paths: list[Path] = []
    described_in = out / f"{stem}.json"
    with ExitStack() as stack:
        on_first(partial(_begin, described_in, stack))
        group = _shared_group(out / f"{stem}.zarr", tracks, request, described, stack)
        with Progress(
            total=sum(map(len, mine)) * lengths[-1], desc=f"generate {cascade.links[-1].name}", unit="frame"
        ) as bar:
            for numbers, name in zip(mine, names[ranks.rank() :: ranks.world()], strict=True):
                outputs = _files(out / name, tracks, request, rate, len(numbers))
                if group is not None:
                    group.at(numbers[0])
                _fill(cascade, request, numbers, labels, given, [*outputs, *([group] if group else [])], bar)
                paths += [output.path for output in outputs]
        together(lambda: None)  # the group is whole when all ranks are done
        if group is not None:
            on_first(group.close)
            paths = [group.path, *paths] if ranks.rank() == 0 else paths
        on_first(partial(write_whole, described_in, json.dumps(described, indent=2) + "\n"))
    paths.sort(key=lambda path: request.formats.index(path.suffix[1:]))
    return [*paths, described_in] if ranks.rank() == 0 else paths


def _begin(described_in: Path, stack: ExitStack) -> None:
    """Keep others from these files while ``stack`` is entered; what described earlier ones goes."""
    stack.enter_context(locked(described_in.with_suffix(""), wait=False))
    described_in.unlink(missing_ok=True)


def _fill(
    cascade: Cascade,
    request: Request,
    numbers: Sequence[int],
    labels: Tensor | None,
    given: Given | None,
    outputs: Sequence[Output],
    bar: Progress,
) -> None:
    """Generate the samples ``numbers`` into ``outputs``, and close those that are theirs alone."""
    done: dict[str, int] = defaultdict(int)
    y = None if labels is None else labels[numbers[0] : numbers[-1] + 1].to(cascade.device)

    def push(name: str, piece: Tensor) -> None:
        pixels = to_pixels(piece)
        for output in outputs:
            output.push(name, done[name], pixels)
        done[name] += pixels.shape[1]

    low = None if given is None else _shown(given, len(numbers), push)
    try:
        for name, piece in cascade.stream(request.noise(cascade, numbers), y, request.frames, low):
            push(name, piece)
            if name == cascade.links[-1].name:
                bar.update(piece.shape[0] * piece.shape[1])
        for _ in low or ():
            pass  # frames that nothing is made of are shown, too
        for output in outputs:
            if not isinstance(output, ZarrGroup):
                output.close()
    except BaseException:
        for output in outputs:
            if not isinstance(output, ZarrGroup):
                output.abandon()
        raise


def _shown(given: Given, samples: int, push: Callable[[str, Tensor], None]) -> Iterator[Tensor]:
    """The frames that are upsampled, shown as they are taken; no more than the result stands on."""
    left = given.track.frames
    for piece in given.pieces(samples):
        if piece.shape[1] > left:
            piece = piece[:, :left]  # the rest is not asked for
        push(given.track.name, piece)
        left -= piece.shape[1]
        yield piece
        if left == 0:
            return


def _files(stem: Path, tracks: Sequence[Track], request: Request, rate: Fraction, samples: int) -> list[Output]:
    """The outputs that a batch has to itself."""
    outputs: list[Output] = []
    for kind in request.formats:
        path = stem.with_name(f"{stem.name}.{kind}")
        if kind in ("mp4", "gif"):
            outputs.append(Film(path, tracks, samples, rate))
        elif kind == "png":
            outputs.append(Sheet(path, tracks, samples))
    return outputs


def _shared_group(
    path: Path, tracks: Sequence[Track], request: Request, about: dict[str, Any], stack: ExitStack
) -> ZarrGroup | None:
    """The Zarr group of all samples, made by rank 0; left behind by none if something goes wrong."""
    if "zarr" not in request.formats:
        return None
    on_first(partial(make_group, path, tracks, request.count, about))
    group = ZarrGroup(path, tracks, request.count)

    def abandon(kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and ranks.rank() == 0:
            group.abandon()

    stack.push(abandon)
    return group


def _description(
    trained: Trained, loaded: Loaded, request: Request, labels: Tensor | None, lengths: Sequence[int]
) -> dict[str, Any]:
    """What was made of what; plain data."""
    return {
        "request": json.loads(json.dumps(attrs.asdict(request))),
        "labels": None if labels is None else labels.tolist(),
        "classes": trained.classes,
        "frames": {link.name: length for link, length in zip(loaded.cascade.links, lengths, strict=True)},
        "statistics": loaded.statistics,
        "artifact": trained.digest,
        "data": trained.manifests[trained.name].data,
        "versions": versions(),
    }


def _stem(trained: Trained, request: Request, frames: int) -> str:
    return stem_of(
        (trained.experiment.name, trained.name),
        length=None if frames == trained.stages[-1].clip.frames else frames,
        ends=request.between,
        label=request.label,
        sigma=request.sigma,
        seed=request.seed,
    )
