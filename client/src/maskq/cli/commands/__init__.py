"""The commands of `maskq`, one module each."""
