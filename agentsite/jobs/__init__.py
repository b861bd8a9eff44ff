"""What Celery stands on here: a queue in our own database, and a scheduler that is led by one."""
