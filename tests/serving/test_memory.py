"""A server whose memory runs out: 503 for what does not fit, and it goes on with what does."""

from __future__ import annotations

import gc
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from refineseg.errors import InputError
from refineseg.inference.options import PredictOptions
from refineseg.inference.result import Result
from refineseg.labels import LabelMap
from refineseg.model.folders.model_folder import save_model_folder
from refineseg.serving.batching import Batcher, QueuedPicture
from refineseg.serving.limits import Limits
from refineseg.serving.request_options import RequestOptions
from refineseg.system.memory import is_out_of_memory
from tests.serving.made import SEGMENT, encoded, pixels, serving, tiny
from tests.serving.test_refusals import refused

EXTRA = 150 << 20  # bytes of address space that the server may still take


TEXTS = (
    "could not create a primitive",
    "std::bad_alloc",
    "[enforce fail] not enough memory: you tried to allocate",
    "DefaultCPUAllocator: can't allocate memory",
    "CUDA out of memory. Tried to allocate",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "Failed to allocate memory for requested buffer",
)


def test_what_libraries_say_of_memory_that_ran_out() -> None:
    assert all(is_out_of_memory(RuntimeError(text)) for text in TEXTS)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("could not create a file"))
    outer = ValueError("damaged")
    outer.__cause__ = MemoryError()
    assert is_out_of_memory(outer)
    assert not is_out_of_memory(InputError("std::bad_alloc.png is damaged"))


@pytest.mark.parametrize(
    "text", ["error return without exception set", "<f> returned NULL without setting an exception"]
)
def test_an_exception_that_python_lost_is_of_memory_only_where_that_is_short(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, short in ((16 << 20, True), (1 << 30, False), (None, False)):
        monkeypatch.setattr("refineseg.system.memory.free_addresses", lambda free=free: free)
        monkeypatch.setattr("refineseg.system.memory.free_memory", lambda: 1 << 30)
        assert is_out_of_memory(SystemError(text)) is short
    assert not is_out_of_memory(SystemError("bad argument"))


def test_a_batch_that_does_not_fit_is_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, sizes = tiny(), []

    def predict_batch(pictures: list[np.ndarray], *_: object) -> list[Result]:
        sizes.append(len(pictures))
        if len(pictures) > 1 or pictures[0].mean() == 255:
            raise RuntimeError("could not create a primitive")
        return [Result(pictures[0][..., 0], LabelMap.from_names(["a", "b"]), pictures[0])]

    batcher = Batcher(segmenter, Limits(batch=3, wait=30.0), lambda *_: None)
    batcher.start()
    monkeypatch.setattr(segmenter, "predict_batch", predict_batch)
    options = RequestOptions(predict=PredictOptions())
    jobs = [QueuedPicture(np.full((8, 8, 3), value, np.uint8), options) for value in (0, 255, 1)]
    for job in jobs:
        batcher.submit(job)
    assert jobs[0].future.result(20).labels.max() == 0
    with pytest.raises(MemoryError):
        jobs[1].future.result(20)
    assert jobs[2].future.result(20).labels.max() == 1
    batcher.stop()
    assert sizes == [3, 1, 1, 1]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")])
def test_memory_that_runs_out_anywhere_is_503(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    data = encoded(pixels())
    with serving(tiny()) as client:
        for name in ("decode_picture", "read_upload", "answer"):
            with monkeypatch.context() as patch:
                patch.setattr(f"refineseg.serving.service.{name}", fail)
                answer = client.post(SEGMENT, content=data)
            refused(answer, 503, "the server's free memory", "smaller picture")
            assert int(answer.headers["retry-after"]) >= 1
        assert client.post(SEGMENT, content=data).status_code == 200


def test_a_refused_picture_is_let_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the garbage collector comes: until then the next picture might be refused too."""
    segmenter, seen = tiny(), list[weakref.ref[np.ndarray]]()

    def predict_batch(pictures: list[np.ndarray], *_: object) -> list[Result]:
        seen.append(weakref.ref(pictures[0]))
        raise RuntimeError("std::bad_alloc")

    with serving(segmenter) as client:
        monkeypatch.setattr(segmenter, "predict_batch", predict_batch)
        gc.disable()
        try:
            refused(client.post(SEGMENT, content=encoded(pixels())), 503, "the server's free memory")
            until = time.monotonic() + 10  # the worker may still be on its way out
            while seen[0]() is not None and time.monotonic() < until:
                time.sleep(0.01)
        finally:
            gc.enable()
    assert seen[0]() is None


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits another process's memory by prlimit")
def test_a_server_under_a_memory_limit_goes_on(tmp_path: Path) -> None:
    import resource

    segmenter = tiny()
    save_model_folder(tmp_path / "tiny", segmenter.model, segmenter.card)
    command = [sys.executable, "-m", "refineseg", "serve", "--model", str(tmp_path / "tiny"), "--device", "cpu"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        too_late = threading.Timer(180, process.kill)
        too_late.start()
        try:
            assert process.stdout is not None
            found = re.search(r":(\d+) ", process.stdout.readline())
            assert found is not None
            small, large = encoded(pixels(96, 128)), encoded(np.zeros((3000, 4000, 3), np.uint8))

            def post(body: bytes, query: str = "") -> tuple[int, bytes]:
                connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=120)
                connection.request("POST", SEGMENT + query, body)
                answer = connection.getresponse()
                status, content = answer.status, answer.read()
                connection.close()
                return status, content

            assert post(small)[0] == 200
            status = Path(f"/proc/{process.pid}/status").read_text()
            size = re.search(r"VmSize:\s+(\d+) kB", status)
            assert size is not None
            bound = (int(size[1]) << 10) + EXTRA
            resource.prlimit(process.pid, resource.RLIMIT_AS, (bound, bound))
            for query in ("?tile=4096", "?output=probs", "?tile=4096"):
                code, content = post(large, query)
                assert code == 503, content[:200]
                assert "free memory" in json.loads(content)["detail"]
                assert post(small)[0] == 200
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            too_late.cancel()
    assert process.returncode == 0
    text = (tmp_path / "log").read_text()
    assert "out of memory: answered 503" in text
    assert "Traceback" not in text
