"""MolVAE = tokenizer + VAE: molecules to points and back, trained, stored, adapted, explored."""
