"""Who runs a search: ask/tell, rounds, the genetic baseline. Takes any latent space."""
