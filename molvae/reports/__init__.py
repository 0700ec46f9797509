"""How good it is: figures of models and of searches, benchmarks, published results, plots."""
