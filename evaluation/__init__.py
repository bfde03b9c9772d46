"""How good masks are, by the authors' protocol: questions with known answers, asked of an engine or a service."""
