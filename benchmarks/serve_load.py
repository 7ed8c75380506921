"""The server under load: failures, memory, time of a request against the predictor's, gain of batching.

python benchmarks/serve_load.py load [--seconds 60] [--requests 64]
                                memory [--count 2000] | pace [--repeats 40] | batching [--rounds 4] | slow
                                [--clients 32] [--size 480x360] [--threads N] [--json FILE]

Each part starts `refineseg serve` on 127.0.0.1 and ends it. Pictures are synthetic PNGs, and masks are requested.
--threads are the network's, all cores by default. --json adds a part's figures to those in the file.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
import http.client
import io
import json
import os
from pathlib import Path
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
from PIL import Image
from refineseg.data.images import read_image
from refineseg.labels import UInt8
from refineseg.loading import load
from refineseg.system.memory import keep_freed_memory
import torch

MODEL = "camvid"
PATH = "/v1/segment?output=mask"
WARM = 10  # requests, or repeats, that are not counted
SLOW_CLIENTS = 20
SETTLING = 200  # requests before memory is first looked at


@dataclass
class Server:
    """A running server."""

    port: int

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def counters(self) -> dict[str, float]:
        """/metrics by name."""
        lines = self.get("/metrics")[1].splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}

    @property
    def memory(self) -> float:
        """Resident memory in MiB."""
        return self.counters()["process_resident_memory_bytes"] / 2**20


@contextmanager
def serving(**options: object) -> Iterator[Server]:
    """`refineseg serve` with options; it must end without an error."""
    words = f"-m refineseg serve --model {MODEL} --device cpu --port 0".split()
    command = [sys.executable, *words, *(f"--{name}={value}" for name, value in options.items())]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
            if found is None:
                raise SystemExit("the server did not start")
            threading.Thread(target=process.stdout.read, daemon=True).start()
            server = Server(int(found[1]))
            wait_until_ready(server)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
    if process.returncode:
        raise SystemExit(f"the server ended with {process.returncode}")


def wait_until_ready(server: Server) -> None:
    for _ in range(600):
        with suppress(OSError):
            if server.get("/readyz")[0] == 200:
                return
        time.sleep(0.1)
    raise SystemExit("the server is not ready after a minute")


@dataclass
class Tally:
    """Answers by status, seconds of the successes, failures."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def client(port: int, bodies: list[bytes], go_on: Callable[[], bool], tally: Tally) -> None:
    """One client, one connection: picture after picture, with pauses when the server is full."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    turn = 0
    while go_on():
        begun = time.perf_counter()
        try:
            connection.request("POST", PATH, bodies[turn % len(bodies)])
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            tally.failures.append(repr(error))
            connection.close()
            continue
        turn += 1
        tally.statuses[answer.status] += 1
        if answer.status == 503:
            wait = answer.headers["Retry-After"]
            if not (wait or "").isdecimal():
                tally.failures.append(f"503 with Retry-After {wait!r}")
            time.sleep(min(1.0, float(wait)))
        elif answer.status == 200 and content[:4] == b"\x89PNG":
            tally.seconds.append(time.perf_counter() - begun)
        else:
            tally.failures.append(f"{answer.status} {content[:200]!r}")
    connection.close()


def run_clients(
    server: Server, number: int, bodies: list[bytes], go_on: Callable[[], bool]
) -> tuple[Tally, float]:
    """Concurrent clients: their tally, and the seconds until the last answer."""
    tally = Tally()
    threads = [threading.Thread(target=client, args=(server.port, bodies, go_on, tally)) for _ in range(number)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally, time.perf_counter() - begun


def for_seconds(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def so_often(count: int) -> Callable[[], bool]:
    tickets = iter(range(count))
    lock = threading.Lock()

    def ticket() -> bool:
        with lock:
            return next(tickets, None) is not None

    return ticket


def part_load(given: argparse.Namespace, bodies: list[bytes]) -> dict[str, Any]:
    """Many clients for a minute."""
    with serving(requests=given.requests) as server:
        run_clients(server, given.clients, bodies, so_often(given.clients))
        before, first = server.counters(), server.memory
        tally, seconds = run_clients(server, given.clients, bodies, for_seconds(given.seconds))
        after, last = server.counters(), server.memory
    pictures, batches = (
        after[name] - before[name] for name in ("refineseg_batch_pictures_sum", "refineseg_batch_pictures_count")
    )
    done = len(tally.seconds)
    return {
        "clients": given.clients,
        "seconds": round(seconds, 1),
        "room_for_requests": given.requests,
        "answered": done,
        "told_503": tally.statuses[503],
        "failed": len(tally.failures),
        "failures": tally.failures[:5],
        "pictures_per_second": round(done / seconds, 2),
        "pictures_per_batch": round(pictures / batches, 2),
        "answer_seconds_median": round(statistics.median(tally.seconds), 3),
        "answer_seconds_99": round(float(np.quantile(tally.seconds, 0.99)), 3),
        "answer_seconds_slowest": round(max(tally.seconds), 3),
        "memory_mib_first": round(first, 1),
        "memory_mib_last": round(last, 1),
    }


def part_memory(given: argparse.Namespace, bodies: list[bytes]) -> dict[str, Any]:
    """Resident memory over many requests."""
    steps = 10
    with serving() as server:
        run_clients(server, given.clients, bodies, so_often(SETTLING))
        course = [server.memory]
        failures = []
        for _ in range(steps):
            tally, _seconds = run_clients(server, given.clients, bodies, so_often(given.count // steps))
            failures += tally.failures
            course.append(server.memory)
    return {
        "clients": given.clients,
        "requests_before": SETTLING,
        "requests": given.count,
        "failed": len(failures),
        "memory_mib": [round(value, 1) for value in course],
        "growth_percent": round(100 * (course[-1] / course[0] - 1), 2),
    }


def part_pace(given: argparse.Namespace, bodies: list[bytes]) -> dict[str, Any]:
    """One client's request against the predictor, in turns."""
    keep_freed_memory()  # as the server does
    segmenter = load(MODEL, "cpu")
    arrays = [read(body) for body in bodies]
    times: dict[str, list[float]] = {"predictor": [], "file": [], "server": []}
    stages: dict[str, list[float]] = defaultdict(list)
    with serving() as server:

        def ask(turn: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            connection.request("POST", PATH, bodies[turn % len(bodies)])
            answer = connection.getresponse()
            if answer.status != 200 or not answer.read():
                raise SystemExit(f"expected a mask, got {answer.status}")
            if turn >= WARM:
                for name, value in re.findall(r"(\w+);dur=([\d.]+)", answer.headers["Server-Timing"]):
                    stages[name].append(float(value) / 1000)
            connection.close()

        def from_bytes(turn: int) -> None:
            segmenter.predict(read(bodies[turn % len(bodies)])).write("mask", io.BytesIO())

        ways: dict[str, Callable[[int], object]] = {
            "predictor": lambda turn: segmenter.predict(arrays[turn % len(arrays)]),
            "file": from_bytes,
            "server": ask,
        }
        for turn in range(WARM + given.repeats):
            for name, way in ways.items():
                begun = time.perf_counter()
                way(turn)
                if turn >= WARM:
                    times[name].append(time.perf_counter() - begun)
    ratios = np.array(times["server"]) / np.array(times["predictor"])
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "repeats": given.repeats,
        "predictor_ms_median": milliseconds(times["predictor"]),
        "bytes_to_mask_ms_median": milliseconds(times["file"]),
        "request_ms_median": milliseconds(times["server"]),
        "request_over_predictor": round(medians["server"] / medians["predictor"], 3),
        "request_over_bytes_to_mask": round(medians["server"] / medians["file"], 3),
        "stages_ms_median": {name: milliseconds(values) for name, values in stages.items()},
        "paired_ratio_quartiles": [round(float(value), 3) for value in np.quantile(ratios, (0.25, 0.5, 0.75))],
    }


def part_batching(given: argparse.Namespace, bodies: list[bytes]) -> dict[str, Any]:
    """Pictures a second with batches of 1 and of 8, two servers in turns."""
    paces: dict[int, list[float]] = {1: [], 8: []}
    with serving(batch=1) as single, serving(batch=8) as eight:
        for turn in range(given.rounds + 1):
            for size, server in ((1, single), (8, eight)):
                tally, seconds = run_clients(server, given.clients, bodies, for_seconds(given.seconds))
                if tally.failures:
                    raise SystemExit(f"expected no failure, got {tally.failures[0]}")
                if turn:
                    paces[size].append(len(tally.seconds) / seconds)
    ratios = [many / one for one, many in zip(paces[1], paces[8], strict=True)]
    return {
        "clients": given.clients,
        "rounds": given.rounds,
        "seconds_a_round": given.seconds,
        "pictures_per_second": {size: [round(pace, 2) for pace in values] for size, values in paces.items()},
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def part_slow(given: argparse.Namespace, bodies: list[bytes]) -> dict[str, Any]:
    """One client's answers alone and during uploads of 20 clients at a byte a second, in turns."""
    seconds: dict[str, list[float]] = {"alone": [], "beside": []}
    with serving() as server:
        for turn in range(given.rounds + 1):
            for name, slow in (("alone", 0), ("beside", SLOW_CLIENTS)):
                with slow_clients(server.port, slow):
                    tally, _ = run_clients(server, 1, bodies, so_often(given.repeats))
                if tally.failures:
                    raise SystemExit(f"expected no failure, got {tally.failures[0]}")
                if turn:
                    seconds[name] += tally.seconds
    quantiles = {name: np.quantile(values, (0.5, 0.95, 0.99)) for name, values in seconds.items()}
    return {
        "slow_clients": SLOW_CLIENTS,
        "answers": len(seconds["beside"]),
        **{f"{name}_ms_50_95_99": (1000 * values).round(1).tolist() for name, values in quantiles.items()},
        "ratios_50_95_99": (quantiles["beside"] / quantiles["alone"]).round(2).tolist(),
    }


@contextmanager
def slow_clients(port: int, number: int) -> Iterator[None]:
    """Clients that send a body of a megabyte, a byte a second."""
    done = threading.Event()
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 20}\r\n\r\n".encode()

    def send() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head)
            while not done.wait(1):
                connection.sendall(b"x")

    threads = [threading.Thread(target=send) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def milliseconds(seconds: list[float]) -> float:
    return round(1000 * statistics.median(seconds), 1)


def read(body: bytes) -> UInt8:
    with Image.open(io.BytesIO(body)) as image:
        return read_image(image)


def drawn(width: int, height: int, number: int) -> list[bytes]:
    """Smooth pictures with some noise as PNG."""
    bodies = []
    for seed in range(number):
        random = np.random.default_rng(seed)
        small = Image.fromarray(random.integers(0, 255, (9, 12, 3), np.uint8))
        picture = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(picture + random.integers(-4, 5, picture.shape), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(noisy).save(stream, format="PNG")
        bodies.append(stream.getvalue())
    return bodies


PARTS = {"load": part_load, "memory": part_memory, "pace": part_pace, "batching": part_batching, "slow": part_slow}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--size", default="480x360", help="width and height of the pictures")
    parser.add_argument("--seconds", type=float, help="of load (60), or of a round of batching (8)")
    parser.add_argument("--requests", type=int, default=64, help="that the server of the load has room for")
    parser.add_argument("--count", type=int, default=2000, help="requests while memory is watched")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.seconds = given.seconds or (60 if given.part == "load" else 8)
    width, height = map(int, given.size.split("x"))
    figures = {"size": given.size, "cores": os.cpu_count(), "threads": given.threads, "torch": torch.__version__}
    figures |= PARTS[given.part](given, drawn(width, height, 8))
    for name, value in figures.items():
        print(f"{name:28} {value}")
    if given.json:
        known = json.loads(given.json.read_text()) if given.json.exists() else {}
        name = f"{given.part} {given.size}" + (f" room {given.requests}" if given.requests != 64 else "")
        given.json.write_text(json.dumps({**known, name: figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
