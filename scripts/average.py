"""Average the weights of models of one network: a model soup (Wortsman et al., ICML 2022), of equal shares.

python scripts/average.py MODEL MODEL ... -o OUT

They must be fine-tuned from one another or from a common model, so that all lie in one basin; scripts/bundle.py
scores the result. Settings that the weights do not depend on, such as ``input_scales``, may differ between the
models: ``--set`` gives those of OUT. OUT has the last model's provenance.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from refineseg.config import ModelConfig
from refineseg.model.folders.model_folder import load_model_folder, save_model_folder


def main() -> None:
    """Write OUT, a model folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="NAME=VALUE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    opened = [load_model_folder(folder, **ModelConfig.read(given.settings)) for folder in given.models]
    network, card = opened[-1]
    if any(other.config != network.config or said.labels != card.labels for other, said in opened):
        raise SystemExit("expected models of one network and one label map")
    states = [other.state_dict() for other, _ in opened]
    averaged = network.state_dict()
    for name, value in averaged.items():
        if value.is_floating_point():  # batch counters stay as they are
            value.copy_(sum(state[name] for state in states) / len(states))
    save_model_folder(given.output, network, dataclasses.replace(card, scores=(), calibration={}))


if __name__ == "__main__":
    main()
