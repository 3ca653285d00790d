"""Instructions in canonical words: rules on English requests, and a language model whose answers are checked."""
