"""Latent-variable models for any x. PyTorch only: nothing in this room knows what a molecule is.

Token sequences, where a model has them, are int64 ids (B, L): BOS, symbols, EOS, then PAD.
"""

PAD, BOS, EOS = 0, 1, 2
