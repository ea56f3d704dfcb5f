"""From image files and images in memory to tensors: read, resize, tile, load in batches."""
