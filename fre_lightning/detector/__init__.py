"""The detector: backbone, reducers and scoring together; plain torch."""
