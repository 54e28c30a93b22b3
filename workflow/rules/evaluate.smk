rule predict:
    input:
        data=data_state,
        checkpoint=RUN_DIR / "checkpoint.pt",
    output:
        predictions=SPLIT_DIR / "predictions.json",
        submission=SPLIT_DIR / "predictions.zip",
        boxes=SPLIT_DIR / "predictions.boxes.json",
        record=SPLIT_DIR / "predictions.record.json",
    log:
        f"{LOGS}/{{variant}}_seed{{seed}}_{{split}}_predict.log",
    conda:
        CONDA
    threads: of_inference("threads")
    resources:
        gpu=of_inference("gpu"),
        mem_mb=of_inference("mem_mb"),
        runtime=of_inference("runtime"),
    params:
        data=subpath(input.data, parent=True),
        reads=literal(canonical(BASELINE, ("predict", "runtime"))),
    shell:
        "python -m mssts predict --study $MSSTS_STUDY --checkpoint {input.checkpoint:q} --data {params.data:q} "
        "--dataset {wildcards.dataset:q} --split {wildcards.split:q} --output {output.predictions:q} "
        "2> >(tee {log:q} >&2)"


rule evaluate:
    input:
        annotations=annotations,
        predictions=SPLIT_DIR / "predictions.json",
        boxes=SPLIT_DIR / "predictions.boxes.json",
        predicted_by=SPLIT_DIR / "predictions.record.json",
        run=RUN_DIR / "run.json",
        modules=modules("mssts/evaluation/*.py", "mssts/ytvis/*.py", "mssts/ytvis/*.c"),
    output:
        metrics=SPLIT_DIR / "metrics.json",
        matches=SPLIT_DIR / "matches.npz",
        box_matches=SPLIT_DIR / "box_matches.npz",
    log:
        f"{LOGS}/{{variant}}_seed{{seed}}_{{split}}_evaluate.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=800,
        runtime=60,
    params:
        reads=literal(canonical(BASELINE, ("evaluation",))),
    shell:
        "python -m mssts evaluate --study $MSSTS_STUDY --annotations {input.annotations:q} "
        "--predictions {input.predictions:q} --run {input.run:q} --dataset {wildcards.dataset:q} "
        "--split {wildcards.split:q} --output {output.metrics:q} > /dev/null 2> >(tee {log:q} >&2)"


rule evaluate_external:
    input:
        annotations=annotations,
        predictions=lambda wildcards: EXTERNAL_RESULTS[wildcards.method],
        modules=modules("mssts/evaluation/*.py", "mssts/ytvis/*.py", "mssts/ytvis/*.c"),
    output:
        metrics=EXTERNAL_DIR / "metrics.json",
        matches=EXTERNAL_DIR / "matches.npz",
    log:
        f"logs/{STUDY.folder}/{{dataset}}/external_{{method}}_{{split}}_evaluate.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        reads=literal(canonical(BASELINE, ("evaluation",))),
    shell:
        "python -m mssts evaluate --study $MSSTS_STUDY --annotations {input.annotations:q} "
        "--predictions {input.predictions:q} --dataset {wildcards.dataset:q} --split {wildcards.split:q} "
        "--output {output.metrics:q} > /dev/null 2> >(tee {log:q} >&2)"
