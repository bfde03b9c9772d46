"""Jobs in, token ids out: many jobs share every forward pass. `engine` is the loop, `runner` holds every tensor."""
