"""Video AP, per-challenge AP and the statistics of their differences; numpy and pycocotools only, no torch."""
