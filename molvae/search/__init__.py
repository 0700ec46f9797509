"""The next z, given (z, y). torch, GPyTorch, BoTorch; no molecules, no decoder."""
