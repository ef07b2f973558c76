"""What is found in place of a video, in words."""

import struct

import av
import numpy as np
import pytest

from datasets.encode import write_video
from datasets.not_video import what_it_is
from datasets.video_file import VideoError, opened

WORDS = {
    b"": "is empty",
    b"\0" * 10_000: "begins with nothing but zeros",
    b"\n<!DOCTYPE HTML><html><body>Sign in</body></html>": "is a web page",
    b"\xef\xbb\xbf<html lang=en>": "is a web page",
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>': "is XML",
    b'{"error": "video unavailable"}': "is JSON",
}


def film(path) -> bytes:
    """The bytes of a sound MP4."""
    frames = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    write_video(path, frames, rate=6)
    return path.read_bytes()


@pytest.mark.parametrize(("content", "words"), WORDS.items(), ids=WORDS.values())
def test_common_finds(tmp_path, content, words):
    """Each is called by its name, also where ingest opens it as a video."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    assert what_it_is(path) == words
    with pytest.raises(VideoError, match=f"{words}$"), opened(path):
        pass


def test_an_mp4_without_its_list_of_frames(tmp_path):
    """Cut before the moov box, or that box renamed: told apart from an MP4 that has it, wherever it stands."""
    path = tmp_path / "clip.mp4"
    whole = film(path)
    assert what_it_is(path) is None
    place = whole.index(b"moov") - 4
    path.write_bytes(whole[:place])
    words = "is an MP4 without the list of its frames (moov), as a download that was cut short"
    assert what_it_is(path) == words
    with pytest.raises(VideoError) as caught, opened(path):
        pass
    assert str(caught.value).endswith(words)
    size = struct.unpack(">I", whole[place : place + 4])[0]
    first = struct.unpack(">I", whole[:4])[0]
    path.write_bytes(whole[:first] + whole[place : place + size] + whole[first:place])
    assert what_it_is(path) is None


def test_videos_and_other_bytes_are_given_no_name(tmp_path):
    """A video of another kind, and bytes that look like nothing, are left to the decoder's words."""
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode())
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(3000))
    assert what_it_is(tmp_path / "clip.mkv") is None
    assert what_it_is(tmp_path / "noise.mp4") is None
