"""The page at /, used with a mouse, with keys, on a telephone; what it shows is the predictor's."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refineseg.inference.predictor import Segmenter
from refineseg.labels import UInt8
from refineseg.serving.decoding import picture_formats
from tests.serving.browser import Visit, listening, ready
from tests.serving.made import NAMES, encoded, pixels

PICTURE = pixels(120, 180)
OTHER = pixels(90, 160, seed=3)
PHONE = {"viewport": {"width": 375, "height": 812}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def file(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "", "buffer": content}


STREET = file("street.png", encoded(PICTURE))
ROOM = file("room.png", encoded(OTHER))
TEXT = file("notes.txt", b"no picture at all")


@pytest.fixture(scope="module")
def labels(segmenter: Segmenter) -> UInt8:
    return segmenter.predict(PICTURE).labels


def rows(page: Any) -> dict[str, str]:
    """The legend: shares by class, in order."""
    names = page.locator("#classes .name").all_inner_texts()
    return dict(zip(names, page.locator("#classes .share").all_inner_texts(), strict=True))


def drawn(page: Any) -> UInt8:
    """The canvas of classes as HxWx4."""
    address = page.evaluate("document.getElementById('paint').toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.array(image.convert("RGBA"))


def inner(labels: UInt8) -> Any:
    """Pixels whose right and lower neighbours have the same label: no line is drawn there."""
    same = np.ones(labels.shape, bool)
    same[:, :-1] &= labels[:, :-1] == labels[:, 1:]
    same[:-1] &= labels[:-1] == labels[1:]
    return same


def test_a_picture_is_shown_with_its_classes_and_shares(
    open_page: Callable[..., Any], segmenter: Segmenter, labels: UInt8
) -> None:
    page = open_page(STREET)
    result = segmenter.predict(PICTURE)
    expected = {name: f"{100 * share:.1f} %" for name, share in result.class_shares.items() if share >= 0.0005}
    assert {name: share for name, share in rows(page).items() if share != "< 0.1 %"} == expected
    assert list(rows(page)) == list(result.class_shares)
    missing = [name for name in NAMES if name not in result.class_shares]
    assert all(name in page.locator("#absent").inner_text() for name in missing)
    assert page.locator("#facts").inner_text().startswith("180 \N{MULTIPLICATION SIGN} 120, ")
    colors = np.array([item.color for item in segmenter.card.labels.classes])[labels]
    seen = drawn(page)
    assert np.array_equal(seen[inner(labels)][:, :3], colors[inner(labels)])
    assert (seen[~inner(labels)] == 255).all()  # white lines where classes meet
    assert "street.png: " in page.locator("#spoken").inner_text()


def test_the_class_under_the_pointer_and_under_the_keys(open_page: Callable[..., Any], labels: UInt8) -> None:
    page = open_page(STREET)
    box = page.locator("#paint").bounding_box()
    for row, column in ((10, 20), (60, 90), (110, 170)):
        page.mouse.move(
            box["x"] + box["width"] * (column + 0.5) / 180, box["y"] + box["height"] * (row + 0.5) / 120
        )
        name = NAMES[labels[row, column]]
        assert page.locator("#tip span").inner_text() == name
        assert page.locator("#classes .under .name").inner_text() == name
    page.mouse.move(5, 5)
    assert page.locator("#tip").is_hidden()
    assert page.locator("#classes .under").count() == 0
    page.locator("#remove").focus()
    page.keyboard.press("Tab")  # to the picture; the place is where the pointer was last
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowUp")
    row, column = int(((110.5) / 120 - 0.02) * 120), int((170.5 / 180 - 0.1) * 180)
    assert page.locator("#tip span").inner_text() == NAMES[labels[row, column]]
    assert page.locator("#spoken").inner_text() == NAMES[labels[row, column]]


def test_classes_are_hidden_and_shown(open_page: Callable[..., Any], labels: UInt8) -> None:
    page = open_page(STREET)
    first, second, *_ = rows(page)
    one = labels == NAMES.index(first)
    assert drawn(page)[one][:, 3].all()
    page.locator("#classes label", has_text=first).click()
    assert not drawn(page)[one & inner(labels)][:, 3].any()
    assert drawn(page)[(labels == NAMES.index(second))][:, 3].all()
    page.locator("#classes li", has_text=second).hover()
    page.get_by_label(f"Show only {second}").click()
    page.mouse.move(5, 5)
    assert page.locator("#classes input:checked").count() == 1
    assert not drawn(page)[(labels != NAMES.index(second)) & inner(labels)][:, 3].any()
    page.click("#none")
    assert not drawn(page)[..., 3].any()
    page.click("#all")
    assert drawn(page)[..., 3].all()
    boxes = page.locator("#classes input")
    boxes.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    assert not boxes.nth(1).is_checked()
    assert boxes.first.is_checked()


def test_opacity_and_divider(open_page: Callable[..., Any]) -> None:
    page = open_page(STREET)
    paint = page.locator("#paint")
    page.locator("#opacity").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("output").inner_text() == "59 %"
    assert paint.evaluate("e => getComputedStyle(e).opacity") == "0.59"
    assert page.locator("#cut").is_hidden()
    page.click("#compare")
    assert page.locator("#compare").get_attribute("aria-pressed") == "true"
    assert paint.evaluate("e => getComputedStyle(e).clipPath") == "inset(0px 0px 0px 50%)"
    box, handle = page.locator("#frame").bounding_box(), page.locator("#cut").bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
    page.mouse.up()
    assert page.locator("#cut").get_attribute("aria-valuenow") == "25"
    page.keyboard.press("ArrowRight")
    assert page.locator("#cut").get_attribute("aria-valuenow") == "27"
    page.keyboard.press("End")
    assert page.locator("#cut").get_attribute("aria-valuetext") == "100 % picture, 0 % classes"
    page.click("#compare")
    assert page.locator("#cut").is_hidden()
    assert paint.evaluate("e => getComputedStyle(e).clipPath") == "none"


def test_several_pictures_in_a_strip_and_a_bad_file_among_them(open_page: Callable[..., Any]) -> None:
    page = open_page(STREET, TEXT, ROOM, done=2)
    page.wait_for_selector(".item[data-state=failed]")
    assert page.locator("#name").inner_text() == "street.png"
    page.locator(".item").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#name").inner_text() == "notes.txt"
    message = page.locator("#message").inner_text()
    assert (
        f"Expected a picture of {', '.join(picture_formats())}, got something else: convert it to PNG." in message
    )
    assert page.locator("#again").is_hidden()
    assert page.locator("#save-mask").is_disabled()
    page.keyboard.press("End")
    assert page.locator("#name").inner_text() == "room.png"
    assert page.locator("#message").is_hidden()
    assert page.locator("#facts").inner_text().startswith("160 \N{MULTIPLICATION SIGN} 90")
    assert page.locator(".item[aria-selected=true]").get_attribute("aria-label") == "room.png, done"
    page.keyboard.press("Delete")
    assert page.locator(".item").count() == 2
    assert page.locator("#name").inner_text() == "notes.txt"
    page.click("#remove")
    page.click("#remove")
    assert page.locator("#welcome").is_visible()
    assert page.evaluate("document.activeElement.id") == "choose"


def test_dropped_and_pasted_pictures(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.wait_for_selector("#known li")
    given = page.evaluate_handle(
        """bytes => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" })); return data; }""",
        list(encoded(PICTURE)),
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": given})
    assert page.locator("#drop").is_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": given})
    assert page.locator("#drop").is_hidden()
    ready(page, 1)
    page.evaluate("data => dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }))", given)
    ready(page, 2)
    assert page.locator("#strip .item").count() == 2


def test_downloads(open_page: Callable[..., Any], segmenter: Segmenter, labels: UInt8) -> None:
    page = open_page(STREET)
    with page.expect_download() as waiting:
        page.click("#save-mask")
    assert waiting.value.suggested_filename == "street_mask.png"
    with Image.open(waiting.value.path()) as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.array(mask), labels)
    with page.expect_download() as waiting:
        page.click("#save-overlay")
    assert waiting.value.suggested_filename == "street_overlay.jpg"
    with Image.open(waiting.value.path()) as overlay:
        assert overlay.size == (180, 120)
        colors = np.array([item.color for item in segmenter.card.labels.classes])[labels]
        mixed = 0.4 * PICTURE + 0.6 * np.where(inner(labels)[..., None], colors, 255)
        assert np.abs(np.asarray(overlay, float) - mixed).mean() < 6  # as JPEG
    assert np.abs(PICTURE - mixed).mean() > 20


def test_a_full_server_is_asked_again_when_it_says(open_page: Callable[..., Any]) -> None:
    page = open_page()
    asked: list[float] = []

    def full_once(route: Any) -> None:
        asked.append(page.evaluate("performance.now()"))
        if len(asked) > 1:
            route.continue_()
            return
        body = json.dumps({"detail": "expected fewer requests at a time"})
        route.fulfill(status=503, headers={"Retry-After": "2"}, content_type="application/problem+json", body=body)

    page.route("**/v1/segment*", full_once)
    page.set_input_files("#files", STREET)
    page.wait_for_selector(".item[data-state=full]")
    assert "The server is busy: trying again in" in page.locator("#working").inner_text()
    ready(page, 1)
    assert len(asked) == 2
    assert 1900 < asked[1] - asked[0] < 10_000


def test_a_server_that_is_gone_is_told_and_tried_again(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.route("**/v1/segment*", lambda route: route.abort())
    page.set_input_files("#files", STREET)
    page.wait_for_selector(".item[data-state=failed]")
    assert "The server cannot be reached" in page.locator("#message").inner_text()
    page.unroute("**/v1/segment*")
    page.click("#again")
    ready(page, 1)
    page.route("**/v1/model", lambda route: route.abort())
    page.reload()
    page.locator("#banner").wait_for()
    assert "cannot be reached" in page.locator("#banner").inner_text()
    page.unroute("**/v1/model")
    page.click("#reconnect")
    page.wait_for_selector("#known li")
    assert page.locator("#banner").is_hidden()


@pytest.mark.parametrize("reason", ["pixels", "bytes"])
def test_a_picture_that_is_too_large_is_sent_smaller(open_page: Callable[..., Any], reason: str) -> None:
    large = np.zeros((400, 600, 3), np.uint8)
    if reason == "bytes":
        large = np.random.default_rng(0).integers(0, 255, (400, 600, 3), np.uint8)
    page = open_page(file("large.png", encoded(large)), done=0)
    page.wait_for_selector(".item[data-state=failed]")
    message = page.locator("#message").inner_text()
    assert (
        "got 600x400" if reason == "pixels" else "The server accepts at most 0.286 MiB, this picture has"
    ) in message
    page.click("#smaller")
    ready(page, 1)
    assert page.locator("#facts").inner_text().startswith("273 \N{MULTIPLICATION SIGN} 182, ")


def test_a_key_is_asked_for_and_kept_in_the_tab(desktop: Any, segmenter: Segmenter) -> None:
    with listening(segmenter, key="open-sesame") as address:
        visited = Visit(desktop, address)
        page = visited.page
        page.goto(address)
        page.wait_for_selector("#lock:not([hidden])")
        assert page.evaluate("document.activeElement.id") == "key"
        page.set_input_files("#files", STREET)  # waits for the key
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-problem:not(:empty)")
        page.fill("#key", "open-sesame")
        page.keyboard.press("Enter")
        ready(page, 1)
        assert page.locator("#lock").is_hidden()
        page.reload()
        page.wait_for_selector("#known li")
        assert page.locator("#lock").is_hidden()
        assert all("open-sesame" not in url for url in visited.asked)
        visited.close()


def test_on_a_telephone_and_in_the_dark(browser: Any, open_page: Callable[..., Any]) -> None:
    page = open_page(context=browser.new_context(color_scheme="dark", **PHONE))
    page.wait_for_selector("#known li")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    page.set_input_files("#files", [STREET, ROOM])
    ready(page, 2)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    style = "(({ backgroundColor, color }) => [backgroundColor, color])(getComputedStyle(document.body))"
    background, ink = page.evaluate(style)
    assert background == "rgb(20, 23, 26)"
    assert ink == "rgb(231, 233, 234)"
    page.locator("#paint").tap(position={"x": 100, "y": 60})
    assert page.locator("#tip").is_visible()
    small = [
        name
        for name in ("#another", "#compare", "#save-mask", "#save-overlay", "#classes label")
        if page.locator(name).first.bounding_box()["height"] < 40
    ]
    assert small == []  # wide enough for a finger


def test_everything_is_reached_by_keys_and_shows_it(open_page: Callable[..., Any]) -> None:
    page = open_page(STREET)
    reached: list[str] = []
    page.mouse.click(3, 3)
    for _ in range(30):
        page.keyboard.press("Tab")
        what, outlined = page.evaluate(
            """() => { const e = document.activeElement, handle = e.querySelector(":scope > i") ?? e;
            const style = (x) => getComputedStyle(x);
            const shows = (x) => style(x).outlineStyle !== "none" && style(x).outlineWidth !== "0px";
            return [e.id || e.className || e.type, shows(e) || shows(handle)]; }"""
        )
        if what in reached:
            break
        assert outlined or not what, what
        reached.append(what)
    for name in (
        "another",
        "remove",
        "paint",
        "opacity",
        "compare",
        "save-mask",
        "save-overlay",
        "picture-1",
        "all",
    ):
        assert name in reached
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, [role=slider], canvas")].filter((e) =>
        !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length)).map((e) => e.outerHTML)"""
    )
    assert unnamed == []


def test_a_picture_that_the_browser_cannot_show_is_segmented_all_the_same(open_page: Callable[..., Any]) -> None:
    page = open_page(file("scan.tif", encoded(PICTURE, "TIFF")))
    assert page.locator("#frame.unshown").count() == 1
    assert page.locator("#photo").evaluate("e => getComputedStyle(e).visibility") == "hidden"
    assert drawn(page).shape == (120, 180, 4)
    assert page.locator(".item b").inner_text() == "TIF"
