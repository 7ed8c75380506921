"""The docs as a site: built with broken links as errors, and nothing on it comes from outside."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("mkdocs")
ROOT = Path(__file__).parents[1]


def hook(name: str = "docs_hook") -> ModuleType:
    """A file of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_that_are_not_written_stay_out_of_the_menu(tmp_path: Path) -> None:
    (tmp_path / "here.md").touch()
    nav: list[Any] = [{"A": "here.md"}, {"B": "not.md"}, {"C": [{"D": "not.md"}]}, {"E": [{"F": "here.md"}]}]
    assert hook().present(nav, tmp_path) == [{"A": "here.md"}, {"E": [{"F": "here.md"}]}]


def test_links_out_of_docs_become_words_and_dead_ones_end_the_build(tmp_path: Path) -> None:
    place = {
        "config": SimpleNamespace(docs_dir=str(tmp_path / "docs")),
        "page": SimpleNamespace(file=SimpleNamespace(src_path="a.md")),
    }
    (tmp_path / "LICENCE").touch()
    change = hook().on_page_markdown
    text = "[the licence](../LICENCE), [b](b.md), [c](../gone.md)"
    with pytest.raises(Exception, match=r"a\.md links to \.\./gone\.md"):
        change(text, **place)
    assert change(text[:-17], **place).startswith("the licence (`LICENCE`), [b](b.md)")
    place["page"].file.src_path = "notebook/a.md"
    text = "[up](../b.md#c), [the licence](../../LICENCE)"
    assert change(text, **place).startswith("[up](../b.md#c), the licence (`LICENCE`)")


def test_comments_of_fields_are_found_beside_and_above() -> None:
    pytest.importorskip("griffe")
    lines = ["", "    # of two", "    # lines", "    a: int", '    b: str = "#"  # beside', "    c: int"]
    found = [hook("field_comments").comment(lines, at, at) for at in (3, 4, 5)]
    assert found == ["of two lines", "beside", ""]


def test_the_page_for_the_browser_is_on_the_site_once_it_is_built(tmp_path: Path) -> None:
    config = SimpleNamespace(docs_dir=str(tmp_path / "docs"), site_dir=str(tmp_path / "site"))
    page = SimpleNamespace(file=SimpleNamespace(src_path="browser.md"))
    assert "Try it" not in hook().on_page_markdown("# In a browser\n", page=page, config=config)
    hook().on_post_build(config)
    assert not (tmp_path / "site").exists()
    (tmp_path / "out" / "browser").mkdir(parents=True)
    (tmp_path / "out" / "browser" / "index.html").write_text("here")
    assert 'href="browser/index.html"' in hook().on_page_markdown("# In a browser\n", page=page, config=config)
    hook().on_post_build(config)
    assert (tmp_path / "site" / "browser" / "index.html").read_text() == "here"


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """mkdocs build --strict."""
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(source), "-d", str(target)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_outside(tmp_path: Path) -> None:
    done = build(ROOT / "mkdocs.yml", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted(tmp_path.glob("*.html"))
    assert {page.stem for page in pages} >= {page.stem for page in (ROOT / "docs").glob("*.md")}
    loaded = re.compile(r'<(?:script|img|iframe|source)[^>]*\bsrc="(https?:)?//|<link[^>]*\bhref="(https?:)?//')
    for page in pages:
        assert not loaded.search(page.read_text(encoding="utf-8")), page
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet
    interface = (tmp_path / "api.html").read_text(encoding="utf-8")
    for name in ("refineseg.model.RefineNetBlock", "refineseg.loading", "refineseg.errors"):
        assert f'id="{name}' in interface, name
    assert "at least 0: metres, or inverse depth of unknown scale" in interface  # a comment above a field
    assert "stem of the files that" in interface  # one beside a field


@pytest.mark.slow
def test_a_broken_link_ends_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# A\n\n[gone](gone.md)\n")
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    text = text.replace("docs_dir: docs", f"docs_dir: {docs}").replace(
        "scripts/docs_hook.py", str(ROOT / "scripts/docs_hook.py")
    )
    (tmp_path / "mkdocs.yml").write_text(text)
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "gone.md" in done.stdout + done.stderr
