"""Every code block of docs/: run on small data, or marked with the reason why not (see tests/docs_blocks.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from refineseg.model.presets import create_model
from refineseg.model.weights import ModelInfo, save_model_folder
from tests.data.benchmarks.roots import listing, picture, voc2012
from tests.data.made import made_pair, make_camvid, make_folder
from tests.docs_blocks import CODE, PAGES, SHOWN, Block, blocks_of, parse, run_block, small

# Pages whose blocks are only parsed yet: what they need (a video, a server, an export) is not made here.
WAITING = ("video", "speed", "export", "serving", "scaling", "hub", "reliability", "security", "reproduction")
OWN_TEST = ("README", "data")  # tests/test_readme.py, tests/test_docs_data.py
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

    save_model_folder(root / "runs/voc/best", create_model("refinenet-lw-mbv2", 21), ModelInfo("voc", label_map()))


def make_scene(root: Path) -> None:
    """A TIFF to be seen in windows."""
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(root / "scene.tif", made_pair(2, 11, (160, 200))[0], tile=(64, 64))


PREPARE: dict[str, Callable[[Path], None]] = {"evaluation": make_voc, "large": make_scene}


@pytest.mark.parametrize("page", HERE)
def test_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_workplace(tmp_path)
    if page in PREPARE:
        PREPARE[page](tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks_of(page):
        if page in WAITING and block.how == "run":
            block = replace(block, how="parsed")
        run_block(block, names, small)


@pytest.mark.parametrize("page", [page for page in PAGES if page not in WAITING])
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
