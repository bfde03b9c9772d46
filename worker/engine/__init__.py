"""Runs the model: jobs in, token ids out, and many jobs share each forward pass. `engine` is the loop, and only
`runner` and what it imports have tensors."""
