"""FAQ: curated questions and answers, from a file to a decision.

    entry → files (csv, documents, markdown) → collections (SQL) → index (lexical + dense) → decision

Knows no model: what turns text into vectors is given as an `Embedder`. Knows no platform and words nothing for people.
"""
