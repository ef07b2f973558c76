"""From a source of videos to a clip store."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from datasets.decode import VideoError, decode
from datasets.sources.folder import Source
from datasets.store import MANIFEST, Codec, Manifest, Settings, read_manifest, to_json
from datasets.workers import decode_in_order
from datasets.writer import StoreWriter
from registry import InputError
from registry.progress import Progress


@attrs.frozen
class IngestOptions:
    """What to make of the videos."""

    size: int = 128
    """Height and width of the frames in pixels."""
    stride: int = 1
    """Frames of the video from one stored frame to the next."""
    codec: Codec = "none"
    """How frames are compressed; uncompressed ones are read fastest."""
    min_frames: int = 1
    """Clips of fewer stored frames are left out."""
    max_broken: float = 0.1
    """The share of videos that may turn out to be broken."""


@attrs.frozen
class Ingested:
    """What became of an ingestion."""

    manifest: Manifest
    left_out: int
    """Videos that are in the store's quarantine list and not in the store."""
    fresh: bool
    """False when the store stood there already, with the same settings from the same videos."""


def ingest(
    source: Source, path: Path, options: IngestOptions, *, workers: int = 2, overwrite: bool = False
) -> Ingested:
    """Decode the videos of ``source`` into a store at ``path``.

    The store appears whole at the end or not at all; the same videos and options give the same bytes.
    Videos that are broken or too short are told on stderr and listed in the store's ``quarantine.json``.

    Args:
        source: the videos, in order.
        path: where the store is to stand.
        options: what to make of them.
        workers: number of decoding processes.
        overwrite: replace the store that stands at ``path``, if it is another one.

    Raises:
        InputError: something else stands at ``path``, or too many videos are broken, or none is left.
    """
    request = _request(source, options)
    if _stands_already(path, request, overwrite):
        manifest = read_manifest(path)
        return Ingested(manifest, len(source.videos) - manifest.clips, fresh=False)
    settings = Settings.of(options.size, options.size, 3, options.stride, options.codec)
    with StoreWriter(path, settings, source.classes) as writer:
        quarantine = _write_clips(source, writer, options, workers)
        manifest = writer.finish(request, quarantine)
    return Ingested(manifest, len(quarantine), fresh=True)


def _write_clips(source: Source, writer: StoreWriter, options: IngestOptions, workers: int) -> list[Mapping[str, str]]:
    """Append every good video to the store; the ones left out are returned."""
    decoder = functools.partial(decode, size=options.size, stride=options.stride)
    paths = [video.path for video in source.videos]
    quarantine: list[Mapping[str, str]] = []
    broken = 0
    with (
        contextlib.closing(decode_in_order(paths, decoder, workers)) as outcomes,
        Progress(total=len(paths), unit="video", desc="ingesting") as progress,
    ):
        for video, outcome in zip(source.videos, outcomes, strict=True):
            if isinstance(outcome, VideoError):
                reason = outcome.reason
                broken += 1
            elif len(outcome) < options.min_frames:
                reason = f"has {len(outcome)} frames at stride {options.stride}, fewer than {options.min_frames}"
            else:
                reason = None
                writer.append(video.name, outcome, video.label)
            if reason is not None:
                progress.note(f"left out: {video.path}: {reason}")
                quarantine.append({"name": video.name, "reason": reason})
            _check_broken(broken, source, options)
            progress.update()
    if len(quarantine) == len(source.videos):
        raise InputError.of("SOURCE", f"all {len(source.videos)} videos were left out")
    return quarantine


def _check_broken(broken: int, source: Source, options: IngestOptions) -> None:
    total = len(source.videos)
    if broken > options.max_broken * total:
        what = f"{broken} of {total} videos could not be decoded so far, more than a fraction of {options.max_broken:g}"
        raise InputError.of("--max-broken", what)


def _request(source: Source, options: IngestOptions) -> dict[str, Any]:
    """What the store is asked to be, as the manifest keeps it."""
    described = [[video.name, video.path.stat().st_size] for video in source.videos]
    return {
        "videos": len(source.videos),
        "source": hashlib.sha256(to_json(described)).hexdigest(),
        **attrs.asdict(options),
    }


def _stands_already(path: Path, request: Mapping[str, Any], overwrite: bool) -> bool:
    """Whether the store asked for is at ``path``; refuses to touch anything else without ``overwrite``."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    if not (path / MANIFEST).is_file() and not (path / "zarr.json").is_file():
        raise InputError.of(str(path), "something that is no clip store stands here; name another place")
    try:
        held = read_manifest(path).request
    except InputError:
        if overwrite:
            return False
        raise
    differences = [
        f"{name} {held.get(name)!r}, not {value!r}"
        for name, value in request.items()
        if held.get(name) != value and name != "source"
    ]
    if held.get("source") != request["source"]:
        differences.append("other videos")
    if differences and not overwrite:
        what = f"another store stands here: {'; '.join(differences)}; replace it with --overwrite"
        raise InputError.of(str(path), what)
    return not differences
