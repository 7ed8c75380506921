"""The code blocks of the README and of docs/, found and run.

Blocks of a page run in order, in one folder and one namespace. A comment on the line before a block changes that:

    <!-- not run: REASON -->    the block is left alone
    <!-- parsed: REASON -->     commands need only be spelled right, Python only compile

Also of `make`, `torchrun -m refineseg` and `python FILE` the target, the command or the options must exist.

In a ``console`` block a line after ``$`` is a command; what follows is its output, which is not compared.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from typer.main import get_command

from refineseg.cli.main import app, main

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.stem: path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
CODE = ("python", "console")
SHOWN = ("", "text", "yaml", "json", "csv", "toml", "html", "dockerfile", "http")  # what is read, not run
# What a page's training asks hours for, made small: these options give way to those of SMALL.
LONG = ("--epochs", "--backbone-weights", "--precision")
SMALL = {"--steps": "2", "--batch-size": "2", "--crop": "32", "--workers": "0", "--device": "cpu"}
NARROW = ["--set", "model.width=16", "--set", "model.coarse_width=16"]  # of a preset: a model has its own

FENCE = re.compile(r"( *)```(\w*)")
MARK = re.compile(r"<!-- (?P<how>not run|parsed): (?P<reason>\S.*?) -->")

How = Literal["run", "parsed", "not run"]


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: stem of the file.
        line: of its fence, from 1.
        language: after the fence.
        code: what is inside.
        how: whether it is run.
        reason: why it is not.
    """

    page: str
    line: int
    language: str
    code: str
    how: How = "run"
    reason: str = ""

    @property
    def place(self) -> str:
        """Where to look for it."""
        return f"{self.page}.md:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command of a console block."""
        lines = self.code.replace("\\\n", " ").splitlines()
        given = [line.strip().removeprefix("$ ") for line in lines if line.strip().startswith("$ ")]
        return [shlex.split(line, comments=True) for line in given]


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = PAGES[page].read_text(encoding="utf-8")
    return list(parse(page, text))


def parse(page: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a text, each with the mark on the line before it."""
    open_block: Block | None = None
    mark: re.Match[str] | None = None
    indent, code = 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if open_block is None and fence is not None:
            indent, code = len(fence[1]), []
            open_block = Block(page, number, fence[2], "")
            if mark is not None:
                how: Any = mark["how"]
                open_block = replace(open_block, how=how, reason=mark["reason"])
        elif open_block is not None and fence is not None:
            yield replace(open_block, code="".join(code))
            open_block, mark = None, None
        elif open_block is not None:
            code.append(line[indent:] + "\n")
        elif line.strip():
            mark = MARK.match(line.strip())


def run_block(block: Block, names: dict[str, Any], changed: Callable[[list[str]], list[str]]) -> None:
    """Run, or only parse, one block; AssertionError with its place if it does not do.

    Args:
        block: Python or console.
        names: the page's namespace.
        changed: makes a command small: fewer steps, data of the tests.
    """
    if block.how == "not run" or block.language not in CODE:
        return
    if block.language == "python":
        code = compile(block.code, block.place, "exec")
        if block.how == "run":
            exec(code, names)
        return
    assert block.commands, f"{block.place}: a console block without a command: its lines begin with $"
    for words in block.commands:
        if block.how == "parsed":
            look_up(words, block.place)
        else:
            assert words[0] == "refineseg", (
                f"{block.place}: cannot run {words[0]}: mark it <!-- not run: REASON -->"
            )
            small = changed(words[1:])
            code_of_exit = main(small)
            assert code_of_exit == 0, f"{block.place}: {' '.join(small)} ended with {code_of_exit}"


def look_up(words: list[str], place: str) -> None:
    """A command that is not run: whether what it names is there."""
    if words[0] in ("refineseg", "torchrun"):
        parse_command(words[words.index("refineseg") + 1 :])
    elif words[0] == "make":
        targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[1] in targets, f"{place}: the Makefile has no {words[1]}"
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), f"{place}: there is no {words[1]}"
        text = (ROOT / words[1]).read_text(encoding="utf-8")
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert f'"{option}"' in text, f"{place}: {words[1]} has no {option}"
    else:
        raise AssertionError(f"{place}: cannot look up {words[0]}: mark it <!-- not run: REASON -->")


def parse_command(words: Sequence[str]) -> None:
    """Let the command line read the words without doing anything; its usage error if they are wrong."""
    command: Any = get_command(app)
    context, rest = command.make_context("refineseg", list(words)), list(words)
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)


def small(words: list[str]) -> list[str]:
    """A command of the docs as the tests run it: in seconds."""
    if words[0] == "bench":
        words = [re.sub(r"^\d+x\d+$", "64x96", word.replace("-r101", "-lw-mbv2")) for word in words]
    if words[0] != "train":
        return words
    kept = list(words)
    for option in (*LONG, *SMALL):
        if option in kept:
            place = kept.index(option)
            del kept[place : place + 2]
    narrow = NARROW if not any(word.startswith("hf:") for word in kept) else []
    return [*kept, *(word for pair in SMALL.items() for word in pair), "--skip-check", *narrow]
