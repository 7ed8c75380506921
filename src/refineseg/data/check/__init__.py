"""Checks a data set before anything trains on it: what is wrong, and which setting or command fixes it."""

from refineseg.data.check.checker import check_data
from refineseg.data.check.findings import CheckReport, Finding

__all__ = ["CheckReport", "Finding", "check_data"]
