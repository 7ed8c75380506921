"""Average the weights of two models of one network: a model soup (Wortsman et al., ICML 2022), of equal shares.

python scripts/average.py FIRST SECOND OUT

The second was trained on from the first, so that both lie in one basin. OUT has the second's information; its
scores are those of neither, and are made anew by scripts/bundle.py.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from refineseg.model.weights import load_model_folder, save_model_folder


def main() -> None:
    """Write OUT, a model folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    (first, before), (second, info) = load_model_folder(given.first), load_model_folder(given.second)
    if first.config != second.config or before.labels != info.labels:
        raise SystemExit("expected two models of one network and one label map")
    ours = second.state_dict()
    for name, value in first.state_dict().items():
        if value.is_floating_point():  # counts of batches are left as they are
            ours[name].copy_((value + ours[name]) / 2)
    save_model_folder(given.out, second, dataclasses.replace(info, scores=(), calibration={}))


if __name__ == "__main__":
    main()
