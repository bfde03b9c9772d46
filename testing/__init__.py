"""What tests and benchmarks share: a fleet of processes, a scripted worker, clients, receivers, pictures, factories."""
