"""Reading a Keras model as a graph of layer calls."""
