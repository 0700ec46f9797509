"""Latent-variable models for any x. PyTorch only: nothing in this room knows what a molecule is.

`kinds` says what x can be, `protocols` what each part of a model promises, with shapes. Sequences
of token ids are int64 (B, L): BOS, symbols, EOS, then PAD.
"""

PAD, BOS, EOS = 0, 1, 2
