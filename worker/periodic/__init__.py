"""What a worker does beside its jobs: renew leases, free the jobs of ended workers, poll the queue, listen for
cancels, watch the engine."""
