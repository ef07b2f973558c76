"""Windows and whole clips from video files, by the store's own decoder and by others."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from torch.nn.functional import interpolate

from datasets.decode import decode

from clip_store_rows.data import FRAMES, SIZE, WINDOW, Data, scene, write_source
from clip_store_rows.measuring import MissingError, Ratio, check, compare
from clip_store_rows.reading import reader

HEIGHT, WIDTH = 256, 340
"""What Kinetics is commonly kept at."""
SOURCES = 8
WINDOWS = 40
"""Windows decoded in a turn."""


def pyav(data: Data, runs: int) -> Ratio:
    """Seeking with PyAV to the keyframe before the window, decoding and scaling up to its end."""

    def read(path: Path, start: int) -> np.ndarray:
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            time = (start + 0.5) / stream.average_rate
            container.seek(int(start / stream.average_rate / stream.time_base), stream=stream)
            frames = []
            for frame in container.decode(stream):
                if frame.time + 1 / stream.average_rate > time and len(frames) < WINDOW:
                    frames.append(frame.reformat(SIZE, SIZE, format="rgb24").to_ndarray())
                if len(frames) == WINDOW:
                    break
            return np.stack(frames)

    return _windows(data, read, runs)


def torchcodec(data: Data, runs: int) -> Ratio:
    """The same with torchcodec, scaled by torch."""
    module: Any = _module("torchcodec.decoders")

    def read(path: Path, start: int) -> np.ndarray:
        decoder = module.VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="approximate")
        frames = decoder.get_frames_in_range(start, start + WINDOW).data.float()
        return interpolate(frames, (SIZE, SIZE), mode="bilinear").permute(0, 2, 3, 1).byte().numpy()

    return _windows(data, read, runs)


def decord(data: Data, runs: int) -> Ratio:
    """The same with decord, which scales by itself."""
    module: Any = _module("decord")

    def read(path: Path, start: int) -> np.ndarray:
        video = module.VideoReader(str(path), width=SIZE, height=SIZE, num_threads=1)
        return video.get_batch(range(start, start + WINDOW)).asnumpy()

    return _windows(data, read, runs)


def ffmpeg(data: Data, runs: int) -> Ratio:
    """Whole files through the decoder that ingestion uses, against ffmpeg with one thread, files one after another."""
    if shutil.which("ffmpeg") is None:
        raise MissingError("ffmpeg is not installed")
    paths = sources(data, long=True)
    command = ["ffmpeg", "-v", "error", "-threads", "1", "-filter_threads", "1", "-i"]
    output = ["-vf", f"scale=-2:{SIZE},crop={SIZE}:{SIZE}", "-threads", "1", "-f", "null", "-"]

    def other() -> None:
        for path in paths:
            subprocess.run([*command, str(path), *output], check=True)

    return compare(lambda: [decode(path, SIZE) for path in paths], other, runs)


def sources(data: Data, long: bool = False) -> list[Path]:
    """Videos as they lie on disk: as long as the store's clips, or ten seconds."""
    folder = data.folder / ("long" if long else "short")
    paths = [folder / f"{number}.mp4" for number in range(SOURCES)]
    for number, path in enumerate(paths):
        if not path.exists():
            folder.mkdir(exist_ok=True)
            write_source(path, scene(number, 300 if long else FRAMES, HEIGHT, WIDTH))
    return paths


def _windows(data: Data, read: Callable[[Path, int], np.ndarray], runs: int) -> Ratio:
    """The store against decoding as many windows, at places drawn alike."""
    paths, store = sources(data), data.store()
    starts = data.starts[:WINDOWS]
    check(read(paths[0], 3).shape == (WINDOW, SIZE, SIZE, 3), "a window has another shape")

    def ours() -> None:
        window = reader(store)
        for clip, start in starts:
            window(clip, start)

    def theirs() -> None:
        for clip, start in starts:
            read(paths[clip % SOURCES], start)

    return compare(ours, theirs, max(3, runs // 3))


def _module(name: str) -> object:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        first: BaseException = error
        while first.__context__:
            first = first.__context__
        raise MissingError(f"{name.partition('.')[0]} cannot be imported: {str(first).splitlines()[0]}") from None
