"""Language models and lexicons: text from prompts, JSON under a schema, WordNet."""
