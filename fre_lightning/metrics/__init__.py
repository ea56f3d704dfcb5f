"""Image and pixel metrics: AUROC, average precision, F1, AUPRO, AUPIMO; and their curves."""
