"""Evaluation of models and searches: metrics, reports, benchmarks, published results, plots."""
