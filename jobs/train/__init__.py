"""Training the models that scorers load."""
