"""What tests and benchmarks share: a fleet of real processes, a scripted worker, clients, receivers, pictures."""
