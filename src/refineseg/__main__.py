"""``python -m refineseg``."""

from refineseg.cli.main import run

run()
