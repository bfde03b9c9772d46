"""The recipe behind ``models/demo``: drawn scenes, a mask VQ-VAE and a small PaliGemma 2, trained from nothing."""
