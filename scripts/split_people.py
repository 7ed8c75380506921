"""Write configs/people/train.txt and val.txt: 700 and 100 of the 800 pictures of clothing_parsing, drawn once.

Run from the repository's root: python scripts/split_people.py
"""

from __future__ import annotations

import random
from pathlib import Path

SEED, PICTURES, HELD_OUT = 20140601, 800, 100


def main() -> None:
    folder = Path("configs/people")
    stems = [f"{number:04d}" for number in range(1, PICTURES + 1)]
    held_out = set(random.Random(SEED).sample(stems, HELD_OUT))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "val.txt").write_text("".join(f"{stem}\n" for stem in stems if stem in held_out))
    (folder / "train.txt").write_text("".join(f"{stem}\n" for stem in stems if stem not in held_out))


if __name__ == "__main__":
    main()
