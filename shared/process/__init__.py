"""What every process needs: logs, traces, periodic tasks, the notifier, the Celery process."""
