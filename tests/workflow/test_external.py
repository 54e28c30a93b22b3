"""Results of other methods in a study, by dry run."""

from __future__ import annotations

STUDY = "ablations/studies/smoke.yaml"


def test_external_results_are_evaluated_and_tabled(clone, rerun):
    with (clone / STUDY).open("a") as file:
        file.write('external: {"Another Method": results.json}\n')
    (clone / "results.json").write_text("[]")
    jobs = rerun(clone)
    assert set(jobs) == {"tables", "figures", "attention", "document", "html", "evaluate_external"}
    (output,) = jobs["evaluate_external"]
    assert output.endswith("/external/another-method/valid/metrics.json")


def test_missing_external_results_are_refused_before_any_job(clone, snakemake):
    with (clone / STUDY).open("a") as file:
        file.write('external: {"Another Method": elsewhere/results.json}\n')
    run = snakemake(clone, "-n", "--cores", "1", "--config", "study=smoke")
    assert run.returncode != 0
    assert "external: Another Method: elsewhere/results.json: no such file" in run.stdout
