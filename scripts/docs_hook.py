"""What the site does beyond mkdocs: no page in the menu that is not written, links out of docs, search from disk.

A hook of mkdocs (see mkdocs.yml). A link from a page to a file of the repository outside docs/, such as
../CONTRIBUTING.md, cannot work in a folder of HTML: it becomes the file's name, and a missing file ends the build.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

UPWARDS = re.compile(r"\[([^\]]*)\]\((\.\./[^)#]+)[^)]*\)")


def present(nav: list[Any], docs: Path) -> list[Any]:
    """The menu without pages that do not exist, and without sections that are then empty."""
    kept: list[Any] = []
    for entry in nav:
        (title, target), *_ = entry.items()
        if isinstance(target, list):
            if inner := present(target, docs):
                kept.append({title: inner})
        elif (docs / target).is_file():
            kept.append(entry)
    return kept


def on_config(config: Any) -> Any:
    """The menu of this checkout."""
    config.nav = present(config.nav, Path(config.docs_dir))
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Links that leave docs/ as words; PluginError where the file is not there."""
    docs = Path(config.docs_dir).resolve()
    root = docs.parent

    def named(match: re.Match[str]) -> str:
        target = (docs / page.file.src_path).parent.joinpath(match[2]).resolve()
        if target.is_relative_to(docs):
            return match[0]
        if not target.exists():
            raise PluginError(f"{page.file.src_path} links to {match[2]}, which is not in the repository")
        return f"{match[1]} (`{target.relative_to(root)}`)"

    markdown = UPWARDS.sub(named, markdown)
    if page.file.src_path == "browser.md" and built_page(root):
        markdown += '\n## Try it\n\n<a href="browser/index.html">Open the page</a>\n'
    return markdown


def built_page(root: Path) -> Path | None:
    """The folder that make browser wrote, if it is there."""
    folder = root / "out" / "browser"
    return folder if (folder / "index.html").is_file() else None


def on_post_build(config: Any) -> None:
    """The page that segments in the browser, as a part of the site."""
    if folder := built_page(Path(config.docs_dir).parent):
        shutil.copytree(folder, Path(config.site_dir) / "browser", dirs_exist_ok=True)


SHIM = "https://unpkg.com/iframe-worker/shim"


def on_post_page(output: str, **_: Any) -> str:
    """Search from disk by our own few lines instead of a script from the network."""
    return output.replace(SHIM, "assets/worker.js")


def on_post_template(output_content: str, **_: Any) -> str:
    """The same in 404.html, which lies nowhere in particular."""
    return output_content.replace(SHIM, "/assets/worker.js")
