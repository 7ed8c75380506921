"""Videos: frames, times, sizes, sound and rotation come through; what is broken or interrupted leaves nothing."""

from __future__ import annotations

import builtins
import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from refineseg.cli.main import main
from refineseg.data import read_mask
from refineseg.errors import InputError
from refineseg.inference.batch import find_inputs, predict_files
from refineseg.inference.options import PredictOptions
from refineseg.inference.video import sources
from refineseg.inference.video.clips import Clip, open_clip
from refineseg.inference.video.predict import predict_video
from refineseg.inference.video.sources import VideoInput, VideoOptions
from refineseg.inference.video.writer import ClipWriter
from refineseg.model.folders.model_folder import save_model_folder
from tests.inference.lively import lively
from tests.inference.made_video import Quarters, frames, read_video, turned, write_video
from tests.inference.video.test_background import running

OPTIONS = PredictOptions()


def quarter(picture: Any) -> Any:
    return (picture[..., 0] // 64).astype(np.uint8)


def test_a_video_becomes_a_video(tmp_path: Path) -> None:
    pictures = frames()
    clip = write_video(tmp_path / "clip.mp4", pictures, sound=True)
    out = tmp_path / "out"
    steps: list[tuple[int, int | None]] = []
    (entry,) = predict_files(Quarters(), [clip], out, OPTIONS, steps=lambda i, n: steps.append((i, n)))
    assert entry.error is None
    assert entry.files == {"overlay": "videos/clip.mp4"}
    assert steps == [(i, 6) for i in range(1, 7)]
    painted, times = read_video(out / "videos/clip.mp4")
    assert [x.shape for x in painted] == [(48, 64, 3)] * 6
    assert times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5], abs=1e-4)
    palette = Quarters().card.labels.palette
    for picture, seen in zip(pictures, painted, strict=True):  # in the middle of squares; colour has half the size
        expected = picture * 0.45 + palette[quarter(picture)] * 0.55
        assert np.median(np.abs(expected - seen)) < 6
    with av.open(str(out / "videos/clip.mp4")) as made, av.open(str(clip)) as given:
        assert made.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert made.streams.video[0].average_rate == 10
        assert made.streams.audio[0].codec_context.name == "aac"
        sounds = [[bytes(p) for p in c.demux(audio=0) if p.dts is not None] for c in (made, given)]
        assert sounds[0] == sounds[1] != []
    recorded = json.loads((out / "predictions.json").read_text())["predictions"][0]
    assert recorded["frames"] == 6
    assert recorded["frames_per_second"] > 0
    assert recorded["size"] == [64, 48]
    labels = [quarter(picture) for picture in pictures]
    changes = np.mean([(a != b).mean() for a, b in pairwise(labels)])
    assert recorded["label_changes"] == pytest.approx(changes, abs=0.01)
    assert sum(recorded["class_shares"].values()) == pytest.approx(1, abs=1e-4)
    assert sorted(p.name for p in out.iterdir()) == ["predictions.json", "videos"]
    assert Image.open(out / "videos/clip_legend.png").height > 60


def test_other_kinds_are_written_frame_by_frame(tmp_path: Path) -> None:
    pictures = frames(3, 45, 63)  # odd: the video gets a row and a column more, masks do not
    clip = write_video(tmp_path / "clip.mkv", pictures)
    save = ("mask", "overlay", "rle", "uncertainty", "probs")
    outcome = predict_video(Quarters(), clip, tmp_path / "out", "x", OPTIONS, save)
    assert outcome.files["mask"] == tmp_path / "out/masks/x"
    for index, picture in enumerate(pictures):
        mask = read_mask(tmp_path / f"out/masks/x/{index:06d}.png")
        assert mask.shape == (45, 63)
        assert (mask == quarter(picture)).mean() > 0.97
    assert len(list((tmp_path / "out").rglob("*.json"))) == len(list((tmp_path / "out").rglob("*.npz"))) == 3
    painted, _ = read_video(tmp_path / "out/videos/x.mp4")
    assert painted[0].shape == (46, 64, 3)
    again = predict_video(Quarters(), clip, tmp_path / "out", "x", OPTIONS, save, VideoOptions(seconds=0.2))
    assert again.frames == 2
    assert len(list((tmp_path / "out/masks/x").iterdir())) == 2  # the earlier run's are gone


def test_times_that_vary_are_kept(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.15, 0.5, 1.0]
    clip = write_video(tmp_path / "clip.mp4", frames(5), times)
    predict_video(Quarters(), clip, tmp_path, "out", OPTIONS)
    assert read_video(tmp_path / "videos/out.mp4")[1] == pytest.approx(times, abs=2e-3)


def test_a_turned_video_is_seen_upright(tmp_path: Path) -> None:
    pictures = frames(2)
    clip = write_video(tmp_path / "clip.mp4", pictures)
    turned(clip)
    with open_clip(clip) as opened:
        assert opened.size == (64, 48)
        first = next(item for item in opened if not hasattr(item, "packet"))
    assert np.abs(np.rot90(pictures[0], -1).astype(int) - first.pixels).mean() < 6  # clockwise
    assert np.abs(np.rot90(pictures[0], 1).astype(int) - first.pixels).mean() > 20
    predict_video(Quarters(), clip, tmp_path, "out", OPTIONS)
    assert read_video(tmp_path / "videos/out.mp4")[0][0].shape == (64, 48, 3)


def test_broken_files_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_video(tmp_path / "good.mp4", frames(2))
    (tmp_path / "noise.mp4").write_bytes(b"no video at all " * 300)
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:700])
    (tmp_path / "empty.mov").write_bytes(b"")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        hum = container.add_stream("aac", rate=8000, layout="mono")
        part: Any = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        part.sample_rate = 8000
        container.mux(hum.encode(part))
        container.mux(hum.encode(None))
    names = ["noise.mp4", "cut.mp4", "empty.mov", "sound.mp4", "good.mp4"]
    entries = predict_files(Quarters(), [tmp_path / name for name in names], tmp_path / "out", OPTIONS)
    errors = [entry.error or "" for entry in entries]
    assert all(error and "\n" not in error for error in errors[:4])
    assert "as a video" in errors[0]
    assert "as a video" in errors[2]
    assert "no video stream" in errors[3]
    assert errors[4] == ""
    assert [p.name for p in (tmp_path / "out/videos").glob("*.mp4")] == ["good.mp4"]
    assert not list((tmp_path / "out").glob(".*"))
    with pytest.raises(InputError, match="not found"), open_clip(tmp_path / "none.mp4"):
        pass
    assert main(["predict", "--device", "cpu", str(tmp_path / "noise.mp4"), "-o", str(tmp_path / "o2")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: cannot read")


def test_a_damaged_middle_is_left_out_and_told(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mkv", frames(40), pixels="yuv420p")
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    (entry,) = predict_files(Quarters(), [clip], tmp_path / "out", OPTIONS)
    assert entry.error is None
    assert 1 <= entry.video["frames"] < 36
    assert "ends early" in entry.video["warning"] or "damaged" in entry.video["warning"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    clip = write_video(tmp_path / "clip.mp4", frames(30))

    def stop(done: int, total: int | None) -> None:
        if done == 3:
            raise error

    out = tmp_path / "out"
    with pytest.raises(error):
        predict_video(Quarters(), clip, out, "clip", OPTIONS, ("mask", "overlay"), progress=stop)
    assert not out.exists() or not list(out.iterdir())
    assert not running()


def test_what_cannot_be_encoded_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: ClipWriter, pixels: Any, time: Fraction) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ClipWriter, "write", full)
    clip = write_video(tmp_path / "clip.mp4", frames(8))
    with pytest.raises(InputError, match="No space left"):
        predict_video(Quarters(), clip, tmp_path / "out", "clip", OPTIONS)
    assert not list((tmp_path / "out").iterdir())


def test_a_camera_is_ended_by_ctrl_c_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_video(tmp_path / "clip.mp4", frames(30))

    def stop(done: int, total: int | None) -> None:
        assert total is None
        if done == 3:
            raise KeyboardInterrupt

    def camera(source: str, live: bool) -> Any:
        assert live
        opened = open_clip(clip)
        found: Clip = opened.__enter__()
        found.live, found.frames, found.audio = True, None, None
        return _Opened(opened, found)

    monkeypatch.setattr(sources, "open_clip", camera)
    outcome = predict_video(Quarters(), "0", tmp_path, "camera_0", OPTIONS, progress=stop)
    assert outcome.frames == 3
    assert len(read_video(tmp_path / "videos/camera_0.mp4")[0]) == 3
    with pytest.raises(InputError, match="cannot open the camera or stream 77"), open_clip("77", live=True):
        pass


class _Opened:
    def __init__(self, opened: Any, found: Clip) -> None:
        self.opened, self.found = opened, found

    def __enter__(self) -> Clip:
        return self.found

    def __exit__(self, *error: Any) -> Any:
        return self.opened.__exit__(*error)


def test_folders_of_frames(tmp_path: Path) -> None:
    for index, picture in enumerate(frames(3)):
        (tmp_path / "walk").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / f"walk/{index}.png")
    moving = VideoInput(tuple(find_inputs([str(tmp_path / "walk")])), VideoOptions(rate=5))
    (entry,) = predict_files(Quarters(), [moving], tmp_path / "out", OPTIONS, ("mask", "overlay"))
    assert entry.files == {"mask": "masks/walk", "overlay": "videos/walk.mp4"}
    pictures, times = read_video(tmp_path / "out/videos/walk.mp4")
    assert len(pictures) == 3
    assert times == pytest.approx([0, 0.2, 0.4], abs=1e-4)
    Image.fromarray(frames(1, 32, 32)[0]).save(tmp_path / "walk/9.png")
    moving = VideoInput(tuple(find_inputs([str(tmp_path / "walk")])))
    (entry,) = predict_files(Quarters(), [moving], tmp_path / "out2", OPTIONS)
    assert "expected frames of one size, 64x48" in (entry.error or "")


def test_smoothing_and_tiles_of_a_real_network(tmp_path: Path) -> None:
    segmenter = lively()
    segmenter.runner.__dict__["overlap"] = 32
    clip = write_video(tmp_path / "clip.mp4", frames(2, 64, 128))
    with open_clip(clip) as opened:
        pictures = [item.pixels for item in opened if not hasattr(item, "packet")]
    predict_video(segmenter, clip, tmp_path, "plain", OPTIONS, ("mask",))
    predict_video(segmenter, clip, tmp_path, "tiles", OPTIONS, ("mask",), VideoOptions(tile=96))
    predict_video(segmenter, clip, tmp_path, "smooth", OPTIONS, ("mask",), VideoOptions(0.8, tile=96))
    for index, picture in enumerate(pictures):
        masks = {name: read_mask(tmp_path / f"masks/{name}/{index:06d}.png") for name in ("plain", "tiles")}
        assert np.array_equal(masks["plain"], segmenter.predict(picture).labels)
        assert np.array_equal(masks["tiles"], segmenter.predict(picture, tile=96).labels)
    found = list(segmenter.predict_video(str(clip), smooth=0.8, tile=96, seconds=0.2))
    assert len(found) == 2
    assert np.array_equal(found[1].labels, read_mask(tmp_path / "masks/smooth/000001.png"))
    for frame, same in ((0, True), (1, False)):  # the first has no past yet
        tiles, smooth = (read_mask(tmp_path / f"masks/{name}/00000{frame}.png") for name in ("tiles", "smooth"))
        assert np.array_equal(tiles, smooth) is same


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segmenter = lively()
    save_model_folder(tmp_path / "m", segmenter.model, segmenter.card)
    clip = write_video(tmp_path / "clip.mp4", frames(2))
    command = ["predict", str(clip), "--model", str(tmp_path / "m"), "--device", "cpu"]
    assert main([*command, "-o", str(tmp_path / "out"), "--smooth", "0.8"]) == 0
    assert "clip.mp4: 2 frames, " in capsys.readouterr().out
    assert len(read_video(tmp_path / "out/videos/clip.mp4")[0]) == 2
    for words, message in (
        (["--smooth", "1.5"], "smoothing of 0 up to below 1"),
        (["--seconds", "0"], "--seconds above 0"),
        (["--fps", "0", "--sequence"], "--fps above 0"),
        (["--sequence"], "--sequence: no pictures found"),
    ):
        assert main([*command, "-o", str(tmp_path / "x"), *words]) == 2
        assert message in capsys.readouterr().err
    assert main(["predict", "-o", str(tmp_path / "x")]) == 2
    assert "or --source 0 for a camera" in capsys.readouterr().err
    assert main(["predict", "--source", "77", "-o", str(tmp_path / "y"), "--model", str(tmp_path / "m")]) == 2
    assert "cannot open the camera or stream 77" in capsys.readouterr().err


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_video(tmp_path / "clip.mp4", frames(2))
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "av":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    (entry,) = predict_files(Quarters(), [clip], tmp_path / "out", OPTIONS)
    assert entry.error == (
        "reading and writing video needs the package av, which is not installed: pip install 'refineseg[video]'"
    )
