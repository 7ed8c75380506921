"""Who may import whom (docs/architecture.md): only downwards; optional packages in one file each."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import refineseg

SOURCE = Path(refineseg.__file__).parent
# Lower layers first; parts of one layer do not import each other.
LAYERS = (
    ("_version", "errors"),
    ("system",),
    ("config",),
    ("colors",),
    ("raw_values",),
    ("labels",),
    ("channels",),
    ("html",),
    ("data", "model"),
    ("inference",),
    ("evaluation",),
    ("training", "deploy"),
    ("loading",),
    ("runtime", "serving", "ray"),
    ("bench",),
    ("cli",),
    ("__main__",),
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
OPTIONAL = {
    "tensorboard", "sklearn", "scipy", "h5py", "pycocotools", "skimage", "tifffile", "pyarrow", "onnx",
    "onnxruntime", "onnxscript", "openvino", "nncf", "fastapi", "uvicorn", "av", "huggingface_hub", "transformers",
    "starlette", "python_multipart", "prometheus_client", "segmentation_models_pytorch", "ray", "wandb", "mlflow",
}  # fmt: skip
HEAVY = {"torch", "torchvision", "timm", "matplotlib", "lightning_fabric"}


def part_of(path: Path) -> str:
    """First name below the package: ``data``, ``labels`` ..."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative import"
        return [node.module or ""]
    return []


def trees() -> list[tuple[Path, ast.Module]]:
    paths = sorted(SOURCE.rglob("*.py"))
    assert len(paths) > 30
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def test_imports_go_down() -> None:
    wrong = []
    for path, tree in trees():
        own = part_of(path)
        if own == "__init__":
            continue  # the contents page
        for node in ast.walk(tree):
            for name in imported(node):
                if not name.startswith("refineseg."):
                    continue
                other = name.split(".")[1]
                if other != own and LEVEL[other] >= LEVEL[own]:
                    wrong.append(f"{path.relative_to(SOURCE)} imports {name}")
    assert not wrong


def test_optional_packages_are_imported_inside_functions_and_in_one_file() -> None:
    files: dict[str, set[Path]] = defaultdict(set)
    top_level = []
    for path, tree in trees():
        at_top = {id(node) for node in tree.body}
        for node in ast.walk(tree):
            for name in imported(node):
                package = name.split(".")[0]
                if package in OPTIONAL:
                    # scipy is a family: its .mat reader and its image functions have a file each
                    files[".".join(name.split(".")[:2]) if package == "scipy" else package].add(
                        path.relative_to(SOURCE)
                    )
                    if id(node) in at_top:
                        top_level.append(f"{path.name} imports {name}")
    assert not top_level
    assert not {package: paths for package, paths in files.items() if len(paths) > 1}


def test_nothing_heavy_is_imported_for_help() -> None:
    """The command line and the lowest layers start without torch."""
    light = sorted(SOURCE.glob("*.py")) + sorted((SOURCE / "cli").glob("*.py"))
    for path in light:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            for name in imported(node):
                assert name.split(".")[0] not in HEAVY, f"{path.name} imports {name}"


def test_no_prints_outside_the_command_line() -> None:
    for path, tree in trees():
        if part_of(path) in ("cli", "__main__"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "eval", "exec"), f"{path.name}:{node.lineno}"


def test_the_page_on_architecture_has_every_folder() -> None:
    page = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = page.split("```")[1]
    folders = {path.parent.name for path in SOURCE.rglob("*.py") if path.parent != SOURCE}
    assert len(folders) > 30
    assert not [folder for folder in folders if f"{folder}/" not in tree]
