"""A machine learning backend for Label Studio, which asks a maskq service."""
