"""The public benchmarks in their official layouts: one file each, all of them ``open_...(root)``."""
