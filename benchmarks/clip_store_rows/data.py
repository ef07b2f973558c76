"""What the clip store's benchmark reads: stores, the same frames as a plain array, and the videos they are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import attrs
import av
import google_crc32c
import numpy as np

from datasets import ClipStore, Frames
from datasets.store import (
    FORMAT,
    INDEX,
    MANIFEST,
    NAMES,
    VERSION,
    Codec,
    Level,
    Manifest,
    Settings,
    index_name,
    manifest_bytes,
    shard_name,
    to_json,
)
from datasets.writer import StoreWriter
from framework.stored_views import StoredView

SIZE = 128
FRAMES = 100
WINDOW = 12


@attrs.frozen
class Data:
    """Clips in every form that is compared."""

    folder: Path
    clips: int
    starts: list[tuple[int, int]]
    """Windows drawn uniformly, as clip and first frame."""

    def store(self, codec: Codec = "none", **options: str) -> ClipStore:
        """The clips as a store, every page of it in memory and every chunk used once."""
        store = ClipStore(path=str(self.folder / f"{codec}.zarr"), **options)  # type: ignore[arg-type]
        for clip in range(self.clips):
            store.window(clip, 0, FRAMES)
        return store

    def memmap(self) -> Frames:
        """The clips as one array ``(clips * FRAMES, SIZE, SIZE, 3)`` in a file, every page of it in memory."""
        array = np.memmap(self.folder / "frames.raw", np.uint8, "r", shape=(self.clips * FRAMES, SIZE, SIZE, 3))
        array.max()
        return array

    def each(self, read: Callable[[int, int], object]) -> Callable[[], None]:
        """Reading every window, as one call."""

        def all_windows() -> None:
            for clip, start in self.starts:
                read(clip, start)

        return all_windows


def make(folder: Path, clips: int, windows: int) -> Data:
    """Clips of a drifting texture with noise, about as compressible as video that was decoded."""
    settings = {codec: Settings.of(SIZE, SIZE, 3, 1, codec) for codec in ("none", "zstd")}
    with (
        StoreWriter(folder / "none.zarr", settings["none"], None) as raw,
        StoreWriter(folder / "zstd.zarr", settings["zstd"], None) as packed,
        (folder / "frames.raw").open("wb") as file,
    ):
        for clip in range(clips):
            frames = scene(clip, FRAMES, SIZE, SIZE)
            raw.append(str(clip), frames)
            packed.append(str(clip), frames)
            file.write(frames.tobytes())
        raw.finish({})
        packed.finish({})
    random = np.random.default_rng(0)
    starts = [(int(random.integers(clips)), int(random.integers(FRAMES - WINDOW + 1))) for _ in range(windows)]
    return Data(folder, clips, starts)


def scene(seed: int, frames: int, height: int, width: int) -> Frames:
    """Smooth blobs that drift, under weak noise: uint8 ``(frames, height, width, 3)``."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 8 + 32, width // 8 + 32, 3)).astype(np.float32)
    fine = coarse.repeat(8, 0).repeat(8, 1)
    fine = (fine + np.roll(fine, 4, 0) + np.roll(fine, 4, 1) + np.roll(fine, 4, (0, 1))) / 4
    video = np.empty((frames, height, width, 3), np.uint8)
    for time in range(frames):
        top, left = time * (1 + seed % 2) % 250, time * (1 + seed % 3) % 250
        noise = random.integers(-3, 4, (height, width, 1), np.int8)
        video[time] = (fine[top : top + height, left : left + width] + noise).clip(0, 255)
    return video


def write_source(path: Path, frames: Frames, keyframes: int = 30) -> Path:
    """``frames`` as H.264 with a keyframe at least every ``keyframes`` frames, as videos on the web have."""
    with av.open(path, "w") as container:
        options = {"crf": "20", "preset": "veryfast", "threads": "1"}
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.codec_context.gop_size = keyframes
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def add_level(path: Path, space: int) -> ClipStore:
    """The store at ``path`` with every ``space``-th pixel of its frames as level 1 beside them, if it is not there."""
    store = ClipStore(path=str(path))
    if len(store.levels) > 1:
        return store
    view = StoredView(space)
    height, width = view.size(store.height, store.width)
    settings = attrs.evolve(store.settings, height=height, width=width)
    with StoreWriter(path.with_name("small.zarr"), settings, None) as writer:
        for clip in range(len(store)):
            writer.append(str(clip), view(store.window(clip, 0, store.frames(clip))))
        small = writer.finish({})
    (path.with_name("small.zarr") / "levels/0").rename(path / "levels/1")
    files = {f"levels/1{name[8:]}": digest for name, digest in small.files.items() if name.startswith("levels/0")}
    manifest = attrs.evolve(
        store.manifest,
        levels=(*store.manifest.levels, Level(height, width, str(view))),
        files={**store.manifest.files, **files},
    )
    _write_manifest(path, manifest)
    return ClipStore(path=str(path))


def synthetic_index(path: Path, clips: int, frames: int = 150) -> Path:
    """A store of ``clips`` clips at 128x128 without its shards: what opening reads is there, and no frames."""
    settings = Settings.of(SIZE, SIZE, 3, 2, "none")
    each = settings.shard_frames // frames
    number = np.arange(clips)
    offsets = number // each * settings.shard_frames + number % each * frames
    labels = [f"class {label}" for label in range(400)]
    arrays = {"offset": offsets, "frames": np.full(clips, frames), "label": number % len(labels)}
    names = [f"{labels[clip % len(labels)]}/{clip:011d}_000000_000010.mp4" for clip in range(clips)]
    contents = {index_name(array): _with_crc(values.astype(INDEX[array])) for array, values in arrays.items()}
    contents[NAMES] = to_json(names)
    shards = -(-clips // each)
    files = {shard_name(0, shard): hashlib.sha256(str(shard).encode()).hexdigest() for shard in range(shards)}
    for name, content in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
        files[name] = hashlib.sha256(content).hexdigest()
    held = {"format": FORMAT, "version": VERSION, "settings": settings, "levels": (Level(SIZE, SIZE),)}
    counts = {"clips": clips, "frames": clips * frames, "length": int(offsets[-1]) + frames}
    _write_manifest(
        path,
        Manifest(**held, **counts, classes=tuple(labels), request={}, made_with={}, files=files, fingerprint=""),
    )
    return path


def _with_crc(values: np.ndarray) -> bytes:
    data = values.tobytes()
    return data + google_crc32c.value(data).to_bytes(4, "little")


def _write_manifest(path: Path, manifest: Manifest) -> None:
    (path / MANIFEST).write_bytes(manifest_bytes(manifest.signed()))
