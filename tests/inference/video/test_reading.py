"""What a video's header says of its frames: how they are turned, when they begin, what their colours mean."""

from __future__ import annotations

import struct
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from refineseg.inference.options import PredictOptions
from refineseg.inference.video.clips import Clip, Frame, display_matrix, displayed, open_clip
from refineseg.inference.video.predict import predict_video
from refineseg.inference.video.sources import VideoOptions
from refineseg.labels import UInt8
from tests.inference.made_video import Quarters, frames, read_video, write_video

STRANGERS = Path(__file__).parents[2] / "strangers/videos"
COLORS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 60))
SPACES = {  # FFmpeg's number, and the shares of red and blue in the luma (ITU-R BT.601, BT.709, BT.2020)
    "BT.601": (6, 0.299, 0.114),
    "BT.709": (1, 0.2126, 0.0722),
    "BT.2020": (9, 0.2627, 0.0593),
}
MATRICES = [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)]
MATRICES += [(0, 1, 1, 0), (0, 1, -1, 0), (0, -1, 1, 0), (0, -1, -1, 0)]


def pictures_of(clip: Clip) -> list[UInt8]:
    return [item.pixels for item in clip if isinstance(item, Frame)]


@pytest.mark.parametrize("matrix", MATRICES)
def test_every_display_matrix(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    """ISO/IEC 14496-12: (x, y) is shown at (a x + c y, b x + d y), moved back to where nothing is negative."""
    picture = frames(1)[0]
    clip = write_video(tmp_path / "clip.mp4", [picture, picture])
    data = bytearray(clip.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    clip.write_bytes(data)
    with open_clip(clip) as opened:
        shown = pictures_of(opened)[0].astype(int)
    a, b, c, d = matrix
    expected = np.zeros((*(picture.shape[:2] if a else picture.shape[1::-1]), 3), int)
    height, width = expected.shape[:2]
    for y, x in product(range(picture.shape[0]), range(picture.shape[1])):
        expected[(b * x + d * y) % height, (a * x + c * y) % width] = picture[y, x]
    if a + c < 0:
        expected = np.roll(expected, -1, 1)
    if b + d < 0:
        expected = np.roll(expected, -1, 0)
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).mean() < 6


def test_a_mirrored_film_is_mirrored_and_not_turned() -> None:
    with av.open(str(STRANGERS / "mirror.mp4")) as container:
        stored = next(container.decode(video=0))
        assert display_matrix(stored) == (-1, 0, 0, 1)
        plain = stored.to_ndarray(format="rgb24")
    with open_clip(STRANGERS / "mirror.mp4") as clip:
        assert np.array_equal(pictures_of(clip)[0], plain[:, ::-1])


def test_odd_angles_are_rounded() -> None:
    cos, sin = round(65536 * np.cos(0.3)), round(65536 * np.sin(0.3))
    matrix = struct.pack("=9i", cos, sin, 0, -sin, cos, 0, 0, 0, 1)
    assert display_matrix(SimpleNamespace(side_data={Type.DISPLAYMATRIX: matrix})) == (1, 0, 0, 1)
    assert display_matrix(SimpleNamespace(side_data={})) == (1, 0, 0, 1)
    assert displayed(np.zeros((2, 3, 3), np.uint8), (0, 1, -1, 0)).shape == (3, 2, 3)


def test_a_late_start_is_no_early_end(tmp_path: Path) -> None:
    """The frames of the file begin at 5 s and are 0.8 s long."""
    source = STRANGERS / "late start.mkv"
    done = predict_video(Quarters(), source, tmp_path, "late", PredictOptions())
    assert (done.frames, done.warning) == (20, None)
    assert read_video(tmp_path / "videos/late.mp4")[1][:2] == pytest.approx([0, 0.04], abs=2e-3)
    part = predict_video(Quarters(), source, tmp_path, "part", PredictOptions(), video=VideoOptions(seconds=0.4))
    assert (part.frames, part.warning) == (10, None)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("late", [0.0, 3.0])
def test_uneven_times_in_any_container(tmp_path: Path, suffix: str, late: float) -> None:
    """Few frames in a long time: a count from an average rate would say that most are missing."""
    times = [late + time for time in (0.0, 0.02, 0.04, 0.06, 2.0, 4.0)]
    clip = write_video(tmp_path / f"clip{suffix}", frames(6), times)
    done = predict_video(Quarters(), clip, tmp_path, "out", PredictOptions())
    assert (done.frames, done.warning) == (6, None)
    written = np.array(read_video(tmp_path / "videos/out.mp4")[1])
    assert written == pytest.approx(np.array(times) - late, abs=0.02)


@pytest.mark.parametrize("space", [*SPACES, None])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("rows", [96, 720])
def test_colours_by_matrix_and_range(tmp_path: Path, space: str | None, full: bool, rows: int) -> None:
    """Frames of one colour each, by the standards' formulas; untagged ones are BT.709 from 720 rows on."""
    code, red, blue = SPACES[space or ("BT.709" if rows >= 720 else "BT.601")]
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, rows, "yuv444p"
        stream.options = {"crf": "1", "preset": "ultrafast"}
        stream.codec_context.color_range = 2 if full else 1
        if space is not None:
            stream.codec_context.colorspace = code
        for color in COLORS:
            r, g, b = (value / 255 for value in color)
            luma = red * r + (1 - red - blue) * g + blue * b
            chroma = ((b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red))
            offset, scale, wide = (0, 255, 255) if full else (16, 219, 224)
            samples = [offset + scale * luma, *(128 + wide * part for part in chroma)]
            frame = av.VideoFrame(64, rows, "yuv444p")
            for plane, value in zip(frame.planes, samples, strict=True):
                plane.update(bytes([min(255, round(value))]) * plane.buffer_size)
            frame.color_range = 2 if full else 1
            if space is not None:
                frame.colorspace = code
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_clip(tmp_path / "a.mp4") as clip:
        for color, pixels in zip(COLORS, pictures_of(clip), strict=True):
            assert np.abs(pixels.astype(int) - color).max() <= 3


def test_tagged_bt709_of_a_stranger() -> None:
    with open_clip(STRANGERS / "hd709_tagged.mp4") as clip:
        assert np.abs(pictures_of(clip)[0][5, 5].astype(int) - (255, 0, 0)).max() <= 3
