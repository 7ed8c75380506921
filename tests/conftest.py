"""Settings of every test."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reaches outside
os.environ["REFINESEG_CACHE"] = f"{tempfile.gettempdir()}/refineseg-no-cache"  # the user's exports are not ours

import refineseg  # noqa: F401  before torch, for the way its threads wait

import torch  # isort: skip

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", min(2, os.cpu_count() or 1))))
