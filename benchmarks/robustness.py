"""Bad inputs through every command and the server, and commands ended by signals or without memory or disk.

PYTHONPATH=. python benchmarks/robustness.py [--only KIND[:NAME],...] [--json FILE]

Exit code 1 if a run raised an exception, hung, accepted a bad input, left something half-written, or printed
anything other than one clear line; or if a command that was killed leaves files behind, or ends differently
when it is run again. The corpus is tests/robustness; further kinds are ``interrupted`` (by signals), ``twice``
(two runs into one output) and ``shortage`` (of memory or disk).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
import json
import logging
import os
from pathlib import Path
import random
import resource
import tempfile
import time

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # before torch: for inputs this small more threads wait longer than they work

from tests.robustness.case import Case
from tests.robustness.corpus import corpus
from tests.robustness.interruptions import interruptions, second_runs
from tests.robustness.runner import Outcome, run_case
from tests.robustness.shortages import shortages
from tests.serving.made import serving, tiny

MEMORY = 12 << 30  # bytes of address space: a bad input that takes more is refused by the system
EVERY = 50  # inputs between two lines of progress


def main() -> int:
    """Print the number of runs and their results, by command and by kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable(logging.WARNING)
    begun, outcomes, inputs = time.monotonic(), list[Outcome](), Counter[str]()
    for case, done in results(given.only):
        inputs[case.kind] += 1
        outcomes += done
        for outcome in done:
            tell(outcome)
        if inputs.total() % EVERY == 0:
            seconds = time.monotonic() - begun
            print(f"{inputs.total()} inputs, {len(outcomes)} runs, {seconds:.0f} s: {case.id}", flush=True)
    table("command", lambda outcome: outcome.command, outcomes)
    table("kind", lambda outcome: outcome.case.kind, outcomes, inputs)
    wrongs = sum(bool(outcome.wrong) for outcome in outcomes)
    slowest = max(outcomes, key=lambda outcome: outcome.processor)
    print(f"{inputs.total()} bad inputs, {len(outcomes)} runs, {wrongs} failed")
    print(f"{time.monotonic() - begun:.0f} s, {time.process_time():.0f} s of processor time in this process")
    print(f"slowest: {slowest.case.id}, {slowest.command}, {slowest.processor:.1f} s of processor time")
    if given.json:
        values = [
            {"case": o.case.id, "command": o.command, "code": o.code, "said": o.said, "wrong": o.wrong}
            for o in outcomes
        ]
        given.json.write_text(json.dumps(values, indent=1) + "\n")
    return int(wrongs > 0)


def results(only: str) -> Iterator[tuple[Case, list[Outcome]]]:
    """Each bad input, interruption and shortage with its runs."""
    with tempfile.TemporaryDirectory() as folder, serving(tiny()) as client:
        place = Path(folder)
        for case in corpus(place):
            if case.id.startswith(tuple(only.split(","))):
                yield case, run_case(case, place, place / "work", client)
        asked = dict(text.partition(":")[::2] for text in only.split(","))
        runs: dict[str, Callable[[str], Iterator[Outcome]]] = {
            "interrupted": lambda name: interruptions(place, random.Random(0), only=name),
            "twice": lambda name: second_runs(place, name),
            "shortage": lambda name: shortages(place, name),
        }
        for kind, outcomes_of in runs.items():
            for outcome in outcomes_of(asked.get(kind, "")) if {"", kind} & asked.keys() else ():
                yield outcome.case, [outcome]


def tell(outcome: Outcome) -> None:
    """Say what was wrong with a run, if anything."""
    if outcome.wrong:
        wrong = "; ".join(outcome.wrong)
        print(f"WRONG {outcome.case.id} | {outcome.command} | {wrong} | {outcome.said[:300]!r}", flush=True)


def table(
    title: str, key: Callable[[Outcome], str], outcomes: list[Outcome], inputs: Counter[str] | None = None
) -> None:
    """Runs, refused, accepted, failed by ``key``; with the inputs where they are given."""
    print(f"{title:28} {'inputs ' if inputs else ''}{'runs':>5} {'refused':>8} {'accepted':>8} {'failed':>6}")
    for name in dict.fromkeys(map(key, outcomes)):
        of = [outcome for outcome in outcomes if key(outcome) == name]
        refused = sum(o.code == 2 or o.code >= 400 for o in of)
        accepted = sum(o.code == 0 or 200 <= o.code < 300 for o in of)
        count = f"{inputs[name]:6} " if inputs else ""
        print(f"{name:28} {count}{len(of):5} {refused:8} {accepted:8} {sum(bool(o.wrong) for o in of):6}")


if __name__ == "__main__":
    raise SystemExit(main())
