rule generate:
    output:
        fingerprint=GENERATED / "fingerprint.json",
        annotations=[GENERATED / f"{name}.json" for name in ("train", "valid", "control", "stills")],
    log:
        f"logs/{STUDY.scale}/{{dataset}}/generate.log",
    priority: 200
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=800,
        runtime=30,
    params:
        directory=subpath(output.fingerprint, parent=True),
        reads=BASELINE.data.synthetic.model_dump_json(),
    shell:
        "python -m mssts generate --study $MSSTS_STUDY --dataset {wildcards.dataset} "
        "--output {params.directory} 2> >(tee {log} >&2)"
