"""Whether the service is as fast as a GPU: a real worker on a real ledger, whose device only sleeps."""
