"""Where to look next, given (features, y). Uses BoTorch; no molecules, no decoder."""
