"""Where to look next, given (features, y). Uses BoTorch; no molecules, no decoder."""

import molvae.search.strategies  # noqa: F401 (fills the registry)
