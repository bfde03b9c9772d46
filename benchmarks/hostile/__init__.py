"""What attacks by one client cost a service and an honest client beside it."""
