"""An OpenAI-compatible endpoint elsewhere, asked over HTTP. Knows no SQL, no Redis and no model's tokens."""
