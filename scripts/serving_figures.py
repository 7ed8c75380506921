"""Pictures of the server's page for docs/serving.md, from photographs that may be shown freely.

python scripts/serving_figures.py [-o docs/figures]      needs chromium, the extra serve and playwright
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

# china.jpg: CC BY 2.0; rocket.jpg: CC0. See PHOTOGRAPHS in demo.py.
PHOTOGRAPHS = (("sklearn.datasets", "images/china.jpg"), ("skimage.data", "rocket.jpg"))
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 375, "height": 760}, "is_mobile": True, "has_touch": True}


@contextmanager
def serving() -> Iterator[str]:
    command = [sys.executable, "-m", "refineseg", "serve", "--model", "camvid", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+/?", process.stdout.readline())
            if found is None:
                raise SystemExit("the server did not start")
            yield found[0]
        finally:
            process.send_signal(signal.SIGTERM)


def opened(browser: Any, address: str, pictures: list[Path], scheme: str, screen: dict[str, Any]) -> Any:
    """The page with all pictures segmented."""
    page = browser.new_context(
        color_scheme=scheme, reduced_motion="reduce", device_scale_factor=2, **screen
    ).new_page()
    for attempt in range(100):
        try:
            page.goto(address)
            break
        except Exception:
            if attempt == 99:
                raise
            page.wait_for_timeout(300)
    page.set_input_files("#files", pictures)
    page.wait_for_selector(f":nth-match(.item[data-state=done], {len(pictures)})", timeout=120_000)
    return page


def keep(page: Any, path: Path) -> None:
    with Image.open(io.BytesIO(page.screenshot())) as image:
        image.convert("RGB").save(path, quality=85, optimize=True, progressive=True)


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/figures"))
    folder = parser.parse_args().output
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver, serving() as address:
        pictures = []
        for package, name in PHOTOGRAPHS:
            pictures.append(Path(place) / Path(name).name)
            pictures[-1].write_bytes((files(package) / name).read_bytes())
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = opened(browser, address, pictures, "light", DESKTOP)
        box = page.locator("#paint").bounding_box()
        page.mouse.move(box["x"] + 0.35 * box["width"], box["y"] + 0.42 * box["height"])
        keep(page, folder / "serving_desktop.jpg")
        page = opened(browser, address, pictures, "dark", DESKTOP)
        page.click("#compare")
        page.locator("#compare").blur()
        keep(page, folder / "serving_dark.jpg")
        keep(opened(browser, address, pictures, "light", PHONE), folder / "serving_phone.jpg")
        browser.close()


if __name__ == "__main__":
    main()
