"""The head of a DPT through our blocks against transformers' own, in turns in one process, on the same tokens.

python benchmarks/relatives.py [--rounds 5] [--side 518]

Depth Anything's reassemble stage, decoder and head for a picture of 518x518 (37x37 patches). Weights are random
and the same in both; the relative difference of the outputs is printed. Memory is what is alive at once, by
counting the storages of all tensors while it runs. Time is the CPU time of one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
import statistics
import tempfile
import time
from typing import Any

from refineseg.model.conversion.fill import fill
from refineseg.model.dpt.huggingface import recognise_repository
from refineseg.model.memory import PeakMemory
from safetensors.torch import load_file
import torch
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

PREPROCESSOR = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 518, "width": 518}}
SIZES = {  # tokens, maps, width of the decoder
    "small": (384, [48, 96, 192, 384], 64),
    "large": (1024, [256, 512, 1024, 1024], 256),
}


def pair(size: str) -> tuple[Any, Any]:
    """transformers' network and ours with its weights; transformers of four blocks, since the head is measured."""
    width, maps, features = SIZES[size]
    backbone = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=4,
        num_attention_heads=width // 64,
        image_size=518,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=width, neck_hidden_sizes=maps, fusion_hidden_size=features
    )
    theirs: Any = DepthAnythingForDepthEstimation(config).eval()
    torch.nn.init.constant_(theirs.head.conv3.bias, 3.0)  # well above 0, where its ReLU begins
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        values = {**theirs.config.to_dict(), "architectures": [type(theirs).__name__]}
        found = recognise_repository(values, PREPROCESSOR, "a benchmark")
        ours, _ = fill(found, load_file(Path(folder) / "model.safetensors"))
    return theirs, ours


def measured(run: Callable[[], Any]) -> float:
    """CPU seconds of this thread, which other work on the machine changes little."""
    start = time.thread_time()
    run()
    return time.thread_time() - start


@torch.inference_mode()
def compare(size: str, side: int, rounds: int) -> None:
    """Print both times, their ratio and both memories."""
    theirs, ours = pair(size)
    grid = side // 14
    tokens = [torch.randn(1, grid * grid + 1, SIZES[size][0]) for _ in range(4)]
    patches = [t[:, 1:].transpose(1, 2).reshape(1, -1, grid, grid).contiguous() for t in tokens]

    def their_head() -> Any:
        return theirs.head(theirs.neck(list(tokens), grid, grid), grid, grid)[:, None]

    def our_head() -> Any:
        maps = ours.reassemble([(patch, None) for patch in patches])
        return ours.classifier(ours.decoder(maps), (14 * grid, 14 * grid))

    error = float((our_head() - their_head()).norm() / their_head().norm())
    seconds: dict[str, list[float]] = {"transformers": [], "refineseg": []}
    for _ in range(rounds):
        seconds["transformers"].append(measured(their_head))
        seconds["refineseg"].append(measured(our_head))
    ratios = [ours / theirs for ours, theirs in zip(seconds["refineseg"], seconds["transformers"], strict=True)]
    print(f"{size}, {side}x{side}, relative difference {error:.1e}")
    for name, run in (("transformers", their_head), ("refineseg", our_head)):
        with PeakMemory([*theirs.parameters(), *ours.parameters(), *tokens, *patches]) as alive:
            run()
        middle = statistics.median(seconds[name])
        print(f"  {name}: median {1000 * middle:.0f} ms, {alive.peak / 2**20:.0f} MiB at once")
    print(f"  ratio of times, round by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=518)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for size in SIZES:
        compare(size, given.side, given.rounds)


if __name__ == "__main__":
    main()
