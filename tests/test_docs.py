"""Every code block of docs/: run on small data, or marked with the reason why not (see tests/docs_blocks.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from refineseg.deploy import verification
from refineseg.model.folders import find_model
from refineseg.model.folders.find_model import bundled_models
from refineseg.model.folders.model_folder import ModelCard, read_config, save_model_folder
from refineseg.model.presets import create_model
from tests.data.benchmarks.roots import listing, picture, voc2012
from tests.data.made import made_pair, make_camvid, make_folder
from tests.deploy.made import spread
from tests.docs_blocks import CODE, PAGES, SHOWN, Block, blocks_of, parse, run_block, small
from tests.hub import TOKEN, reached_hub

# Run by tests/test_readme.py, serving/test_docs.py and test_docs_data.py.
OWN_TEST = ("README", "serving", "data", "formats", "labels", "channels")
HERE = [page for page in PAGES if page not in OWN_TEST and any(b.language in CODE for b in blocks_of(page))]


def make_workplace(root: Path) -> None:
    """What any page may speak of: pictures, CamVid's layout with eight pairs and two, data of one's own."""
    (root / "photos").mkdir()
    for name in ("street.jpg", "photos/a.jpg", "photos/b.png"):
        Image.fromarray(made_pair(1, 11, (90, 120))[0]).save(root / name)
    make_camvid(root / "data", train=8, val=2)
    make_folder(root / "own", 6).rename(root / "mydata")


def make_voc(root: Path) -> None:
    """A small VOC with a test picture, and a model of its classes."""
    devkit = voc2012(root / "data" / "voc") / "VOCdevkit" / "VOC2012"
    listing(devkit / "ImageSets" / "Segmentation" / "test.txt", ["2008_000006"])
    picture(devkit / "JPEGImages" / "2008_000006.jpg")
    from refineseg.data.benchmarks.voc2012 import label_map

    save_model_folder(root / "runs/voc/best", create_model("refinenet-lw-mbv2", 21), ModelCard("voc", label_map()))


def make_scene(root: Path) -> None:
    """A TIFF to be seen in windows."""
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(root / "scene.tif", made_pair(2, 11, (160, 200))[0], tile=(64, 64))


def make_clip(root: Path) -> None:
    """A drive of three frames."""
    pytest.importorskip("av")
    from tests.inference.made_video import frames, write_video

    write_video(root / "drive.mp4", frames(3, 64, 96))


SMALL: Any = {"backbone": "resnet10t", "width": 16, "coarse_width": 16, "crp_stages": 1, "cascade": "two"}


def a_small_camvid(root: Path, monkeypatch: pytest.MonkeyPatch) -> AbstractContextManager[None]:
    """A network in the bundled one's place that is exported in seconds, and a verification at fewer sizes."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    _, info = read_config(bundled_models()["camvid"])
    network = spread(create_model("refinenet-lw-r18", 11, **SMALL))
    save_model_folder(root / "bundled" / "camvid", network, info)
    monkeypatch.setattr(find_model, "BUNDLED", root / "bundled")
    monkeypatch.setattr(verification, "SIZES", verification.SIZES[:6])
    monkeypatch.setattr(verification, "TIMED", (64, 96))
    return nullcontext()


@contextmanager
def a_hub(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Hub on this machine with one model in it, and a token for it."""
    pytest.importorskip("huggingface_hub")
    with reached_hub(root / "cache", monkeypatch) as hub:
        hub.add("ORG/NAME", bundled_models()["camvid"])
        repo = hub.repos["ORG/NAME"]
        repo.names["v1.0"] = repo.names["main"]
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield


PREPARE: dict[str, Callable[[Path], None]] = {"evaluation": make_voc, "large": make_scene, "video": make_clip}
AROUND: dict[str, Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[None]]] = {
    "hub": a_hub,
    "export": a_small_camvid,
}


@pytest.mark.parametrize("page", HERE)
def test_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_workplace(tmp_path)
    if page in PREPARE:
        PREPARE[page](tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    around = AROUND[page](tmp_path, monkeypatch) if page in AROUND else nullcontext()
    with around:
        for block in blocks_of(page):
            run_block(block, names, small)


@pytest.mark.parametrize("page", PAGES)
def test_no_block_escapes(page: str) -> None:
    """A language that is neither run nor known to be only shown would never be looked at."""
    for block in blocks_of(page):
        assert block.language in CODE + SHOWN, f"{block.place}: console or python, not {block.language}"
        if block.language not in CODE:
            first = block.code.lstrip().split(" ")[0]
            assert first not in ("refineseg", "$"), f"{block.place}: a command in a block that is not ```console"


def test_the_start_page_takes_the_whole_way() -> None:
    verbs = {words[1] for block in blocks_of("index") for words in block.commands if words[0] == "refineseg"}
    assert verbs >= {"predict", "evaluate", "check", "train"}
    assert any(block.language == "python" for block in blocks_of("index"))


# The mechanism itself ------------------------------------------------------------------------------------------

PAGE = """
text

```console
$ refineseg predict a.jpg \\
    -o out
2 pictures
$ refineseg models
```

<!-- not run: takes hours -->
```python
1 / 0
```

- in a list:

  <!-- parsed: a server does not end -->

  ```console
  $ refineseg serve --port 1
  ```

<!-- a comment -->
```python
x = 3
```
"""


def test_blocks_are_found_with_their_marks() -> None:
    blocks = list(parse("p", PAGE))
    assert [(b.language, b.how, b.reason, b.line) for b in blocks] == [
        ("console", "run", "", 4),
        ("python", "not run", "takes hours", 12),
        ("console", "parsed", "a server does not end", 20),
        ("python", "run", "", 25),
    ]
    assert blocks[0].commands == [["refineseg", "predict", "a.jpg", "-o", "out"], ["refineseg", "models"]]
    assert blocks[2].code == "$ refineseg serve --port 1\n"


def test_blocks_are_run() -> None:
    names: dict[str, Any] = {}
    blocks = list(parse("p", PAGE))
    for block in blocks[1:]:
        run_block(block, names, small)
    assert names["x"] == 3
    with pytest.raises(AssertionError, match=r"p\.md:4: predict a\.jpg .* ended with 2"):
        run_block(blocks[0], names, lambda words: [*words, "--wrong"])
    with pytest.raises(AssertionError, match="cannot run make"):
        run_block(Block("p", 1, "console", "$ make demo\n"), names, small)
    with pytest.raises(Exception, match="No such option"):
        run_block(Block("p", 1, "console", "$ refineseg serve --wrong\n", "parsed"), names, small)
    with pytest.raises(ZeroDivisionError):
        run_block(Block("p", 1, "python", "1 / 0\n"), names, small)


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("make robustness", ""),
        ("make nothing", "the Makefile has no nothing"),
        ("python benchmarks/soak.py --minutes 30", ""),
        ("python benchmarks/soak.py --hours=1", "soak.py has no --hours"),
        ("python benchmarks/nothing.py", "there is no benchmarks/nothing.py"),
        ("torchrun --nproc-per-node 2 -m refineseg evaluate --model camvid --data camvid:x", ""),
        ("torchrun -m refineseg evaluate --wrong", "No such option"),
        ("pip install x", "cannot look up pip"),
    ],
)
def test_what_a_parsed_command_names_is_there(command: str, wrong: str) -> None:
    block = Block("p", 1, "console", f"$ {command}\n", "parsed")
    if not wrong:
        run_block(block, {}, small)
        return
    with pytest.raises(Exception, match=wrong):
        run_block(block, {}, small)
