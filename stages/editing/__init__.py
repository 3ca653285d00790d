"""What stages that edit images with an Editor share: its settings, the requests that rows give, and its answers."""
