"""Make the ImageNet weights that come with the package, src/refineseg/weights/imagenet, from timm's files.

    python scripts/pack_imagenet.py mobilenetv2_100.safetensors OUT.safetensors

Convolutions become float16; batch norm stays float32, since variances span many orders of magnitude. The
classifier and the convolution before it are left out. Prints the SHA-256 for the record
in src/refineseg/model/folders/pretrained.py.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from safetensors.torch import load_file, save_file

from refineseg.model.backbones.weights import HEADS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    state = {
        key: value.half() if value.ndim == 4 else value.float()
        for key, value in load_file(given.source).items()
        if not key.startswith(HEADS) and not key.endswith("num_batches_tracked")
    }
    save_file(state, given.out, metadata={"format": "pt"})
    print(given.out.stat().st_size, hashlib.sha256(given.out.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
