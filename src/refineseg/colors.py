"""Colours of classes: distinct ones for people, and PASCAL VOC's for the files that need them."""

from __future__ import annotations

from collections.abc import Sequence

Color = tuple[int, int, int]  # RGB, 0..255
BACKGROUND = frozenset({"background", "_background_", "__background__", "bg"})

# Each is as far as possible from all before it, also for people without red or green cones; the first seven are
# Okabe and Ito's (2008). Made by scripts/distinct_colors.py.
DISTINCT = """
e69f00 56b4e9 009e73 f0e442 0072b2 d55e00 cc79a7 780c48 b400ff 0000cc 78ffff 006000 c00090 18d878 ffb4c0
ff60ff 00486c b40000 60009c 8478e4 fc006c 0054ff b4ccff 78ff9c 9c6060 783ccc ff786c 00b400 48d8cc 00ff00
f018c0 788400 6c5484 9ca86c 307854 ff90e4 784830 fcc078 9c3060 249cb4 9cd800 a860b4 0048a8 b490ff b4e4c0
840c00 cc54e4 d89c9c a88454 d8243c 90600c 4800f0 900084 00c09c 0090ff 0c6060 b49ccc ffe49c d84890 ff60c0
fc4848 60306c b4c054 008490 fc00ff ff9c6c a800b4 247800 cc00d8 f07800 5484c0 ffb4ff 6c3c9c 486cd8 9ccc9c
5424c0 d86c6c 9054e4 3cf06c f0c000 48cc00 cc78d8 00fcd8 cca8fc 48480c a89000 786c9c d8006c 8490cc ff5484
3c3c84 8400f0 9ce490 90489c 4854b4 00c0cc 60a89c 009c30 84e4f0 6c3030 30b460 006090 ffccf0 a86cff c0ff78
a86c90 7860c0 ff90b4 0048d8 90b430 b44878 606cff c00048 90c0e4 cc9048 3024a8 608454 00ccff 6c0078 005430
b4fcc0 d8a8cc 609cf0 ccd860 ff009c c03c00 606000 b4ff0c 9c003c 3c603c 24e4a8 78c0b4 b43cc0 c0b478 8400a8
cc546c 9c483c a86c3c 900060 789c48 a80c78 fc48d8 489084 7848ff d800a8 fc0000 0c60cc 6c00d8 6cc078 9c00d8
e454b4 4854e4 84546c 544878 6ca8c0 e4b490 b4489c f0789c 00e400 6c3c54 0ca8d8 c08484 0084d8 d8d89c 9cf048
904800 3c6c90 a878b4 0030ff f084fc cc90e4 ffa83c 6060a8 ccf090 54a878 b448fc 30843c 54d8f0 2424d8 c03c54
cc9c78 e484cc cc783c d890b4 c09c0c 006cf0 90a8fc 6030fc ffa8d8 fcc0a8 d800ff 843000 9c90e4 c078ff c0006c
fcd86c 789060 606c3c ff9c9c cc48c0 fc5400 48c048 84b490 c0cc84 843c48 6cf0b4 a8780c d84830 906084 186c78
e48484 90d86c a860d8 4878a8 ff8448 e4b460 787830 ff6ce4 f02448 30549c 6ccc54 006c54 9c249c 9cf0e4 c06054
9c3024 306c24 60ff6c 6c2490 6ca830 903084 78e4cc a878d8 783078 e400e4 d848ff 90843c 003cc0 7890ff e460f0
e47854 a8c000 fc489c d82490 9c4884 d8b400 003c90 3c00c0 3c846c d86090 a83cd8 843cb4 c060a8 6c30b4 549048
"""


def distinct_colors(count: int) -> list[Color]:
    """Up to 255 colours that are easy to tell apart; the first ones are the same for every count."""
    return hex_colors(DISTINCT)[:count]


def hex_colors(text: str) -> list[Color]:
    """``"8040ff 000000"`` to colours."""
    return [(red, green, blue) for red, green, blue in map(bytes.fromhex, text.split())]


def class_colors(names: Sequence[str]) -> list[Color]:
    """Colours of classes: black for a background and beyond 255, distinct ones for all others, in their order."""
    others = iter(distinct_colors(len(names)))
    return [(0, 0, 0) if is_background(name) else next(others, (0, 0, 0)) for name in names]


def is_background(name: str) -> bool:
    """Whether a class is background, by its name; overlays do not colour it."""
    return name.casefold() in BACKGROUND


def voc_palette(count: int) -> list[Color]:
    """Colours by PASCAL VOC's rule: the bits of the index spread over the three channels. Index 0 is black."""
    colors: list[Color] = []
    for index in range(count):
        channels = [0, 0, 0]
        for bit in range(24):
            channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
        colors.append((channels[0], channels[1], channels[2]))
    return colors
