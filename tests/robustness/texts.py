"""Bad YAML and JSON: labels, data sets, settings, scores, annotations, predictions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.robustness.case import Case, damages, unreadable, written

STRANGERS = Path(__file__).parents[1] / "data/formats/strangers"
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
YAMLS: dict[str, str | bytes] = {
    "null": "null\n",
    "a word": "hello\n",
    "a list": "[1, 2, 3]\n",
    "a tab": "classes:\n\t- a\n",
    "an open bracket": "classes: [a, b\n",
    "an object of Python": "classes: !!python/object/apply:os.system ['touch owned']\n",
    "a name of Python": "classes: !!python/name:os.system\n",
    "nine times nine times nine ... references": LAUGHS + "classes: *i\n",
    "a list inside itself": "classes: &x [*x]\n",
    "five thousand brackets": "classes: " + "[" * 5000 + "]" * 5000 + "\n",
    "an impossible date": "classes: 2001-99-99\n",
    "an integer that is none": "classes: !!int abc\n",
    "a number of 5000 digits": "classes: " + "9" * 5000 + "\n",
    "two documents": "classes: [a]\n---\nclasses: [b]\n",
    "a key that is a list": "? [a, b]\n: c\n",
    "unknown names": "klasses: [a, b]\n",
    "a NUL": "classes: [a\0b]\n",
    "UTF-16": "classes: [a, b]\n".encode("utf-16"),
    "an unknown reference": "classes: *nowhere\n",
    "classes a word": "classes: road\n",
    "classes a number": "classes: 3\n",
    "classes with a list in it": "classes: [[a], {b: c}]\n",
    "the same class twice": "classes: [road, road]\n",
    "no classes": "classes: []\n",
    "three hundred classes": f"classes: {[f'c{i}' for i in range(300)]}\n",
    "classes of nothing": "classes: [~, ~]\n",
    "ignore a word": "classes: [a, b, c]\nignore: void\n",
    "ignore below zero": "classes: [a, b, c]\nignore: [-7]\n",
    "ignore a class": "classes: [a, b, c]\nignore: [0, 1, 2]\n",
    "colours of two numbers": "classes: [a, b, c]\ncolors: [[1, 2], [3, 4], [5, 6]]\n",
    "colours beyond 255": "classes: [a, b, c]\ncolors: [[999, 0, 0], [0, -1, 0], [1, 2, 3]]\n",
}
SETTINGS: dict[str, Any] = {
    "lr": ["fast", -1.0, 0, ".nan", ".inf", "[]", "1e400"],
    "batch_size": [0, -3, 2.5, "true", 10**12, "'2'"],
    "steps": [0, -1, "many", 1.5, 10**30],
    "epochs": [0, "~", 10**25],
    "seed": ["x", 10**40, -1],
    "ema": [1.0, -0.5, ".nan"],
    "workers": [-1, "two"],
    "model": ["nothing", "''", "../../etc", 3, "[a]"],
    "backbone_weights": ["nothing.safetensors", "/dev/null", "."],
    "optimizer": ["adam", 7],
    "precision": [16, "half"],
    "fields": ["3", "{width: 0}", "{width: 1000000000}", "{widht: 3}", "{backbone: nothing}", "{mean: [1]}"],
    "augment": ["3", "{crop: [0, 0]}", "{crop: [1, 2, 3]}", "{scale: [2, 1]}", "{flip: 7}", "{hue: .nan}"],
    "label_smoothing": [1.5, ".nan"],
    "warmup": [-1.0, ".nan", 7.0],
    "clip_norm": [-1.0, ".nan"],
    "class_weights": [".inf", ".nan", -900.0],
    "weight_decay": [".nan", -1.0, ".inf"],
    "cache_mb": [-1, "big"],
    "metric": ["iou"],
}


def yamls() -> Iterator[Case]:
    """For labels.yaml, data sets and settings alike."""
    for name, text in YAMLS.items():
        yield Case("yaml", name, written("f.yaml", text), harmless=name in ("ignore a class",))
    for name, data in damages(b"classes: [background, box, other]\nignore: [255]\n" * 3).items():
        yield Case("yaml", name, written("f.yaml", data), harmless=name == "last byte lost")
    yield from unreadable("yaml", "f.yaml")


def settings() -> Iterator[Case]:
    """Training settings of which one value is wrong."""
    for key, values in SETTINGS.items():
        for value in values:
            yield Case("settings", f"{key} {str(value)[:40]}", written("f.yaml", f"{key}: {value}\n"))


def scores(good: dict[str, Any]) -> Iterator[Case]:
    """What ``compare`` reads: what ``evaluate --json`` wrote, spoilt."""
    for key in good:
        yield Case("scores", f"without {key}", spoilt(good, key), harmless=key not in READ)
        for junk in (None, list[Any](), "x", -1, 1e999):
            # Free text may be anything; it is compared with that of the other file.
            yield Case("scores", f"{key} {junk}", spoilt(good, key, junk), harmless=key not in READ)
    yield from _jsons("scores", json.dumps(good).encode(), "s.json")


READ = {"class_names", "protocol", "images"}


def spoilt(good: dict[str, Any], key: str, *junk: Any) -> Callable[[Path], Path]:
    """The JSON with a key replaced, or left out."""
    values = {**good, key: junk[0]} if junk else {name: value for name, value in good.items() if name != key}
    return written("s.json", json.dumps(values))


def _jsons(kind: str, good: bytes, file: str) -> Iterator[Case]:
    for name, data in damages(good).items():
        yield Case(kind, name, written(file, data), harmless=name == "a byte flipped")
    for name, text in {"a number": "3", "null": "null", "a list": "[]", "deep": "[" * 100_000}.items():
        yield Case(kind, name, written(file, text))
    yield from unreadable(kind, file)


ENTITIES = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">%s]><annotations>&i;</annotations>' % "".join(  # noqa: UP031
    f'<!ENTITY {name} "{f"&{before};" * 9}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
FILE = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotations>&a;</annotations>'

JUNK: tuple[Any, ...] = (None, 3, [3], [{}], {"a": 1})
OUTLINES: tuple[Any, ...] = (
    [[]],
    [[1]],
    [["a", "b"]],
    [[1e99] * 6],
    {"counts": "zzz", "size": [36, 48]},
    {"size": 3},
    {"counts": [10**12], "size": [10**6, 10**6]},
    {"counts": [0, 10**12], "size": [36, 48]},
)


def foreign() -> Iterator[Case]:
    """Other tools' files."""
    coco = {
        "images": [{"id": 1, "file_name": "p0.png", "width": 48, "height": 36}],
        "categories": [{"id": 1, "name": "box"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]], "area": 9}
        ],
    }
    yield from _jsons("annotation", json.dumps(coco).encode(), "a.json")
    for key in coco:
        for junk in JUNK:
            text = json.dumps({**coco, key: junk})
            yield Case("annotation", f"COCO {key} {junk}", written("a.json", text))
    for segmentation in OUTLINES:
        value = {**coco, "annotations": [{**coco["annotations"][0], "segmentation": segmentation}]}
        name = f"COCO outline {str(segmentation)[:30]}"
        yield Case("annotation", name, written("a.json", json.dumps(value)), harmless=True)
    outside = {**coco, "images": [{**coco["images"][0], "file_name": "../../../../etc/passwd"}]}
    yield Case("annotation", "COCO picture outside", written("a.json", json.dumps(outside)))
    for name in ("coco_missing_image/ann/a.json", "coco_odd_count/ann/a.json", "mk_dup_stem_masks2"):
        yield Case("annotation", f"strangers' {name}", _stranger(name))
    for name, text in (
        ("XML bomb", ENTITIES),
        ("XML that reads a file", FILE),
        ("XML cut", "<annotations><image"),
    ):
        yield Case("annotation", name, written("a.xml", text))


def _stranger(name: str) -> Callable[[Path], Path]:
    """One of the folders that users of other tools reported, which has a fault."""

    def make(folder: Path) -> Path:
        top = Path(name).parts[0]
        shutil.copytree(STRANGERS / top, folder / top)
        return folder / name

    return make


ARGUMENTS = """
predict
predict nothing.png -o out
predict no*.png -o out
predict {long} -o out
predict {data}/images -o {long}
evaluate --model {long} --data {long}
convert {long} out
compare {long} {long}
predict {data}/images -o {data}/labels.yaml
predict {data}/images -o /dev/null/out
predict {data}/images -o out --scales nan
predict {data}/images -o out --scales 0
predict {data}/images -o out --scales 1,,2
predict {data}/images -o out --scales -1
predict {data}/images -o out --scales 1e9
predict {data}/images -o out --tile 0
predict {data}/images -o out --tile -5
predict {data}/images -o out --tile 1e3
predict {data}/images -o out --save nothing
predict {data}/images -o out --save mask,,,nothing
predict {data}/images -o out --device tpu
predict {data}/images -o out --device cuda:99
predict {data}/images -o out --precision 16
predict {data}/images -o out --model nothing
predict {data}/images -o out --model hf:nothing
predict {data}/images -o out --model hf:nobody/nothing
predict {data}/images -o out --nothing
predict {data}/labels.yaml -o out --model {model}
evaluate --model {model} --data nothing:{data}
evaluate --model {model} --data folder:nothing
evaluate --model {model} --data {data}
evaluate --model {model} --data folder:{data} --split nothing
evaluate --model {model} --data folder:{data} --protocol nothing
evaluate --model {model} --data folder:{data} --measure nothing
evaluate --model {model} --data folder:{data} --calibrate nothing
evaluate --model {model} --data folder:{data} --tile nothing
evaluate --model {model} --data folder:{data} --json /dev/null/s.json
evaluate --model camvid --data folder:{data}
train --data folder:{data} -o out --model nothing
train --data folder:{data} -o out --set nothing=1
train --data folder:{data} -o out --set lr
train --data folder:{data} -o out --crop 0
train --data folder:{data} -o out --crop 10x
train --data folder:{data} -o out --steps -1
train --data folder:{data} -o out --epochs x
train --data folder:{data} -o out --recipe nothing
train --data folder:{data} -o out --config nothing.yaml
train --data folder:{data} -o out --resume
train --data folder:{data} -o {data}
train --data folder:{data} -o out --repeats 0 --steps 1
check nothing:{data}
check folder:nothing
compare nothing.json nothing.json
submit nothing --validate {data}/labels.yaml
submit voc2012 --validate nothing.zip
submit voc2012
convert
convert nothing.pth out
convert {model}/model.safetensors out --labels nothing
convert {model}/model.safetensors
serve --model nothing
serve --model {model} --port 99999999
serve --model {model} --host nothing.invalid
serve --model {model} --max-mb nan
serve --model {model} --requests 0
serve --model {model} --batch -1
serve --model {model} --timeout -1
models --json /dev/null/m.json
push nothing hf:me/nothing
push {model} nothing
data nothing
data prepare nothing {data}/labels.yaml -o out
data prepare voc2012 nothing.tar -o out
data import nothing -o out
data import {data} -o out --format nothing
data import {data}/images -o out --unlabelled nothing
data export nothing -o out --format coco --model {model}
data export {data}/masks -o out --format nothing --model {model}
data export {data}/masks -o out --format coco
nothing
--nothing
"""


def arguments() -> Iterator[Case]:
    """Command lines that are wrong by themselves; {data} and {model} are good, {long} is too long for a name."""
    for line in ARGUMENTS.strip().splitlines():
        yield Case("arguments", line, written("line", line))
