"""Files of a system, below a folder in place of its root."""

from __future__ import annotations

from pathlib import Path


def system_files(root: Path, files: dict[str, str]) -> Path:
    """Write texts by their paths below ``root``; returns it."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
