"""What Gaussian posterior heads share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributions import Distribution

SMALLEST_SCALE = 1e-4  # keeps log q finite


class GaussianHead(nn.Module):
    """A posterior whose mean is linear in the hidden vector; it represents an example by it."""

    linear: nn.Linear  # its first D outputs are the mean

    def point(self, q: Distribution) -> Tensor:
        """Return the mean (B, D)."""
        mean: Tensor = q.mean
        return mean

    def rescale_mean(self, mean: Tensor, scale: Tensor) -> None:
        """Make the mean of q that of (z - mean) / scale; both (D,)."""
        weight, bias = self.linear.weight[: len(mean)], self.linear.bias[: len(mean)]
        weight /= scale[:, None]
        bias.sub_(mean).div_(scale)
