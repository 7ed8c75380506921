"""The server's metrics for Prometheus, named by its conventions (seconds, _total)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from refineseg.errors import extra

M = TypeVar("M")
STAGES = ("decode", "queue", "predict", "encode")
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Metrics of one server, in their own registry."""

    def __init__(self, model: str, queued: Callable[[], float], active: Callable[[], float]) -> None:
        with extra("prometheus-client", "serve", "counting for /metrics"):
            import prometheus_client as prometheus
        self.registry = registry = prometheus.CollectorRegistry()
        self.media_type = prometheus.CONTENT_TYPE_LATEST
        self._text = prometheus.generate_latest
        prometheus.ProcessCollector(registry=registry)

        def metric(kind: Callable[..., M], name: str, text: str, *labels: str, **options: Any) -> M:
            return kind(f"refineseg_{name}", text, labels, registry=registry, **options)

        counter, gauge, histogram = prometheus.Counter, prometheus.Gauge, prometheus.Histogram
        whole = "From the request's first byte to the answer's last"
        self._requests = metric(counter, "requests", "Answers by route and status", "route", "status")
        self._seconds = metric(histogram, "request_seconds", whole, "route", buckets=SECONDS)
        self._stages = metric(histogram, "stage_seconds", "Stages of a segmentation", "stage", buckets=SECONDS)
        self._batches = metric(histogram, "batch_pictures", "Pictures in a batch", buckets=(1, 2, 4, 8, 16, 32))
        self._busy = metric(counter, "network_seconds", "Time that the network ran")
        self._pixels = metric(counter, "pixels", "Pixels segmented")
        metric(gauge, "queue_pictures", "Pictures in the queue").set_function(queued)
        metric(gauge, "open_requests", "Requests being read, queued or answered").set_function(active)
        metric(gauge, "model_info", "The model served", "model").labels(model).set(1)

    def record_answer(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def record_batch(self, pictures: int, seconds: float) -> None:
        """Count a batch and the time that the network took."""
        self._batches.observe(pictures)
        self._busy.inc(seconds)

    def record_picture(self, pixels: int, stages: dict[str, float]) -> None:
        """Count a segmented picture; ``stages`` are seconds by name."""
        self._pixels.inc(pixels)
        for stage, seconds in stages.items():
            self._stages.labels(stage).observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return self._text(self.registry)
