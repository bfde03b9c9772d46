"""Stored masks as pictures: single masks, and the overlay with outlines and captions."""
