"""What docs/security.md promises of the source: nothing of an input is ever run."""

from __future__ import annotations

import ast
from pathlib import Path

import refineseg

SOURCE = Path(refineseg.__file__).parent
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
# Names the class of an error only; it unpickles nothing itself.
MAY_NAME_PICKLE = {"model/tensors/checkpoints.py"}
# The only places that read pickles, each with weights_only=True.
MAY_UNPICKLE = {"model/tensors/checkpoints.py", "training/checkpoint.py"}
UNSAFE_YAML = {"load", "load_all", "unsafe_load", "full_load", "unsafe_load_all", "full_load_all"}
# A shell is never used; git and nothing else is started.
MAY_START_PROGRAMS = {"cli/train.py"}


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Every call with its dotted name, as far as it is one."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def imports(tree: ast.AST) -> list[str]:
    """Every imported module."""
    found = []
    for node in ast.walk(tree):
        found += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return found


def keyword(call: ast.Call, name: str) -> object:
    """The constant value of a keyword argument, or None."""
    found = next((item.value for item in call.keywords if item.arg == name), None)
    return found.value if isinstance(found, ast.Constant) else None


def offences(name: str, text: str) -> list[str]:
    """What a source file does that it may not."""
    tree, found = ast.parse(text), []
    for module in imports(tree):
        if module.split(".")[0] in FORBIDDEN_MODULES and name not in MAY_NAME_PICKLE:
            found.append(f"imports {module}")
        if module.split(".")[0] == "subprocess" and name not in MAY_START_PROGRAMS:
            found.append("imports subprocess")
    for called, call in calls(tree):
        last = called.rpartition(".")[2]
        if called in FORBIDDEN_CALLS:
            found.append(f"calls {called}")
        if called.startswith("yaml.") and last in UNSAFE_YAML:
            found.append(f"calls {called}")
        if called in ("torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"):
            allowed = called == "torch.load" and name in MAY_UNPICKLE and keyword(call, "weights_only") is True
            found += [] if allowed else [f"calls {called}"]
        if last in ("load", "loads") and called.split(".")[0] == "pickle":
            found.append(f"calls {called}")
        if called in ("np.load", "numpy.load") and keyword(call, "allow_pickle") not in (None, False):
            found.append("allows pickles in NumPy files")
        if called in ("os.system", "os.popen") or keyword(call, "shell") is True:
            found.append(f"starts a shell with {called}")
        if keyword(call, "pretrained") is True or keyword(call, "trust_remote_code") is True:
            found.append("fetches or trusts what it was not given")
    return found


def test_nothing_of_an_input_is_run() -> None:
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 100
    found = {
        name: wrong
        for name, path in ((file.relative_to(SOURCE).as_posix(), file) for file in files)
        if (wrong := offences(name, path.read_text(encoding="utf-8")))
    }
    assert not found


def test_each_offence_is_seen() -> None:
    bad = """
import pickle, subprocess
from joblib import load
eval("1"); exec("1")
yaml.load(text); yaml.full_load(text)
torch.load(path); torch.load(path, weights_only=False)
np.load(path, allow_pickle=True)
os.system("x"); run("x", shell=True)
timm.create_model("x", pretrained=True)
"""
    assert len(offences("other.py", bad)) == 13
    assert not offences("training/checkpoint.py", "torch.load(path, weights_only=True)")
    assert offences("training/checkpoint.py", "torch.load(path, weights_only=False)")
    assert offences("other.py", "torch.load(path, weights_only=True)")


def test_only_the_hub_module_speaks_to_the_network() -> None:
    """``serving`` listens; nothing else opens a connection by itself, but for weights by their record."""
    network = {"urllib.request", "http.client", "socket", "ssl", "ftplib", "requests", "httpx", "huggingface_hub"}
    allowed = {"model/folders/hub.py", "model/folders/records.py", "ray.py"}  # ray.py asks for the machine's name
    found = set()
    for file in SOURCE.rglob("*.py"):
        name = file.relative_to(SOURCE).as_posix()
        if network & set(imports(ast.parse(file.read_text(encoding="utf-8")))) and not name.startswith("serving/"):
            found.add(name)
    assert found <= allowed
