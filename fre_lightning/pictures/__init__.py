"""Pictures of anomaly maps: panels, overlays, thumbnails."""
