"""OUT/index.html: the suggested pictures with prediction and uncertainty."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import numpy as np

from refineseg.evaluation.report.overlays import PANEL, blend, painted
from refineseg.evaluation.report.sections import key_of_classes, picture_article
from refineseg.evaluation.report.style import SCRIPT, STYLE
from refineseg.html import document, header, smaller
from refineseg.inference.array_ops import uncertainty
from refineseg.inference.result import Result
from refineseg.labels import UInt8
from refineseg.model.folders.card import ModelCard

UNSURE = (255, 120, 0)


def small_views(result: Result) -> dict[str, UInt8]:
    """Small views: the picture, its prediction, and its uncertainty in orange on grey."""
    assert result.probabilities is not None
    grey = np.repeat(60 + 0.6 * result.image.mean(2, keepdims=True), 3, axis=2)
    weight = uncertainty(result.probabilities)[..., None] / 255
    views = {
        "picture": result.image,
        "prediction": painted(result.image, result.labels, result.label_map),
        "uncertainty": blend(grey, np.broadcast_to(np.array(UNSURE), result.image.shape), weight),
    }
    return {name: smaller(view, PANEL) for name, view in views.items()}


def page(title: str, card: ModelCard, suggestions: Iterable[tuple[str, str, dict[str, UInt8]]]) -> str:
    """The page as text; suggestions are name, reason and views of each picture."""
    articles = []
    for rank, (name, reason, views) in enumerate(suggestions, 1):
        articles.append(picture_article(f"{rank}. {name}", escape(reason), views))
    verdict = f"Diverse pictures on which {escape(card.name)} is most uncertain."
    more = "Correct the files in prelabels/ in your annotation tool; all scores are in suggestions.csv."
    head = header("data suggest", escape(title), verdict, more=f'<p class="quiet">{more}</p>')
    key = key_of_classes(card.labels, range(card.labels.num_classes))
    return document(title, f"{head}\n{key}\n" + "\n".join(articles), STYLE, SCRIPT)
