"""Measurements: one JSON per run in ``benchmarks/results``, tables in ``docs/benchmarks.md`` generated from them."""
