"""Stored masks as pictures: each mask alone, and the overlay with outlines and captions."""
