"""Features of images: their cache on disk, as one large matrix, standardised, shifted."""
