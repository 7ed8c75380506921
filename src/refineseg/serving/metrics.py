"""The server's metrics for Prometheus, named by its conventions (seconds, _total)."""

from __future__ import annotations

from collections.abc import Callable

from refineseg.errors import extra

STAGES = ("decode", "queue", "predict", "encode")
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Metrics of one server, in their own registry."""

    def __init__(self, model: str, queued: Callable[[], float], active: Callable[[], float]) -> None:
        with extra("prometheus-client", "serve", "counting for /metrics"):
            from prometheus_client import (
                CollectorRegistry,
                Counter,
                Gauge,
                Histogram,
                ProcessCollector,
                exposition,
            )
        self.registry = registry = CollectorRegistry()
        self.media_type = exposition.CONTENT_TYPE_LATEST
        self._text = exposition.generate_latest
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "refineseg_requests", "Answers by route and status", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "refineseg_request_seconds",
            "From the request's first byte to the answer's last",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "refineseg_stage_seconds", "Stages of a segmentation", ["stage"], buckets=SECONDS, registry=registry
        )
        self._batches = Histogram(
            "refineseg_batch_pictures", "Pictures in a batch", buckets=(1, 2, 4, 8, 16, 32), registry=registry
        )
        self._busy = Counter("refineseg_network_seconds", "Time that the network ran", registry=registry)
        self._pixels = Counter("refineseg_pixels", "Pixels segmented", registry=registry)
        Gauge("refineseg_queue_pictures", "Pictures in the queue", registry=registry).set_function(queued)
        Gauge(
            "refineseg_open_requests", "Requests being read, queued or answered", registry=registry
        ).set_function(active)
        Gauge("refineseg_model_info", "The model served", ["model"], registry=registry).labels(model).set(1)

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
