"""What every process needs: settings from the environment, logs, traces, periodic tasks, the notifier, Celery."""
