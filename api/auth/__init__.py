"""API keys of the front end: who the caller is, whether keys are required, and the command that manages keys."""
