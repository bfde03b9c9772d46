"""The recipe of ``models/demo``: drawn scenes, a mask VQ-VAE and a small PaliGemma 2, trained from random weights."""
