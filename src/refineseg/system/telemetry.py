"""Usage statistics that other packages would send to their makers."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

# Each package's own variable, which it reads when it is imported.
OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime 1.32 also keeps a database in the user's cache folder
    "NNCF_CI": "1",  # its only use in NNCF
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def send_nothing(environment: MutableMapping[str, str] = os.environ) -> None:
    """Switch the statistics off, except where the user has set a variable."""
    for name, value in OFF.items():
        environment.setdefault(name, value)
