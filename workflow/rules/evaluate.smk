rule predict:
    input:
        data=data_state,
        checkpoint=RUN / "checkpoint.pt",
    output:
        predictions=SPLIT / "predictions.json",
        submission=SPLIT / "predictions.zip",
    log:
        f"{LOGS}/{{variant}}_seed{{seed}}_{{split}}_predict.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=1500,
        runtime=480,
    params:
        data=subpath(input.data, parent=True),
        reads=configuration.canonical(BASELINE, ("predict", "runtime")),
    shell:
        "python -m mssts predict --study $MSSTS_STUDY --checkpoint {input.checkpoint} --data {params.data} "
        "--dataset {wildcards.dataset} --split {wildcards.split} --output {output.predictions} "
        "2> >(tee {log} >&2)"


rule evaluate:
    input:
        annotations=annotations,
        predictions=SPLIT / "predictions.json",
        run=RUN / "run.json",
        modules=modules("mssts/evaluation/*.py", "mssts/ytvis/*.py", "mssts/ytvis/*.c"),
    output:
        metrics=SPLIT / "metrics.json",
        matches=SPLIT / "matches.npz",
    log:
        f"{LOGS}/{{variant}}_seed{{seed}}_{{split}}_evaluate.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=800,
        runtime=60,
    params:
        reads=configuration.canonical(BASELINE, ("evaluation",)),
    shell:
        "python -m mssts evaluate --study $MSSTS_STUDY --annotations {input.annotations} "
        "--predictions {input.predictions} --run {input.run} --dataset {wildcards.dataset} "
        "--split {wildcards.split} "
        "--output {output.metrics} 2> >(tee {log} >&2)"


rule evaluate_foreign:
    input:
        annotations=annotations,
        predictions=lambda wildcards: FOREIGN_RESULTS[wildcards.method],
        modules=modules("mssts/evaluation/*.py", "mssts/ytvis/*.py", "mssts/ytvis/*.c"),
    output:
        metrics=FOREIGN / "metrics.json",
        matches=FOREIGN / "matches.npz",
    log:
        f"logs/{STUDY.scale}/{{dataset}}/foreign_{{method}}_{{split}}_evaluate.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        reads=configuration.canonical(BASELINE, ("evaluation",)),
    shell:
        "python -m mssts evaluate --study $MSSTS_STUDY --annotations {input.annotations} "
        "--predictions {input.predictions:q} --dataset {wildcards.dataset} --split {wildcards.split} "
        "--output {output.metrics} 2> >(tee {log} >&2)"
