"""Feature Reconstruction Error (FRE): find visual defects from defect-free images alone."""

__version__ = "0.1.0"
