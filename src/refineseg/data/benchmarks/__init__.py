"""The public benchmarks in their official layouts. A file is a benchmark: it holds one record ``BENCHMARK``."""
