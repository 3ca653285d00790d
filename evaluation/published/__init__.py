"""Published results as data, and the comparison of our scores with those whose conditions agree."""
