"""Ways to spoil a clean set, a file for each family; importing them fills FAULTS."""

from tests.data.check.corpus import FAULTS as FAULTS
from tests.data.check.corpus import Fault as Fault
from tests.data.check.faults import contents, files, geometry, names, repetition, values

__all__ = ["FAULTS", "Fault", "contents", "files", "geometry", "names", "repetition", "values"]
