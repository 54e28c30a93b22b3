"""mssts: a reproducible benchmarking and ablation pipeline for MS-STS video instance segmentation."""
