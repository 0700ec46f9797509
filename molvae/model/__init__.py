"""MolVAE = tokenizer + VAE: encode, decode, train, store, fine-tune and explore."""
