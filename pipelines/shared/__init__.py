"""Code shared by several studies: digit images, VAE figures, and scores of molecule models."""
