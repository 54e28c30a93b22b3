rule prepare:
    input:
        own_annotations,
    output:
        fingerprint=paths.DATA / "{dataset}" / "fingerprint.json",
        parts=[paths.DATA / "{dataset}" / f"{LOCAL}{part}.json" for part in ("train", "valid", "split")],
    log:
        "logs/prepare_{dataset}.log",
    wildcard_constraints:
        dataset="(?!coco/)[a-z0-9_-]+",
    priority: 200
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        directory=subpath(output.fingerprint, parent=True),
        reads=dataset_definition,
    shell:
        "python -m mssts prepare --dataset {wildcards.dataset:q} --data {params.directory:q} 2> >(tee {log:q} >&2)"


rule prepare_coco:
    input:
        coco_annotations,
    output:
        COCO_FINGERPRINT,
    log:
        "logs/prepare_coco.log",
    priority: 200
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        directory=COCO_FINGERPRINT.parent,
    shell:
        "python -m mssts prepare --dataset coco --data {params.directory:q} 2> >(tee {log:q} >&2)"


rule generate:
    output:
        fingerprint=GENERATED_DIR / "fingerprint.json",
        annotations=[GENERATED_DIR / f"{name}.json" for name in ("train", "valid", "control", "stills")],
    log:
        f"logs/{STUDY.data_folder}/{{dataset}}/generate.log",
    priority: 200
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=800,
        runtime=30,
    params:
        directory=subpath(output.fingerprint, parent=True),
        reads=literal(BASELINE.data.synthetic.model_dump_json()),
    shell:
        "python -m mssts generate --study $MSSTS_STUDY --dataset {wildcards.dataset:q} "
        "--output {params.directory:q} 2> >(tee {log:q} >&2)"
