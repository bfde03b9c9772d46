"""What a worker does at intervals: keep its leases, reap jobs, poll the queue, listen for cancels, watch the engine."""
