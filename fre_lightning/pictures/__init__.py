"""Pictures of anomaly maps: panels, overlays, thumbnails, and their colours."""
