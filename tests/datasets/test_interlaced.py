"""Pictures that are flagged as interlaced."""

import av
import numpy as np
import pytest

from datasets.decode import decode


@pytest.mark.parametrize("turned", [False, True])
def test_a_flag_changes_no_pixel(tmp_path, turned):
    """The same pictures, flagged as interlaced and not, are scaled alike, turned or not: lines are no fields."""
    random = np.random.default_rng(0)
    video = random.integers(0, 256, (4, 96, 128, 3), dtype=np.uint8)
    found = []
    for flags in ("tff=0", "tff=1"):  # lossless, so that how the fields are coded changes nothing
        path = tmp_path / f"{flags}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"qp": "0", "x264-params": flags})
            stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv444p"
            stream.codec_context.colorspace, stream.codec_context.color_range = 1, 2  # BT.709, full
            if turned:
                stream.set_display_rotation(90)
            for picture in video:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        with av.open(str(path)) as container:
            assert next(container.decode(video=0)).interlaced_frame == (flags == "tff=1")
        found.append(decode(path, 24))
    np.testing.assert_array_equal(*found)
