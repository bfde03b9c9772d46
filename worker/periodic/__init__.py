"""What a worker does beside its jobs: renew leases, poll the queue, listen for cancels, watch the engine."""
