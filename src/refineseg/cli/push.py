"""refineseg push."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from refineseg.cli.common import console


def push(
    folder: Annotated[Path, Argument(metavar="MODEL_FOLDER", help="Model folder, such as RUN/best.")],
    name: Annotated[str, Argument(metavar="hf:ORG/NAME", help="Repository; @BRANCH pushes to a branch.")],
    private: Annotated[bool, Option("--private", help="Make a new repository private.")] = False,
    message: Annotated[str, Option(help="Commit message.")] = "",
) -> None:
    """Upload a model folder to the Hugging Face Hub: config.json, model.safetensors and the card.

    The token comes from HF_TOKEN, or from the Hub's login.

    Example: [bold]refineseg push runs/camvid/best hf:me/streets[/bold]
    """
    from refineseg.model.folders.hub import push_model

    pushed, sha256 = push_model(folder, name, private, message)
    console.print(f"pushed {pushed} (model.safetensors sha256 {sha256})")
    console.print(f"try it: refineseg predict PICTURE --model {pushed} -o out")
