"""Features of images: the cache on disk, the matrix, the standardizer, shifted copies."""
