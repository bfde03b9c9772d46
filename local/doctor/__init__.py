"""`python -m local.doctor`: examines what a deployment needs, and says what to do where something is amiss."""
