"""MolVAE = tokenizer + VAE: molecules to points and back, trained, stored, fine-tuned, explored."""
