"""Writing video files of every kind for tests."""

from fractions import Fraction

import av
import numpy as np


def write_video(
    path, frames, *, rotation=None, matrix=None, codec="libx264", pixels="yuv420p", options=None, **properties
):
    """Write ``frames`` ``(T, H, W, 3)``; ``properties`` are set on the codec context."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "10"} if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixels
        for name, value in properties.items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if "color_range" in properties:
                picture = picture.reformat(format=pixels, dst_color_range=properties["color_range"])
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def write_at(path, times, unit=Fraction(1, 1000), codec="mpeg4"):
    """Write a small film whose frames begin at ``times``, in units; the file calls as many a second its rate."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1 / unit)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for time, picture in zip(times, scene(len(times), 32, 32), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def scene(frames=6, height=48, width=80):
    """Four quarters of colours of their own: red, blue, green, white; brighter with every frame."""
    video = np.zeros((frames, height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    for place, colour in zip(
        [np.s_[:top, :left], np.s_[:top, left:], np.s_[top:, :left], np.s_[top:, left:]],
        [(1, 0, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1)],
        strict=True,
    ):
        for time in range(frames):
            video[time][place] = np.array(colour) * (100 + 100 * time // frames)
    return video
