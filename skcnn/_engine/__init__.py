"""How a row of layers is run: on whole arrays, in micro-batches, in threads. It knows no layer."""
