"""Token ids to token ids, many requests at a time. Knows nothing of text, SQL, Redis or Celery."""
