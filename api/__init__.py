"""The front end: HTTP in, Redis out. It loads no model, no torch and no numpy."""
